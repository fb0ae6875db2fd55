"""The steps that create a cluster, start it, or add to it."""

import json
from collections.abc import Iterator
from functools import partial

from tasks.clients import docker, k3d, kubectl
from tasks.core.files import write_whole
from tasks.core.units import count, memory_bytes
from tasks.diagnose.command import run_command
from tasks.engine.step import Context, Report, Retry, Step
from tasks.engine.work import AwaitCluster, CreateCluster, Milestone, RunCommand, WatchNodes
from tasks.facts.cluster import MARKER, Presence, cluster_state
from tasks.facts.facts import AUTHORITIES, Facts
from tasks.facts.mounts import data_is_mounted
from tasks.k3d.arguments import arguments, needs_cgroup_v1
from tasks.k3d.config import Files, chosen_nodes, k3d_config, refuse_files, render
from tasks.k3d.create import NextPorts, clear, creation, first_answer, names_a_cache, wait_api_ready, withdraw
from tasks.k3d.kubeconfig import fetch_kubeconfig
from tasks.k3d.networks import start_cluster
from tasks.k3d.node_watch import watch_nodes
from tasks.process.command import Command, CommandFailed
from tasks.settings.derived import (
    AGENTS_LEFT,
    API_READY,
    CREATE_CLUSTER,
    REMOVE_INCOMPLETE,
    START_CLUSTER,
    balanced,
    docker_memory,
)
from tasks.settings.k3s_arguments import FAIL_CGROUP_V1, NO_CGROUP_V1

TASK = "cluster"
ANSWER, KUBECONFIG = "cluster: first answer", "cluster: read its kubeconfig"
MARK, WATCH = "cluster: record it as complete", "cluster: watch the nodes"
WITHDRAW = "cluster: name no cache as a registry to push to"
_QUOTA = "cpu.cfs_quota_us: invalid argument"
_CGROUP_V1 = (
    f"this engine has cgroup v1, which kubelets of Kubernetes 1.{NO_CGROUP_V1} and later refuse: {FAIL_CGROUP_V1}=false"
)


def cluster_steps(facts: Facts, needs: tuple[str, ...], next_ports: NextPorts) -> list[Step]:
    """Steps until the API is ready and the creation is recorded. `needs`: images and registries. Raises `BadInput`."""
    presence = facts.cluster.presence
    if presence is Presence.RUNNING:
        return [*_present(facts), *_without_lost(facts), *_more_agents(facts, needs), *_staying(facts)]
    if presence is Presence.STOPPED:
        return list(_starting(facts, needs))
    return list(_making(facts, needs, next_ports))


def watch_step(facts: Facts, until: tuple[str, ...], needs: tuple[str, ...]) -> Step:
    """The guard: it starts with the nodes and ends with the last step that needs them."""
    return Step(
        name=WATCH,
        task=TASK,
        action=partial(watch_nodes, facts),
        needs=needs,
        until=until,
        wait=True,
        deadline=86400.0,
        why="a node that dies fails the launch at once, with its cause",
        work=WatchNodes(),
    )


