"""`invoke registry`: the shared registries started, looked at, or removed."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from tasks.acting import running
from tasks.core.lock import held
from tasks.docker_tune import unmirrored
from tasks.engine.step import Step
from tasks.errors import LaunchError
from tasks.facts.registries import PUSH, Registry
from tasks.launch import bounds
from tasks.parts import part
from tasks.registry import TASK
from tasks.registry_container import lock
from tasks.session import Session
from tasks.situation import Situation
from tasks.survey import survey
from tasks.tools import docker
from tasks.tools.program import Command


def registries(session: Session, *, purge: bool, status: bool) -> int:
    """Start what is missing; `status` only looks, `purge` removes."""
    if status:
        return _show(survey(session, (), shared=True))
    if not purge:
        return part_of_registry(session)
    with held(lock(session.state / "clusters"), "registry", 10.0):
        session.open_logs()
        situation = survey(session, (), shared=True)
        session.run(purge_steps(session, situation), bounds(situation))
    return 0


def part_of_registry(session: Session) -> int:
    """The registries with the image that they need."""
    return part(session, "registry")


def purge_steps(session: Session, situation: Situation) -> list[Step]:
    """Remove all registries of ours. Raises `LaunchError` while a cluster that is not this one is attached."""
    found: dict[str, Registry] = {name: each for name, each in situation.registries.items() if each.ours}
    others = sorted({name for each in found.values() for name in each.clusters} - {session.name})
    mine = situation.standing.nodes and session.options.task == "registry"
    if others or mine:
        attached = [*others, *([session.name] if mine else [])]
        raise LaunchError(
            f"the registries are in use by: {', '.join(attached)}",
            why="their nodes pull through them, and would fail without",
            fix="remove those clusters first (invoke down); or leave the registries: they cost only disk",
        )
    names = tuple(sorted(found))
    volumes = tuple(situation.programs.run(docker.volumes(docker.CACHE_LABEL)).out.split())
    before = unmirrored(situation)
    return [
        *before,
        Step(
            name="registry: remove",
            task=TASK,
            action=running(situation.programs, docker.remove(names)),
            needs=tuple(step.name for step in before),
            skip=None if names else "there are none",
            why=", ".join(names),
        ),
        Step(
            name="registry: remove what they keep",
            task=TASK,
            action=running(situation.programs, docker.remove_volumes(volumes)),
            needs=("registry: remove",),
            skip=None if volumes else "there is nothing",
            why=", ".join(volumes),
        ),
    ]


def _show(situation: Situation) -> int:
    from tasks.view.output import out, width_of
    from tasks.view.table import table

    found = [each for each in situation.registries.values() if each.ours]
    with ThreadPoolExecutor(max_workers=4) as pool:
        sizes = list(pool.map(lambda each: _size(situation, each), found))
        rates = list(pool.map(lambda each: _rate(situation, each), found))
    rows = [
        [
            each.name,
            each.upstream,
            f"127.0.0.1:{each.port}" if each.running else "keeps ending" if each.loops else "stopped",
            size,
            rate,
            ", ".join(each.clusters) or "none",
        ]
        for each, size, rate in zip(found, sizes, rates, strict=True)
    ]
    head = ("registry", "stands before", "address", "size", "hits", "clusters")
    out(table(rows, head=head, width=width_of(sys.stdout)) if rows else ["There are no registries."])
    return 0


def _size(situation: Situation, each: Registry) -> str:
    if not each.running:
        return "unknown"
    words = situation.programs.run(docker.disk(each.name)).out.split()
    return f"{int(words[0]) / 1024:.0f} MB" if words and words[0].isdigit() else "unknown"


def _rate(situation: Situation, each: Registry) -> str:
    """How many layers the cache had itself, since it was started (distribution: `registry/proxy/proxymetrics.go`).

    Version 2 counts every layer that it hands out as a hit, and both versions count those that it had to fetch.
    """
    if each.upstream == PUSH:
        return "no cache"
    if not each.running:
        return "unknown"
    ask = Command(
        argv=("docker", "exec", each.name, "wget", "-q", "-O", "-", f"http://{docker.REGISTRY_DEBUG}/debug/vars"),
        ok=(0, 1, 126, 127),
    )
    try:
        told = json.loads(situation.programs.run(ask).out)["registry"]["proxy"]["blobs"]
        asked, fetched = int(told["Requests"]), int(told["Misses"])
    except (ValueError, KeyError, TypeError):
        return "not told"
    return f"{max(0, asked - fetched)} of {asked}" if asked else "not asked yet"
