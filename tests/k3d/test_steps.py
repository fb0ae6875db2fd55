"""Steps of the cluster: creating, starting and extending it, depending on what exists."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.engine.step import Step
from tasks.facts.cluster import Node, Presence
from tasks.facts.facts import Facts, Network, Shape
from tasks.health import NODES, well
from tasks.k3d.steps import ANSWER, MARK, WATCH, cluster_steps, limit_steps, watch_step
from tasks.process.command import CommandFailed
from tasks.settings.derived import AGENTS_LEFT, API_READY, CREATE_CLUSTER, REMOVE_INCOMPLETE
from tests.checks.given import engine
from tests.facts.inspected import container
from tests.given import act, by_name, cluster_state, facts, live, node, settings
from tests.programs import Answer, FakePrograms

BEFORE = ("prepull: k3s", "registry: push")
IMAGE = "rancher/k3s:v1.35.5-k3s1"


def steps(given: Facts) -> list[Step]:
    return cluster_steps(given, BEFORE, lambda ports, _reported: ports)


def shape(agents: int) -> Shape:
    return Shape(image=IMAGE, agents=agents, concurrency=4)


def needs(result: list[Step]) -> dict[str, tuple[str, ...]]:
    return {step.name: step.needs for step in result}


def test_making_one(tmp_path: Path) -> None:
    """What waits for what is in the golden plans."""
    chosen = settings(cluster={"timeout": 100, "servers": 3}, timeouts={"api": 50})
    result = {step.name: step for step in steps(facts(tmp_path, settings=chosen, shape=shape(4)))}
    assert [result[name].deadline for name in (CREATE_CLUSTER, ANSWER, API_READY)] == [130, 50, 50]
    assert result[CREATE_CLUSTER].retry.attempts == 4
    assert CREATE_CLUSTER in needs(steps(facts(tmp_path, ports=None)))
    with pytest.raises(BadInput, match=r"cluster\.env\.0: 'agent:7'"):  # before anything starts
        steps(facts(tmp_path, settings=settings(cluster={"env": ["A=b@agent:7"]})))


def test_making_again_what_was_left_half_made(tmp_path: Path) -> None:
    """The state is read again: another user may have created one of that name since."""
    fake = FakePrograms(answers={"docker ps": "1 2"}, otherwise=Answer())
    result = steps(facts(tmp_path, fake, presence=Presence.INCOMPLETE))
    assert needs(result)[REMOVE_INCOMPLETE] == ()
    assert needs(result)[CREATE_CLUSTER] == needs(result)[ANSWER] == (REMOVE_INCOMPLETE, *BEFORE)
    assert "never recorded as complete" in result[0].why
    act(result[0])
    assert fake.lines[-1] == "docker rm --force --volumes 1 2"


def _alone(result: list[Step]) -> list[Step]:
    """Without needs that are other parts'."""
    names = {step.name for step in result}
    return [replace(step, needs=tuple(need for need in step.needs if need in names)) for step in result]


@pytest.mark.parametrize("cgroup_v1", [True, False])
def test_cgroup_v1_is_told_where_the_cluster_is_made(cgroup_v1: bool, tmp_path: Path) -> None:
    chosen = replace(shape(1), cgroup_v1=cgroup_v1)
    result = by_name(_alone(steps(facts(tmp_path, shape=chosen))))
    assert [name for name, step in result.items() if step.notes] == [CREATE_CLUSTER] * cgroup_v1
    running = facts(tmp_path, presence=Presence.RUNNING, shape=chosen)
    assert not any(step.notes for step in _alone(steps(running)))


@pytest.mark.parametrize("servers", [1, 3])
def test_the_mark_goes_into_each_server(tmp_path: Path, servers: int) -> None:
    """Any of them may be removed later: a cluster without the mark is removed by the next launch."""
    seen: list[str] = []

    def copy(call: Any) -> str:
        seen.append(Path(call.command.argv[2]).read_text(encoding="utf-8"))
        return ""

    fake = FakePrograms(answers={"docker cp": copy, "docker container inspect": json.dumps([{"Id": "id-of-it"}])})
    given = facts(tmp_path, fake, settings=settings(cluster={"servers": servers}))
    given.paths.state.mkdir(parents=True)
    act(next(step for step in steps(given) if step.name == MARK))
    names = [f"k3d-openframe-dev-server-{number}" for number in range(servers)]
    assert fake.lines == [
        *(f"docker cp {given.paths.state}/{each}.part {each}:/openframe-complete" for each in names),
        f"docker container inspect {names[0]}",
    ]
    assert seen == ["openframe-dev\n"] * servers
    assert list(given.paths.state.iterdir()) == [given.paths.complete]
    assert given.paths.complete.read_text(encoding="utf-8") == "id-of-it\n"