def _making(facts: Facts, needs: tuple[str, ...], next_ports: NextPorts) -> Iterator[Step]:
    settings = facts.settings
    shape = facts.shape
    if facts.ports is not None:  # report what k3d would reject before anything is pulled
        render(k3d_config(settings, shape, facts.ports, Files()))
    if facts.host is not None and not facts.host.files:
        refuse_files(settings, shape)
    if facts.cluster.presence is Presence.INCOMPLETE:
        yield Step(
            name=REMOVE_INCOMPLETE,
            task=TASK,
            action=partial(clear, facts),
            retry=Retry(attempts=6, first=2.0, cap=4.0),
            why=facts.cluster.incomplete,
            expected=1.0,
        )
        needs = (REMOVE_INCOMPLETE, *needs)
    servers = settings.cluster.servers
    restored: list[Step] = []
    if facts.restore is not None:
        from tasks.k3d.restore import restore_steps

        restored = restore_steps(facts, facts.restore, needs)
    yield from restored
    yield Step(
        name=CREATE_CLUSTER,
        task=TASK,
        action=creation(facts, next_ports),
        needs=(*needs, *(step.name for step in restored)),
        wait=True,
        deadline=settings.cluster.timeout + 30,
        retry=Retry(attempts=4, first=0.1),
        why=f"{_nodes(servers, shape.agents)} of {shape.image}",
        notes=(_CGROUP_V1,) * needs_cgroup_v1(settings.cluster, shape),
        expected=7.0 + 2.0 * min(shape.agents, 1) + 6.0 * balanced(settings) + 5.0 * (servers - 1),
        work=CreateCluster(servers=servers, agents=shape.agents),
    )
    yield from _answering(facts, needs)
    created: tuple[str, ...] = (CREATE_CLUSTER,)
    if names_a_cache(facts):
        yield Step(
            name=WITHDRAW,
            task=TASK,
            action=partial(withdraw, facts),
            needs=(CREATE_CLUSTER, API_READY),
            why="there is no push registry, and k3d advertises the first cache",
            expected=0.2,
            work=RunCommand(program="kubectl"),
        )
        created = (CREATE_CLUSTER, WITHDRAW)
    yield Step(
        name=MARK,
        task=TASK,
        action=partial(_mark, facts),
        needs=created,
        why="so that an interrupted creation is never mistaken for a cluster",
        expected=0.1,
        work=RunCommand(program="docker"),
    )


def _answering(facts: Facts, needs: tuple[str, ...]) -> Iterator[Step]:
    api = facts.settings.timeouts.api
    yield Step(
        name=ANSWER,
        task=TASK,
        action=partial(first_answer, facts),
        needs=needs,
        wait=True,
        deadline=api,
        why="server-0's own port, while k3d still waits for the other nodes",
        expected=4.0,
        work=AwaitCluster(milestone=Milestone.ANSWER),
    )
    yield Step(
        name=KUBECONFIG,
        task=TASK,
        action=partial(fetch_kubeconfig, facts),
        needs=(ANSWER,),
        retry=Retry(attempts=20, first=0.1, factor=1.5, cap=1.0),
        deadline=30.0,
        why="a private one, mode 0600",
        expected=0.1,
        work=RunCommand(program="docker"),
    )
    yield Step(
        name=API_READY,
        task=TASK,
        action=partial(wait_api_ready, facts),
        needs=(KUBECONFIG,),
        wait=True,
        deadline=api,
        why="/readyz with the admin certificate",
        expected=0.5,
        work=AwaitCluster(milestone=Milestone.API),
    )


def _present(facts: Facts) -> list[Step]:
    servers, agents = len(facts.cluster.of("server")), len(facts.cluster.of("agent"))
    why = f"{_nodes(servers, agents)} already run"
    work, ready = CreateCluster(servers=servers, agents=agents), AwaitCluster(milestone=Milestone.API)
    return [
        Step(name=CREATE_CLUSTER, task=TASK, skip=why, wait=True, work=work),
        Step(name=API_READY, task=TASK, skip="the API answers", needs=(CREATE_CLUSTER,), wait=True, work=ready),
    ]


def _starting(facts: Facts, needs: tuple[str, ...]) -> Iterator[Step]:
    """After the registries: k3d tells pods the addresses of the registries in the network at that time."""
    settings = facts.settings
    stopped = [node for node in facts.cluster.nodes if not node.running]
    resumed = facts.cluster.only_paused
    reasons = [node.condition for node in stopped if node.last]
    yield Step(
        name=START_CLUSTER,
        task=TASK,
        action=partial(_start, facts),
        needs=needs,
        wait=True,
        deadline=settings.cluster.timeout + 30,
        why="its nodes are paused, and are resumed"
        if resumed
        else "; ".join((f"{len(stopped)} of its {len(facts.cluster.nodes)} containers are not running", *reasons)),
        expected=0.3 if resumed else 8.0,
    )
    yield from _answering(facts, needs)


