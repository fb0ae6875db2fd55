"""Processors, memory, disk and inotify of the engine's machine, against what the plan needs."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.checks.facts import HostFacts
from tasks.checks.finding import Finding, Level, Remedy
from tasks.core.units import GIB, gib, memory_bytes
from tasks.settings.k3s_arguments import value_of

LEAST_DISK, GOOD_DISK = 2 * GIB, 10 * GIB
"""Bytes free: below the first a node's images do not fit, below the second a few charts fill it."""
EVICTION = 0.05
"""Free share below which k3s marks its nodes and evicts pods (k3s: `eviction-hard`, imagefs and nodefs)."""
LEAST_MEMORY = 2 * GIB
"""k3s's documentation: a server needs 2 GB."""
OVERCOMMIT = 1.5
"""Limits are no reservations: a plan may promise more than there is, but not without end."""
INSTANCES, WATCHES = 512, 524288
"""What several nodes need together (k3d#968)."""
_ONE_NODE = 128
_HOPELESS = 4
"""Instances a node: kubelet and containerd alone open more."""


def cpus(facts: HostFacts) -> Iterator[Finding]:
    """Few CPUs are only slow; a limit above what there is is lowered to that."""
    engine = facts.engine
    if engine is None:
        return
    few = engine.cpus < 2
    yield Finding(
        check="cpus",
        level=Level.WARNING if few else Level.OK,
        what=f"{_count(engine.cpus, 'CPU')} for {_nodes(facts)}",
        why="a launch takes several times as long as on two" if few else "",
        fix="give the engine more CPUs (Docker Desktop: Settings, Resources; `colima start --cpu 4`)" if few else "",
    )


def memory(facts: HostFacts) -> Iterator[Finding]:
    """Memory against the limits of all nodes together."""
    engine = facts.engine
    if engine is None or not engine.memory_bytes:
        return
    have = engine.memory_bytes
    server, agent, planned = _planned(facts)
    if have < LEAST_MEMORY:
        yield Finding(
            check="memory",
            level=Level.WARNING,
            what=f"the engine has {gib(have)}",
            why="a k3s server alone needs 2 GiB; what does not fit is killed, mostly the API server",
            fix="give the engine more memory (Docker Desktop: Settings, Resources; `colima start --memory 8`)",
        )
    elif planned > have * OVERCOMMIT:
        agents = max(0, (have - server * facts.settings.cluster.servers) // agent)
        yield Finding(
            check="memory",
            level=Level.WARNING,
            what=f"{_nodes(facts)} may use {gib(planned)}, and the engine has {gib(have)}",
            why="limits are no reservations, but if they are used the kernel kills something",
            fix=f"`K3D_AGENTS={agents} invoke up`, or lower K3D_MEMORY_LIMIT_AGENT",
        )
    else:
        bound = f", which may use {gib(planned)}" if planned else ", without limits"
        yield Finding(check="memory", level=Level.OK, what=f"{gib(have)} for {_nodes(facts)}{bound}")


def disk(facts: HostFacts) -> Iterator[Finding]:
    """Room for images and volumes, where the engine keeps them."""
    engine, found = facts.engine, facts.disk
    if engine is None:
        return
    if found is None:
        yield Finding(check="disk", level=Level.UNKNOWN, what=_unseen(facts))
        return
    what = f"{gib(found.free)} of {gib(found.total)} free below {engine.root_dir}"
    evicts = found.free < EVICTION * found.total and not _own_eviction(facts)
    if found.free < LEAST_DISK or evicts:
        yield Finding(
            check="disk",
            level=Level.PROBLEM,
            what=what,
            why="below 5 % k3s evicts pods and takes no new ones" if evicts else "images would not fit",
            fix="`docker system df` shows what takes the room, `docker image prune` removes images that nothing uses",
        )
    elif found.free < GOOD_DISK:
        yield Finding(
            check="disk",
            level=Level.WARNING,
            what=what,
            why="images of a few charts take that much",
            fix="`docker system df` shows what takes the room",
        )
    else:
        yield Finding(check="disk", level=Level.OK, what=what)


def inotify(facts: HostFacts) -> Iterator[Finding]:
    """All nodes share the limits of one user."""
    engine, found = facts.engine, facts.inotify
    if engine is None:
        return
    if found is None:
        yield Finding(check="inotify", level=Level.UNKNOWN, what=_unseen(facts))
        return
    nodes = facts.settings.cluster.servers + facts.agents
    least = (INSTANCES, WATCHES // 8) if nodes > 1 else (_ONE_NODE, WATCHES // 64)
    what = f"{found.instances} instances and {found.watches} watches for {_nodes(facts)}"
    if found.instances >= least[0] and found.watches >= least[1]:
        yield Finding(check="inotify", level=Level.OK, what=what)
        return
    change = (
        f"fs.inotify.max_user_instances={max(INSTANCES, found.instances)}",
        f"fs.inotify.max_user_watches={max(WATCHES, found.watches)}",
    )
    yield Finding(
        check="inotify",
        level=Level.PROBLEM if found.instances < _HOPELESS * nodes else Level.WARNING,
        what=what,
        why="nodes that find none left fail with 'too many open files' or never become ready",
        fix=f"`sudo sysctl -w {' '.join(change)}`; for every boot, put these two lines into /etc/sysctl.d/99-k3d.conf",
        remedy=Remedy(argv=("sysctl", "-w", *change)),
    )


def _planned(facts: HostFacts) -> tuple[int, int, int]:
    """Limits of a server and of an agent, and of all nodes together; bytes."""
    cluster = facts.settings.cluster
    server, agent = memory_bytes(cluster.limits.server_memory), memory_bytes(cluster.limits.agent_memory)
    total = cluster.servers * server + facts.agents * agent
    return server, agent, total if cluster.limits.enabled else 0


def _own_eviction(facts: HostFacts) -> bool:
    cluster = facts.settings.cluster
    return value_of(cluster, "kubelet", "eviction-hard") is not None or "evictionHard" in cluster.kubelet_config


def _unseen(facts: HostFacts) -> str:
    assert facts.engine is not None
    where = "in its own machine" if facts.engine.desktop else "elsewhere, or in a container"
    return f"the engine runs {where}, which does not show from here"


def _nodes(facts: HostFacts) -> str:
    return f"{_count(facts.settings.cluster.servers, 'server')} and {_count(facts.agents, 'agent')}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