def test_starting_one(tmp_path: Path) -> None:
    k3d = FakePrograms(otherwise=Answer())
    act(steps(facts(tmp_path, presence=Presence.STOPPED, k3d_programs=k3d))[0])
    assert k3d.lines == ["k3d cluster start openframe-dev --timeout 180s"]


def test_an_agent_that_is_added_gets_the_authorities_that_k3d_does_not_copy(tmp_path: Path) -> None:
    present = cluster_state(Presence.RUNNING, node("server-0"))
    programs, given = FakePrograms(otherwise=Answer()), replace(shape(1), network=Network(authorities="PEM"))
    found = facts(tmp_path, programs, presence=Presence.RUNNING, cluster=present, shape=given)
    found.paths.state.mkdir(parents=True)
    (step,) = [each for each in steps(found) if each.skip is None]
    act(step)
    assert programs.lines[-2].startswith("k3d node create openframe-dev-agent-0")
    assert programs.lines[-1].endswith(" k3d-openframe-dev-agent-0-0:/etc/ssl/certs/openframe-ca.pem")
    assert not list(found.paths.state.glob("*.pem"))


@pytest.mark.parametrize(
    ("there", "desired", "added"),
    [
        (("server-0",), 2, ["agent-0", "agent-1"]),
        (("server-0", "agent-0"), 2, ["agent-1"]),
        (("server-0", "agent-1"), 3, ["agent-0", "agent-2"]),
        (("server-0", "agent-0", "agent-1-0"), 3, ["agent-2"]),
        (("server-0", "agent-0", "agent-1"), 2, []),
        (("server-0", "agent-0", "agent-1"), 0, []),
    ],
)
def test_agents_are_added_never_removed(tmp_path: Path, there: tuple[str, ...], desired: int, added: list[str]) -> None:
    present = cluster_state(Presence.RUNNING, *(node(name) for name in there))
    k3d = FakePrograms(otherwise=Answer())
    given = facts(tmp_path, presence=Presence.RUNNING, cluster=present, shape=shape(desired), k3d_programs=k3d)
    result = [step for step in steps(given) if step.skip is None]
    assert [step.name for step in result] == [f"cluster: add agent openframe-dev-{name}" for name in added]
    assert all(step.needs == (API_READY, *BEFORE) and step.wait for step in result)
    for step in result:
        act(step)
    own = ""
    if len(there) == 1:  # there is no agent whose labels and arguments k3d would copy
        own = (
            " --k3s-node-label role=agent"
            " --k3s-arg --kubelet-arg=registry-qps=0 --k3s-arg --kubelet-arg=registry-burst=20"
            " --k3s-arg --kubelet-arg=serialize-image-pulls=false"
        )
    assert k3d.lines == [
        f"k3d node create openframe-dev-{name} --cluster openframe-dev --role agent --memory 1536m{own} --timeout 180s"
        for name in added
    ]


@pytest.mark.parametrize(
    ("agents", "reported"),
    [
        (1, "1 agent configured, 2 exist: k3d node delete k3d-openframe-dev-agent-1 removes one, "),
        (2, None),
        (None, None),  # as many as the machine allows
    ],
)
def test_surplus_agents_stay_and_are_reported(tmp_path: Path, agents: int | None, reported: str | None) -> None:
    present = cluster_state(Presence.RUNNING, *(node(name) for name in ("server-0", "agent-0", "agent-1")))
    chosen = settings(cluster={"agents": agents})
    given = facts(tmp_path, settings=chosen, presence=Presence.RUNNING, cluster=present, shape=shape(agents or 0))
    step = by_name(steps(given)).get(AGENTS_LEFT)
    assert (step is not None) is (reported is not None)
    assert step is None or str(step.skip).startswith(str(reported))


@pytest.mark.parametrize("back", [False, True])
def test_the_node_of_an_agent_whose_container_was_removed_is_removed(tmp_path: Path, back: bool) -> None:
    """Those of servers (members of etcd), and with an id in their name (`--with-node-id`), are not."""
    names = [f"k3d-openframe-dev-{each}" for each in ("server-0", "agent-1", "agent-0-0", "agent-2", "server-1")]
    there = live(nodes=(*names[:3], f"{names[1]}-20261128", names[4]), nodes_unready=(names[3],))
    present = cluster_state(Presence.RUNNING, node("server-0"), node("agent-1"))
    now = [container("server-0", "server"), *([container("agent-0-0", "agent")] if back else [])]
    answers = {"docker ps": "1 2", "docker container inspect": json.dumps(now)}
    fake = FakePrograms(answers=answers, otherwise=Answer())
    given = facts(tmp_path, fake, presence=Presence.RUNNING, cluster=present, shape=shape(1), live=there)
    first, second = (step for step in steps(given) if step.skip is None)
    assert (first.name, second.name) == tuple(f"cluster: remove lost node {each}" for each in names[2:4])
    assert well(given)[NODES] == "all 4 are ready"
    assert act(first).skipped is back
    assert len(fake.calls_of("kubectl")) == (not back)
    act(second)
    (*_, call) = fake.calls_of("kubectl")
    assert json.loads(call.command.stdin or "")["metadata"] == {"name": names[3]}