def _start(facts: Facts, context: Context) -> Report | None:
    """k3d starts stopped nodes; Docker cannot start paused ones, and resumed ones need no start."""
    if facts.cluster.paused:
        done = run_command(facts.programs, docker.unpause([node.name for node in facts.cluster.paused]), context)
        if facts.cluster.only_paused:
            return Report(exit_code=done.code)
    command = k3d.start(facts.name, facts.settings.cluster.timeout)
    return Report(exit_code=start_cluster(facts, command, context).code)


def _staying(facts: Facts) -> list[Step]:
    """Pods, and volumes of the StorageClass local-path, are on agents: none is removed unasked."""
    have, wanted = facts.cluster.of("agent"), facts.settings.cluster.agents
    if wanted is None or len(have) <= wanted:
        return []
    way = f"k3d node delete {have[-1].name} removes one, with the local volumes on it"
    return [Step(name=AGENTS_LEFT, task=TASK, skip=f"{count(wanted, 'agent')} configured, {len(have)} exist: {way}")]


def _without_lost(facts: Facts) -> list[Step]:
    """Without its Node, pods of a StatefulSet that were on a lost agent start elsewhere; with it they never do."""
    return [
        Step(
            name=f"cluster: remove lost node {name}",
            task=TASK,
            action=partial(_remove_lost, facts, name),
            needs=(API_READY,),
            why="its container was removed, and Kubernetes still counts it",
            expected=0.2,
            work=RunCommand(program="kubectl"),
        )
        for name in facts.lost_agents
    ]


def _remove_lost(facts: Facts, name: str, context: Context) -> Report | None:
    """Its container may have been created since the engine was queried."""
    now = cluster_state(facts.programs, facts.name, facts.cluster.first.id if facts.cluster.first else None)
    if any(node.kubernetes_name == name for node in now.nodes):
        return Report(skipped=True, why="its container exists by now")
    node = json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    return Report(exit_code=run_command(facts.programs, kubectl.delete(facts.paths.kubeconfig, node), context).code)


def _more_agents(facts: Facts, needs: tuple[str, ...]) -> list[Step]:
    """Agents are added; removing some is not done in place, since pods run there."""
    if data_is_mounted(facts.cluster):
        return []
    have = facts.cluster.of("agent")
    wanted = facts.shape.agents
    limits = facts.settings.cluster.limits
    seen = facts.host is None or facts.host.files
    memory = docker_memory(limits.agent_memory) if limits.enabled and seen else None
    settings = facts.settings
    rows = arguments(settings, facts.shape) if wanted and not have else ()
    filtered = [
        (arg, chosen_nodes(settings, facts.shape, filters, f"cluster.args: {arg.split('=', 1)[0]}"))
        for arg, filters in rows
    ]
    taken = {node.name for node in have}
    names = (f"{facts.name}-agent-{number}" for number in range(wanted + len(have) + 1))
    free = [name for name in names if f"k3d-{name}" not in taken and f"k3d-{name}-0" not in taken]
    return [
        Step(
            name=f"cluster: add agent {name}",
            task=TASK,
            action=partial(
                _add_agent,
                facts,
                k3d.add_agent(
                    facts.name,
                    name,
                    memory=memory,
                    timeout=settings.cluster.timeout,
                    labels=None if have else settings.cluster.agent_labels,
                    args=[arg for arg, those in filtered if ("agent", number) in those],
                ),
                f"k3d-{name}-0",
            ),
            needs=(API_READY, *needs),
            wait=True,
            deadline=settings.cluster.timeout + 30,
            why=f"{count(wanted, 'agent')} configured, {len(have)} exist",
            expected=6.0,
        )
        for number, name in list(enumerate(free))[: max(0, wanted - len(have))]
    ]


def _add_agent(facts: Facts, command: Command, container: str, context: Context) -> Report | None:
    """k3d gives a new agent the variables and mounts of another one, but no inline files."""
    done = run_command(facts.k3d_programs, command, context)
    if facts.shape.network.authorities and facts.settings.cluster.servers == 1:
        _put_text(facts, facts.shape.network.authorities, container, AUTHORITIES, context)
    return Report(exit_code=done.code)


