"""Pulls that fail in a node for a reason that may pass: whether it will, the cache before their registry tells."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.clients import docker
from tasks.core.errors import Diagnosis, LaunchError
from tasks.core.imageref import parse
from tasks.engine.step import Action, Context, Report, Step
from tasks.engine.work import PullAhead
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.run import images as caching
from tasks.run.images import key_of, system_key
from tasks.settings.step_names import (
    API_READY,
    FETCH_IMAGES,
    PULL,
    PULL_AHEAD,
    SYSTEM,
    SYSTEM_READY,
    install_name,
    ready_name,
    release_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable


_MAY_PASS = ("remote-busy", "network-timeout", "network-lost", "dns", "image-pull")
"""Causes of a pull's failure behind which a cache may stand that does not reach its upstream."""


def doubting(facts: Facts) -> Callable[[Diagnosis], Diagnosis]:
    """For a trouble that goes on: the same, or, where the image's cache cannot bring it, that, which does not pass."""

    def doubt(trouble: Diagnosis) -> Diagnosis:
        from tasks.run.images import port_of, source
        from tasks.settings.derived import upstream_url

        image = trouble.details.get("image", "")
        if not image or trouble.cause not in _MAY_PASS:
            return trouble
        reference = parse(image)
        name = source(facts, image)
        port = port_of(facts, name) if name is not None else None
        fault = facts.backend.cache_fault(port, reference) if port is not None else ""
        if not fault:
            return trouble
        cache = next(each for each in facts.settings.registries.caches if each.upstream == reference.registry)
        return replace(
            trouble,
            cause="cache-fault",
            why=f"it comes through the cache {name}, and {fault}: {upstream_url(cache)}",
            fix=f"see that this address answers (it is registries.caches: url, or the registry itself), and "
            f"`docker logs {name}`; then run it again: what has come is kept",
            transient=False,
        )

    return doubt


_ENOUGH = 4
"""CPUs of the engine."""


def wanted(facts: Facts) -> bool:
    """As the setting says, else by the engine's CPUs."""
    wish = facts.settings.cluster.pull_ahead
    return facts.host is not None and facts.host.cpus >= _ENOUGH if wish is None else wish


def steps(facts: Facts, plan: Collection[Step]) -> list[Step]:
    """For a cluster that this plan makes: of the system, then of each release, until its pods are ready.

    They guard nothing, but end as guards do: nobody waits for what no pod needs any more.
    """
    making = facts.cluster.presence in (Presence.ABSENT, Presence.INCOMPLETE)
    if not making or not wanted(facts):
        return []
    waited = {step.name for step in plan if step.skip is None}
    there = {step.name for step in plan}
    return [step for step in _all(facts, there) if step.until[0] in waited]


def _all(facts: Facts, there: Collection[str]) -> Iterator[Step]:
    yield from _step(facts, None, system_key(facts), SYSTEM_READY, there)
    for release in facts.releases:
        last = ready_name(release) if release.wait else install_name(release)
        yield from _step(facts, release_name(release), key_of(facts, release), last, there)


def _step(facts: Facts, release: str | None, key: str, until: str, there: Collection[str]) -> Iterator[Step]:
    what = release or SYSTEM
    fetch = f"{FETCH_IMAGES}{what}"
    if fetch not in there:  # nobody knows its images yet, or no cache stands before their registries
        return
    yield Step(
        name=f"{PULL_AHEAD}{what}",
        task=caching.TASK,
        kind=PULL,
        action=_pulling(facts, key),
        needs=(API_READY, fetch),
        until=(until,),
        deadline=facts.settings.timeouts.pull,
        why="before its pods are placed",
        expected=2.0,
        work=PullAhead(release=release),
        optional=True,
    )


def _pulling(facts: Facts, key: str) -> Action:
    def act(context: Context) -> Report | None:
        images = caching.known(facts, key) or ()
        if not images:
            return Report(why="it names none", skipped=True)
        command = docker.pull_inside(f"k3d-{facts.name}-server-0", images, context.deadline)
        try:
            pulled = facts.programs.run(command, context).out.split()
        except LaunchError as error:
            return Report(why=f"left to the node: {error.what}")
        return Report(why=f"{len(pulled)} of {len(images)} images")

    return act