@pytest.mark.parametrize(
    ("servers", "kubelet", "refused"),
    [(1, {}, False), (1, {"maxPods": 50}, False), (3, {}, False), (3, {"maxPods": 50}, True)],
)
def test_where_the_engine_sees_no_files_what_needs_one_is_refused(
    tmp_path: Path, servers: int, kubelet: dict[str, Any], refused: bool
) -> None:
    chosen = settings(cluster={"servers": servers, "kubelet_config": kubelet})
    given = facts(tmp_path, settings=chosen, host=replace(engine(), files=False, here=False))
    with pytest.raises(BadInput, match="kubelets") if refused else contextlib.nullcontext():
        steps(given)


@pytest.mark.parametrize("limits", [True, False])
def test_an_added_agent_without_limits_or_where_the_engine_sees_no_files(tmp_path: Path, limits: bool) -> None:
    k3d = FakePrograms(otherwise=Answer())
    blind = replace(engine(), files=False, here=False) if limits else engine()
    chosen = settings(cluster={"limits": {"enabled": limits}})
    given = facts(tmp_path, settings=chosen, presence=Presence.RUNNING, shape=shape(2), k3d_programs=k3d, host=blind)
    act(steps(given)[-1])
    assert "--memory" not in k3d.lines[0]


def test_the_guard(tmp_path: Path) -> None:
    step = watch_step(facts(tmp_path), ("a", "b"), ("c",))
    assert (step.name, step.until, step.needs, step.wait) == (WATCH, ("a", "b"), ("c",), True)
    assert step.deadline >= 86400
    assert step.why


# -- limits of CPU and memory -------------------------------------------------------------------------


MIB = 1024**2
Limits = tuple[float, int]
"""CPUs and MiB; 0: none."""
NONE, OF_SERVER, OF_AGENT = (0.0, 0), (2.0, 2048), (1.0, 1536)
SERVERS_LOG, AGENTS_LOG = "2 CPUs and 2G each already", "1 CPU and 1.5G each already"


def limited(*limits: Limits) -> list[Node]:
    """A server, then agents."""
    names = ("server-0", "agent-0", "agent-1")
    return [
        node(name, nano_cpus=round(cpus * 1e9), memory=memory * MIB)
        for name, (cpus, memory) in zip(names, limits, strict=False)
    ]


def planned(folder: Path, nodes: list[Node], agents: int = 1, **limits: Any) -> dict[str, Step]:
    presence = Presence.RUNNING if nodes else Presence.ABSENT
    chosen = settings(cluster={"limits": limits})
    given = facts(folder, settings=chosen, cluster=cluster_state(presence, *nodes), shape=shape(agents))
    return {step.name.removeprefix("cluster: limits of "): step for step in limit_steps(given, ("last",))}


@pytest.mark.parametrize(
    ("nodes", "agents", "skips"),
    [
        ([], 2, {"servers": None, "agents": None}),
        (limited(NONE, NONE, NONE), 2, {"servers": None, "agents": None}),
        (limited(OF_SERVER, OF_AGENT, OF_AGENT), 2, {"servers": SERVERS_LOG, "agents": AGENTS_LOG}),
        (limited(OF_SERVER, OF_AGENT, NONE), 2, {"servers": SERVERS_LOG, "agents": None}),
        (limited(OF_SERVER, OF_AGENT), 2, {"servers": SERVERS_LOG, "agents": None}),
        (limited((1.5, 2048), OF_AGENT), 1, {"servers": None, "agents": AGENTS_LOG}),
        (limited((2.0, 0), (0.0, 1536)), 1, {"servers": None, "agents": None}),
        (limited(OF_SERVER, (1.0, 1024)), 1, {"servers": SERVERS_LOG, "agents": None}),
        (limited(OF_SERVER), 0, {"servers": SERVERS_LOG}),
    ],
)
def test_both_are_set_where_one_of_them_differs(
    tmp_path: Path, nodes: list[Node], agents: int, skips: dict[str, str | None]
) -> None:
    steps = planned(tmp_path, nodes, agents)
    assert {name: step.skip for name, step in steps.items()} == skips
    assert all(step.needs == ("last",) for step in steps.values())