def _put_text(facts: Facts, text: str, container: str, place: str, context: Context) -> None:
    """Copy a public text into a container."""
    source = facts.paths.state / f"{container}.part"
    write_whole(source, text, mode=0o644)
    facts.programs.run(docker.copy_in(str(source), container, place), context)
    source.unlink(missing_ok=True)


def limit_steps(facts: Facts, needs: tuple[str, ...]) -> list[Step]:
    """Limits of CPU and memory, once everything is ready: during the launch they would slow it down."""
    limits, most = facts.settings.cluster.limits, 1024.0
    if facts.host is not None:  # Docker rejects a higher limit, and any where it has no such controller
        most = 0 if "cpu" in facts.host.missing_controllers else facts.host.ncpu
    steps = []
    for role, wish, size in (
        ("server", limits.server_cpus, limits.server_memory),
        ("agent", limits.agent_cpus, limits.agent_memory),
    ):
        cpus, memory = min(wish, most), memory_bytes(docker_memory(size))
        number = facts.settings.cluster.servers if role == "server" else facts.shape.agents
        if not number:
            continue
        limit = f"{count(cpus, 'CPU') if cpus else 'no CPU limit, which this engine cannot set,'} and {size} each"
        nodes = facts.cluster.of(role)
        limited = all((node.nano_cpus, node.memory) == (round(cpus * 1e9), memory) for node in nodes)
        done = f"{limit} already" if len(nodes) >= number and limited else None
        step = Step(
            name=f"cluster: limits of {role}s",
            task=TASK,
            action=partial(_limit, facts, role, cpus, memory, number),
            needs=needs,
            skip=done if limits.enabled else "cluster.limits.enabled is false",
            why=limit,
            expected=0.1,
            work=RunCommand(program="docker"),
        )
        steps.append(step)
    return steps


def _limit(facts: Facts, role: str, cpus: float, memory: int, count: int, context: Context) -> Report | None:
    """Node names are known for a cluster that this run creates; others are found by exact label.

    With cgroup v1 the kernel rejects a quota below that of a container in the node (EINVAL of cpu.cfs_quota_us), such
    as the 32 CPUs that jobs of k3s's Helm controller may use. The environment is complete without the limit.
    """
    nodes = [f"k3d-{facts.name}-{role}-{number}" for number in range(count)]
    if not facts.cluster.presence.to_create:
        labels = (*docker.of_cluster(facts.name), f"k3d.role={role}")
        nodes = facts.programs.run(docker.containers(*labels), context).out.split()
    if not nodes:
        return None
    try:
        facts.programs.run(docker.limit(nodes, cpus, memory), context)
    except CommandFailed as error:
        if _QUOTA not in error.done.err:
            raise
    else:
        return None
    facts.programs.run(docker.limit(nodes, 0, memory), context)
    why = f"a container on them may use more than {cpus:g}, and cgroup v1 does not allow that"
    fix = f"the next `invoke up` sets it if that container has ended; or raise cluster.limits.{role}_cpus"
    return Report(why="memory only", notes=(f"the {role}s have no CPU limit: {why}; {fix}",))


def _mark(facts: Facts, context: Context) -> None:
    """Put the marker into all servers, since each may be removed; and record the id of server-0, to save a query."""
    container, *others = (f"k3d-{facts.name}-server-{number}" for number in range(facts.settings.cluster.servers))
    for each in (container, *others):
        _put_text(facts, f"{facts.name}\n", each, MARKER, context)
    found = docker.inspected(facts.programs.run(docker.inspect([container]), context).out)
    if found:
        write_whole(facts.paths.complete, f"{found[0]['Id']}\n")
    if facts.outputs.leases is not None:
        facts.outputs.leases.close()  # by now the registries are in the cluster's network


def _nodes(servers: int, agents: int) -> str:
    return f"{count(servers, 'server')} and {count(agents, 'agent')}"
