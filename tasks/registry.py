"""`invoke registry`: start, show, or remove the shared registries."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from tasks import docker_tune, prepull
from tasks.core.errors import LaunchError
from tasks.core.lock import held
from tasks.core.units import KIB, megabytes
from tasks.engine.step import Context, Report, Step
from tasks.run.task import run_part, task
from tasks.settings.derived import pull_name

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.facts.registries import Registry
    from tasks.run.session import Session

TASK = "registry"
_PATIENCE = 10.0
"""Seconds that a launch of this user may take to create a registry."""


@task(
    "profile",
    "set",
    "engine",
    "keep_going",
    "wait_lock",
    help={"purge": "remove the registries with their content", "status": "size and hit rate of each"},
)
def registry(session: Session, purge: bool = False, status: bool = False) -> int:
    """Start the push registry and the pull-through caches."""
    from tasks.k3d.registry_container import lock
    from tasks.run.gather import gather
    from tasks.run.session import bounds

    if status:
        return _show(gather(session, (), refuse=False))
    if not purge:
        return run_part(session, TASK, steps, shared=True)
    with held(lock(session.state / "clusters"), TASK, _PATIENCE):
        session.open_logs()
        facts = gather(session, (), refuse=False)
        session.run(purge_steps(session, facts), bounds(facts))
    return 0


def steps(facts: Facts) -> list[Step]:
    """The registries, with the image that they need."""
    from tasks.k3d.ports import choosers
    from tasks.run import registries

    found: list[Step] = []
    if registries.missing(facts, required=True):
        image = pull_name(facts.settings.registries.image)
        found += [step for step in prepull.steps(facts) if step.name == image and step.skip is None]
    return [*found, *registries.steps(facts, choosers(facts).free_port, required=True)]


def purge_steps(session: Session, facts: Facts) -> list[Step]:
    """Remove all registries of this project. Raises `LaunchError` while another cluster is attached."""
    from tasks.clients import docker
    from tasks.k3d.registry_lease import Leases

    found = {name: each for name, each in facts.registries.items() if each.ours}
    alone = session.options.task == "registry"
    _refuse_attached(found, facts.name, stays=alone and bool(facts.cluster.nodes))
    Leases(facts.programs).refuse_users()
    volumes = facts.programs.run(docker.volumes(docker.CACHE_LABEL)).out.split()
    before = docker_tune.unmirrored(facts)
    return [
        *before,
        Step(
            name="registry: remove",
            task=TASK,
            action=partial(_remove, facts, alone=alone),
            needs=tuple(step.name for step in before),
            skip=None if found or volumes else "there are none",
            why=", ".join(sorted({*found, *volumes})),
        ),
    ]


def _refuse_attached(found: Mapping[str, Registry], name: str, *, stays: bool) -> None:
    """`stays`: this call's cluster exists, and is not removed by it; otherwise its network was left behind."""
    attached = {each for registry in found.values() for each in registry.clusters} - {name}
    if stays:
        attached.add(name)
    if attached:
        raise LaunchError(
            f"the registries are in use by: {', '.join(sorted(attached))}",
            why="their nodes pull through them, and would fail without them",
            fix="remove those clusters first (invoke down); or leave the registries: they only use disk space",
        )


def _remove(facts: Facts, context: Context, *, alone: bool) -> Report | None:
    """Check again at the moment of removal: other users, who do not share a file lock, may have started a launch."""
    from tasks.clients import docker
    from tasks.diagnose.command import run_command
    from tasks.facts.cluster import owner_of
    from tasks.facts.registries import registries as registries_of
    from tasks.k3d.registry_container import lock
    from tasks.k3d.registry_lease import Leases

    programs = facts.programs
    mine = owner_of(facts.shape.owner)
    who = "invoke registry --purge" if alone else "invoke down --purge"
    clusters = facts.paths.state.parent
    with (
        contextlib.nullcontext() if alone else held(lock(clusters), TASK, _PATIENCE),
        Leases(programs).removal(f"{who} by {mine.name}" if mine is not None else who, context),
    ):
        found = {name: each for name, each in registries_of(programs).items() if each.ours}
        nodes = programs.run(docker.containers(*docker.of_cluster(facts.name)), context).out
        _refuse_attached(found, facts.name, stays=alone and bool(nodes.strip()))
        if found:
            run_command(programs, docker.remove(sorted(found)), context)
        volumes = programs.run(docker.volumes(docker.CACHE_LABEL), context).out.split()
        if volumes:
            run_command(programs, docker.remove_volumes(volumes), context)
    return Report(why=", ".join(sorted({*found, *volumes})), exit_code=0)


def _show(facts: Facts) -> int:
    from concurrent.futures import ThreadPoolExecutor

    from tasks.view.console import out, table, width_of

    found = [each for each in facts.registries.values() if each.ours]
    with ThreadPoolExecutor(max_workers=4) as pool:
        sizes = list(pool.map(lambda each: _size(facts, each), found))
        rates = list(pool.map(lambda each: _rate(facts, each), found))
    rows = [
        [
            each.name,
            each.upstream,
            f"127.0.0.1:{each.port}" if each.running else each.state.value.removeprefix("is "),
            size,
            rate,
            ", ".join(each.clusters) or "none",
        ]
        for each, size, rate in zip(found, sizes, rates, strict=True)
    ]
    head = ("registry", "upstream", "address", "size", "hits", "clusters")
    out(table(rows, head=head, width=width_of(sys.stdout), whole=(0, 2)) if rows else ["There are no registries."])
    ending = [f"{each.name} {each.condition}" for each in found if each.last]
    if ending:
        out(["", *ending, "`invoke registry` starts them, and repairs what it can."])
    return 0


def _size(facts: Facts, each: Registry) -> str:
    from tasks.clients import docker

    if not each.running:
        return "unknown"
    words = facts.programs.run(docker.disk(each.name)).out.split()
    return megabytes(int(words[0]) * KIB) if words and words[0].isdigit() else "unknown"


def _rate(facts: Facts, each: Registry) -> str:
    """How many layers the cache had already, since it was started (distribution: `registry/proxy/proxymetrics.go`).

    Version 2 counts every served layer as a hit, and both versions count the layers that had to be downloaded.
    """
    from tasks.clients import docker
    from tasks.process.command import Command

    if each.upstream == docker.PUSH:
        return "no cache"
    if not each.running:
        return "unknown"
    ask = Command(
        argv=("docker", "exec", each.name, "wget", "-q", "-O", "-", f"http://{docker.REGISTRY_DEBUG}/debug/vars"),
        ok=(0, 1, 126, 127),
    )
    try:
        metrics = json.loads(facts.programs.run(ask).out)["registry"]["proxy"]["blobs"]
        requested, fetched = int(metrics["Requests"]), int(metrics["Misses"])
    except (ValueError, KeyError, TypeError):
        return "unknown"
    return f"{max(0, requested - fetched)} of {requested}" if requested else "no requests yet"