@pytest.mark.parametrize("size", ["2G", "2048M", "2GiB", "2g"])
def test_a_size_in_other_words_is_no_change(tmp_path: Path, size: str) -> None:
    step = planned(tmp_path, limited(OF_SERVER, OF_AGENT), server_memory=size)["servers"]
    assert step.skip == f"2 CPUs and {size} each already"
    off = planned(tmp_path, [], enabled=False)
    assert [step.skip for step in off.values()] == ["cluster.limits.enabled is false"] * 2


@pytest.mark.parametrize(("role", "memory"), [("server", 2048 * MIB), ("agent", 1536 * MIB)])
def test_they_are_set_by_exact_label_and_with_swap_twice_the_memory(tmp_path: Path, role: str, memory: int) -> None:
    fake = FakePrograms(answers={"docker ps": "one\ntwo\n", "docker update": ""})
    given = facts(tmp_path, fake, shape=shape(1), cluster=cluster_state(Presence.RUNNING, *limited(NONE, NONE)))
    (step,) = (step for step in limit_steps(given, ()) if step.name.endswith(f"{role}s"))
    assert step.why == ("2 CPUs and 2G each" if role == "server" else "1 CPU and 1.5G each")
    act(step)
    label = f"--filter label=k3d.cluster=openframe-dev --filter label=app=k3d --filter label=k3d.role={role}"
    cpus = 2 if role == "server" else 1
    assert fake.lines == [
        f"docker ps --all --quiet --no-trunc {label}",
        f"docker update --cpus {cpus} --memory {memory} --memory-swap {2 * memory} one two",
    ]


@pytest.mark.parametrize(("ncpu", "cpus"), [(8, 1.5), (1, 1)])
def test_no_more_cpus_are_given_than_the_engine_has(tmp_path: Path, ncpu: int, cpus: float) -> None:
    """Docker refuses it; as many as it has are enough the next time."""
    fake = FakePrograms(answers={"docker ps": "", "docker update": ""})
    chosen = settings(cluster={"limits": {"server_cpus": 1.5}})
    act(limit_steps(facts(tmp_path, fake, settings=chosen, host=engine(NCPU=ncpu)), ())[0])
    assert fake.lines[-1].startswith(f"docker update --cpus {cpus} --memory")
    exists = cluster_state(Presence.RUNNING, *limited((float(cpus), 2048), OF_AGENT))
    given = facts(tmp_path, fake, settings=chosen, cluster=exists, host=engine(NCPU=ncpu), shape=shape(1))
    assert limit_steps(given, ())[0].skip is not None
    act(replace(limit_steps(given, ())[0], skip=None))  # nodes that are gone are not limited
    assert len(fake.calls_of("docker update")) == 1


def test_a_cluster_is_complete_without_a_cpu_limit_that_the_kernel_refuses(tmp_path: Path) -> None:
    refused = Answer(err='failed to write "100000": write /cg/cpu.cfs_quota_us: invalid argument: unknown', code=1)
    fake = FakePrograms(answers={"docker ps": "one\n", "docker update --cpus": refused, "docker update --memory": ""})
    given = facts(tmp_path, fake, shape=shape(1), cluster=cluster_state(Presence.RUNNING, *limited(NONE, NONE)))
    report = act(limit_steps(given, ())[0])
    assert fake.lines[-1] == f"docker update --memory {2048 * MIB} --memory-swap {4096 * MIB} one"
    assert "cluster.limits.server_cpus" in report.notes[0]
    fake.answers["docker update --cpus"] = Answer(err="No such container: one", code=1)
    with pytest.raises(CommandFailed):
        act(limit_steps(given, ())[0])


def test_an_engine_without_that_controller_gets_no_cpu_limit(tmp_path: Path) -> None:
    fake = FakePrograms(answers={"docker ps": "one\n", "docker update": ""})
    host = engine(CpuCfsQuota=False)  # as without a delegated controller: rootless
    states = cluster_state(Presence.RUNNING, *limited((0.0, 2048), NONE))
    of_servers, of_agents = limit_steps(facts(tmp_path, fake, host=host, cluster=states, shape=shape(1)), ())
    assert of_servers.skip is not None
    act(of_agents)
    assert fake.lines[-1].startswith("docker update --memory ")


@pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.INCOMPLETE])
def test_nodes_that_this_run_makes_are_known_by_name(tmp_path: Path, presence: Presence) -> None:
    fake = FakePrograms(answers={"docker update": ""})
    given = facts(tmp_path, fake, shape=shape(2), cluster=cluster_state(presence))
    for step in limit_steps(given, ()):
        act(step)
    servers, agents = fake.lines
    assert servers.endswith(f"--memory-swap {4096 * MIB} k3d-openframe-dev-server-0")
    assert agents.endswith(f"--memory-swap {3072 * MIB} k3d-openframe-dev-agent-0 k3d-openframe-dev-agent-1")
