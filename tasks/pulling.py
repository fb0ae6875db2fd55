"""Pulls that fail in a node for a reason that may pass: whether it will, the cache before their registry tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.objects.images import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.causes.trouble import Trouble
    from tasks.situation import Situation

_MAY_PASS = ("remote-busy", "network-timeout", "network-lost", "dns", "image-pull")
"""Causes of a pull's failure behind which a cache may stand that does not reach its upstream."""


def doubting(situation: Situation) -> Callable[[Trouble], Trouble]:
    """For a trouble that goes on: the same, or, where the image's cache cannot bring it, that, and hopeless."""

    def doubt(trouble: Trouble) -> Trouble:
        from tasks.caching import port_of, source
        from tasks.registry_container import upstream_url

        if not trouble.image or trouble.cause not in _MAY_PASS:
            return trouble
        reference = parse(trouble.image)
        name = source(situation, trouble.image)
        port = port_of(situation, name) if name is not None else None
        fault = situation.reach.cache_fault(port, reference) if port is not None else ""
        if not fault:
            return trouble
        cache = next(each for each in situation.settings.registries.caches if each.upstream == reference.registry)
        return replace(
            trouble,
            cause="cache-fault",
            why=f"it comes through the cache {name}, and {fault}: {upstream_url(cache)}",
            fix=f"see that this address answers (it is registries.caches: url, or the registry itself), and "
            f"`docker logs {name}`; then run it again: what has come is kept",
            hopeless=True,
        )

    return doubt
