"""The push registry and the pull-through caches: shared by all clusters of this engine."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

from tasks.engine.step import Retry, Step
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.facts.registries import Registry, read
from tasks.k3d.registries_yaml import TEMPLATE, registries_yaml
from tasks.k3d.registry_container import fits, making, upstream_url
from tasks.prepull import step_name
from tasks.settings.schema import Cache, Settings

__all__ = [
    "Registry",
    "cache_name",
    "mirrors",
    "missing",
    "nodes_file",
    "push_name",
    "read",
    "steps",
    "used",
    "wanted",
]

TASK = "registry"
PUSH_STEP = "registry: push"


def cache_name(cache: Cache) -> str:
    """The container of a cache.

    One that asks elsewhere than usual is another container: a cache is never rebuilt under a cluster.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", cache.upstream.lower()).strip("-")
    url = upstream_url(cache).rstrip("/")
    own = url != upstream_url(Cache(upstream=cache.upstream)) or cache.username_env or cache.password_env
    mark = f"-{hashlib.sha256(f'{url} {cache.username_env}'.encode()).hexdigest()[:6]}" if own else ""
    return f"k3d-openframe-cache-{slug}{mark}"


def cache_step(cache: Cache) -> str:
    """The step after which a cache runs."""
    return f"registry: cache of {cache.upstream}"


def push_name(settings: Settings) -> str:
    """The container of the push registry."""
    return f"k3d-{settings.registries.name}"


def wanted(settings: Settings) -> dict[str, Cache | None]:
    """Containers to be there, each with the cache it is; None: the push registry."""
    registries = settings.registries
    push: dict[str, Cache | None] = {push_name(settings): None} if registries.push else {}
    return {**push, **{cache_name(cache): cache for cache in registries.caches}}


def used(settings: Settings) -> tuple[str, ...]:
    """As k3d's `registries.use` wants them: the push registry first, since k3d tells clients of the first one."""
    return tuple(f"{name}:5000" for name in wanted(settings))


def mirrors(settings: Settings) -> dict[str, list[str]]:
    """For each upstream the cache that nodes ask first."""
    return {cache.upstream: [f"http://{cache_name(cache)}:5000"] for cache in settings.registries.caches}


def nodes_file(settings: Settings, root: Path, port: int) -> str:
    """The nodes' registries.yaml, where the push registry is published at `port`. Raises `BadInput`."""
    push = push_name(settings) if settings.registries.push else None
    return registries_yaml(root / TEMPLATE, mirrors(settings), push=push, port=port)


def steps(facts: Facts, free_port: Callable[[int | None], int], *, required: bool = False) -> list[Step]:
    """What is missing is made, what is stopped is started. `free_port`: a port near a wish, each once.

    A launch goes on without a cache that keeps ending, unless they are `required`.
    """
    one_at_a_time = threading.Lock()

    def port(wish: int | None) -> int:
        with one_at_a_time:
            return free_port(wish)

    found: list[Step] = []
    for name, cache in wanted(facts.settings).items():
        there: Registry | None = facts.registries.get(name)
        what = PUSH_STEP if cache is None else cache_step(cache)
        join = _network(facts) if there is None or _network(facts) not in there.networks else None
        if there is None or not there.started:
            found.append(_made(facts, what, name, cache, port, required=required, why="it is missing"))
        elif not fits(there, cache, facts.shape.network):
            why = "its proxies or certificate authorities are others by now; what it keeps stays"
            found.append(_made(facts, what, name, cache, port, required=required, why=why))
        elif not there.running:
            found.append(_made(facts, what, name, cache, port, required=required, why=f"{name} {there.condition}"))
        elif join:
            found.append(_made(facts, what, name, cache, port, required=required, why=f"{name} is not in {join}"))
        else:
            found.append(Step(name=what, task=TASK, skip=f"{name} runs at 127.0.0.1:{there.port}"))
    return found


def missing(facts: Facts) -> bool:
    """Whether one has to be made."""
    there, network = facts.registries, facts.shape.network
    return not all(
        name in there and there[name].started and fits(there[name], cache, network)
        for name, cache in wanted(facts.settings).items()
    )


def _network(facts: Facts) -> str | None:
    """The network of a cluster that stands; k3d itself puts registries into that of one that it makes."""
    first = facts.cluster.first
    if first is None or facts.cluster.presence not in (Presence.RUNNING, Presence.STOPPED):
        return None
    return first.labels.get("k3d.cluster.network", f"k3d-{facts.name}")


def _made(
    facts: Facts,
    what: str,
    name: str,
    cache: Cache | None,
    free_port: Callable[[int | None], int],
    *,
    required: bool,
    why: str,
) -> Step:
    settings = facts.settings
    login = cache is not None and bool(cache.username_env or cache.password_env)
    wish = settings.registries.port if cache is None else None
    return Step(
        name=what,
        task=TASK,
        action=making(
            facts,
            name,
            cache,
            lambda: free_port(wish),
            network=_network(facts),
            required=required or cache is None,
        ),
        needs=(step_name(settings.registries.image),),
        retry=Retry(attempts=3, first=0.1),
        why=why + ("; its login goes in as a file, never as an argument" if login else ""),
        expected=0.6,
    )
