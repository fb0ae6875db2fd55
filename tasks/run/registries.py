"""The push registry and the pull-through caches, shared by all clusters of this engine."""

import threading
from collections.abc import Callable

from tasks.engine.step import Retry, Step
from tasks.engine.work import StartRegistry
from tasks.facts.facts import Facts
from tasks.facts.registries import Registry
from tasks.k3d.registry_container import ensured, fits
from tasks.settings.derived import PUSH_REGISTRY, cache_name, pull_name, registry_containers
from tasks.settings.schema import Cache

TASK = "registry"


def steps(facts: Facts, free_port: Callable[[int | None], int], *, required: bool = False) -> list[Step]:
    """Create what is missing, start what is stopped. `free_port`: a port near the preferred one, without repeats.

    A launch continues without a cache that keeps exiting, unless they are `required`.
    """
    one_at_a_time = threading.Lock()

    def port(wish: int | None) -> int:
        with one_at_a_time:
            return free_port(wish)

    found: list[Step] = []
    for name, cache in registry_containers(facts.settings).items():
        there: Registry | None = facts.registries.get(name)
        what = PUSH_REGISTRY if cache is None else cache_name(cache)
        join = _network(facts) if there is None or _network(facts) not in there.networks else None
        if there is None or not there.started:
            why = "it is missing"
        elif not fits(facts, there, cache, required=required):
            why = "it is recreated with its content: its proxies, authorities or its upstream have changed"
        elif not there.running:
            why = f"{name} {there.condition}"
        elif join:
            why = f"{name} is not in {join}"
        else:
            skip = f"{name} runs at 127.0.0.1:{there.port}"
            found.append(Step(name=what, task=TASK, skip=skip, work=StartRegistry(registry=name)))
            continue
        found.append(_created(facts, what, name, cache, port, required=required, why=why))
    return found


def missing(facts: Facts, *, required: bool = False) -> bool:
    """Whether one has to be created."""
    there = facts.registries
    return not all(
        name in there and there[name].started and fits(facts, there[name], cache, required=required)
        for name, cache in registry_containers(facts.settings).items()
    )


def _network(facts: Facts) -> str | None:
    """The network of an existing cluster; k3d itself connects registries to that of a new one."""
    if not facts.cluster.nodes or not facts.cluster.presence.complete:
        return None
    return facts.cluster.network


def _created(
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
        action=ensured(
            facts, name, cache, lambda: free_port(wish), network=_network(facts), required=required or cache is None
        ),
        needs=(pull_name(settings.registries.image),),
        retry=Retry(attempts=3, first=0.1),
        why=why + ("; its login is copied in as a file, never as an argument" if login else ""),
        expected=0.6,
        work=StartRegistry(registry=name),
    )
