"""Making a cluster: the command, its files and environment, and what happens where a port turns out to be taken."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, State
from tasks.facts.facts import Facts, Ports, Shape
from tasks.k3d.create import PortTaken, creation, write_config
from tasks.k3d.steps import cluster_steps
from tasks.process.command import CommandFailed, DeadlinePassed
from tasks.settings.step_names import CREATE_CLUSTER
from tests.given import context, facts, settings
from tests.programs import Answer, FakePrograms

FIRST, SECOND = Ports(http=80, https=443, api=6550), Ports(http=8080, https=443, api=6550)
TAKEN = (
    'time="2026-11-25T02:00:00Z" level=error msg="Failed Cluster Start: Failed to start server: '
    "Error response from daemon: driver failed programming external connectivity on endpoint "
    'k3d-openframe-dev-server-0: Bind for 127.0.0.1:80 failed: port is already allocated"'
)
UNNAMED = "Error response from daemon: port is already allocated"
PRIVILEGED = "Error response from daemon: cannot expose privileged port 443, you can add ..."
NODES = "docker ps --all --quiet --no-trunc --filter label=k3d.cluster=openframe-dev"


class Next:
    """Chooses the second ports, and remembers what it was told."""

    def __init__(self) -> None:
        self.asked: list[tuple[Ports, int | None]] = []

    def __call__(self, ports: Ports, told: int | None) -> Ports:
        self.asked.append((ports, told))
        return SECOND


@pytest.fixture(autouse=True)
def _without_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """That they are held is in tests/run/test_lease.py."""
    monkeypatch.setattr("tasks.k3d.create.hold_registries", lambda *_: None)


def programs(*create: Answer | str, nodes: str = "") -> FakePrograms:
    return FakePrograms(answers={"k3d cluster create": list(create), NODES: nodes, "docker rm": ""})


def refused(text: str = TAKEN) -> Answer:
    return Answer(err=text, code=1)


def run(given: Facts, choose: Next) -> Any:
    """The step as a plan runs it: with its second attempt, and nothing else."""
    step = next(each for each in cluster_steps(given, (), choose) if each.name == CREATE_CLUSTER)
    fast = replace(step, retry=replace(step.retry, first=0.0))
    (result,) = Run([fast], Bounds(work=1), refresh=0.01).execute()
    return result


def config(given: Facts) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(given.paths.k3d_config.read_text(encoding="utf-8"))
    return found


def test_one_command_in_k3ds_own_environment(tmp_path: Path) -> None:
    k3d, others = FakePrograms(answers={"k3d": ""}, env={"XDG_CONFIG_HOME": "/private"}), FakePrograms()
    given = facts(tmp_path, others, k3d_programs=k3d)
    result = run(given, Next())
    assert (result.state, result.exit_code, result.why) == (State.RAN, 0, CREATED)
    (call,) = k3d.calls
    assert call.command.argv == ("k3d", "cluster", "create", "--config", str(given.paths.k3d_config))
    assert call.env == {"XDG_CONFIG_HOME": "/private"}
    assert call.command.stdin is None
    assert call.command.deadline > given.settings.cluster.timeout
    assert others.calls == []
    assert given.outputs.ports == FIRST


CREATED = "1 server and 1 agent of rancher/k3s:v1.35.5-k3s1"


def test_its_files(tmp_path: Path) -> None:
    given = facts(tmp_path)
    write_config(given, FIRST)
    found = config(given)
    assert found["registries"]["config"] == str(given.paths.state / "registries.yaml")
    assert "k3d-openframe-cache-ghcr-io" in (given.paths.state / "registries.yaml").read_text(encoding="utf-8")
    for file in (given.paths.k3d_config, given.paths.state / "registries.yaml"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for folder in ("", "config", "tmp"):
        assert stat.S_IMODE((given.paths.state / folder).stat().st_mode) == 0o700
    assert not (given.paths.state / "kubelet.conf").exists()


def test_registries_at_the_port_that_this_run_has_got(tmp_path: Path) -> None:
    given = facts(tmp_path)
    given.outputs.registry_ports["k3d-openframe-registry"] = 5999
    write_config(given, FIRST)
    text = (given.paths.state / "registries.yaml").read_text(encoding="utf-8")
    assert "localhost:5999" in text
    assert ":5050" not in text


@pytest.mark.parametrize(("servers", "as_file"), [(1, False), (3, True)])
def test_the_kubelets_drop_in(tmp_path: Path, servers: int, as_file: bool) -> None:
    chosen = settings(cluster={"servers": servers, "kubelet_config": {"maxPods": 50}})
    given = facts(tmp_path, settings=chosen)
    write_config(given, FIRST)
    file = given.paths.state / "kubelet.conf"
    assert file.exists() is as_file
    assert bool(config(given).get("volumes")) is as_file
    if as_file:
        assert stat.S_IMODE(file.stat().st_mode) == 0o644  # the nodes' root may be another user here
        assert json.loads(file.read_text(encoding="utf-8"))["maxPods"] == 50


def test_without_registries_there_is_no_file_of_theirs(tmp_path: Path) -> None:
    given = facts(tmp_path, shape=Shape(image="rancher/k3s:v1.35.5-k3s1", agents=0, concurrency=2))
    write_config(given, FIRST)
    assert "registries" not in config(given)


def test_an_earlier_clusters_kubeconfig_is_gone(tmp_path: Path) -> None:
    given = facts(tmp_path, programs(""))
    given.paths.state.mkdir(parents=True)
    given.paths.kubeconfig.write_text("of another cluster", encoding="utf-8")
    creation(given, Next())(context(CREATE_CLUSTER))
    assert not given.paths.kubeconfig.exists()


@pytest.mark.parametrize(
    ("text", "told"), [(TAKEN, 80), (UNNAMED, None), (PRIVILEGED, 443)], ids=["named", "unnamed", "privileged"]
)
def test_a_port_that_is_taken_after_all(tmp_path: Path, text: str, told: int | None) -> None:
    fake, choose = programs(refused(text), "", nodes="one\ntwo\n"), Next()
    given = facts(tmp_path, fake)
    result = run(given, choose)
    assert (result.state, result.attempts) == (State.RAN, 2)
    assert choose.asked == [(FIRST, told)]
    assert given.outputs.ports == SECOND
    assert not given.outputs.removing
    assert "port 80 was taken: 8080 is used" in result.why
    create = f"k3d cluster create --config {given.paths.k3d_config}"
    assert fake.lines == [create, NODES, "docker rm --force --volumes one two", create]
    assert config(given)["ports"][0]["port"] == "127.0.0.1:8080:80"


def test_nodes_are_cleared_on_purpose(tmp_path: Path) -> None:
    """While they are removed, the watch must not take their end for a failure."""
    seen: list[bool] = []
    fake = programs(refused(), "", nodes="one")

    def remove(_asked: object) -> str:
        seen.append(given.outputs.removing)
        return ""

    fake.answers["docker rm"] = remove
    given = facts(tmp_path, fake)
    run(given, Next())
    assert seen == [True]
    assert not given.outputs.removing


def test_where_no_node_was_made_none_is_removed(tmp_path: Path) -> None:
    fake = programs(refused(), "")
    run(facts(tmp_path, fake), Next())
    assert fake.told("docker rm") == []


def test_once_for_each_port_and_then_no_more(tmp_path: Path) -> None:
    fake, choose = programs(refused(), refused(), refused(), refused(), ""), Next()
    result = run(facts(tmp_path, fake), choose)
    assert (result.state, result.attempts) == (State.FAILED, 4)
    assert isinstance(result.error, PortTaken)
    assert "port 80 is taken" in result.error.why
    assert "docker ps shows" in result.error.fix
    assert result.exit_code == 1
    assert len(choose.asked) == 3


PASSING = "Error response from daemon: Address already in use"


def test_what_passes_is_tried_once_more(tmp_path: Path) -> None:
    fake, choose = programs(refused(PASSING), "", nodes="one"), Next()
    result = run(facts(tmp_path, fake), choose)
    assert (result.state, result.attempts) == (State.RAN, 2)
    assert choose.asked == [(FIRST, None)]
    assert len(fake.told("docker rm")) == 1


@pytest.mark.parametrize(("text", "cause"), [(TAKEN, "port-taken"), (PASSING, "address-clash")])
def test_a_cluster_that_work_has_gone_into_is_not_made_again(tmp_path: Path, text: str, cause: str) -> None:
    """A load balancer starts last: when its port is refused, the API has answered long ago."""
    chosen = settings(cluster={"servers": 3})

    def answers_then_fails(_asked: object) -> Answer:
        given.paths.kubeconfig.write_text("of this cluster", encoding="utf-8")
        return refused(text)

    fake, choose = FakePrograms(answers={"k3d": answers_then_fails}), Next()
    given = facts(tmp_path, fake, settings=chosen, ports=replace(FIRST, early=7550))
    result = run(given, choose)
    assert (result.state, result.attempts) == (State.FAILED, 1)
    assert isinstance(result.error, CommandFailed)
    assert (result.error.cause, choose.asked, len(fake.calls)) == (cause, [], 1)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (refused("Failed to create cluster 'x' because a cluster with that name already exists"), "cluster-exists"),
        (refused("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"), "engine-absent"),
        (Answer(err="nobody knows this", code=3), ""),
    ],
)
def test_other_failures_are_told_with_their_cause(tmp_path: Path, answer: Answer, cause: str) -> None:
    choose = Next()
    result = run(facts(tmp_path, programs(answer)), choose)
    assert (result.state, result.attempts) == (State.FAILED, 1)
    assert isinstance(result.error, CommandFailed)
    assert (result.error.cause, result.exit_code) == (cause, answer.code)
    assert choose.asked == []


def test_a_deadline_that_has_passed(tmp_path: Path) -> None:
    result = run(facts(tmp_path, programs(Answer(late=True))), Next())
    assert isinstance(result.error, DeadlinePassed)
    assert "did not end within 200 s" in str(result.error)


@pytest.mark.parametrize(
    ("wishes", "ports", "why"),
    [
        ({}, FIRST, ""),
        ({}, SECOND, "port 80 was taken: 8080 is used"),
        (
            {"http": None},
            Ports(http=None, https=8443, api=6551),
            "port 443 was taken: 8443 is used; port 6550 was taken: 6551 is used",
        ),
    ],
)
def test_ports_that_differ_from_the_wish_are_told(
    tmp_path: Path, wishes: dict[str, Any], ports: Ports, why: str
) -> None:
    given = facts(tmp_path, programs(""), settings=settings(cluster={"ports": wishes}), ports=ports)
    report = creation(given, Next())(context(CREATE_CLUSTER))
    assert report is not None
    assert report.why == why


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("\x1b[36mINFO\x1b[0m[0003] Starting server 'k3d-dev-server-0'", "Starting server 'k3d-dev-server-0'"),
        ("INFO[0000] Prep: Network", "Prep: Network"),
        ("\x1b[33mWARN\x1b[0m[2026-11-25T02:00:00Z] a [b] c  ", "a [b] c"),
        ("anything [else] here", "anything [else] here"),
        ("something of its own", "something of its own"),
    ],
)
def test_its_own_lines_are_progress(tmp_path: Path, line: str, told: str) -> None:
    said: list[str] = []
    creation(facts(tmp_path, programs(line)), Next())(context(CREATE_CLUSTER, say=said.append))
    assert said == [told]


def test_a_dollar_stops_it_before_k3d_is_asked(tmp_path: Path) -> None:
    fake = programs("")
    given = facts(tmp_path, fake, settings=settings(cluster={"volumes": ["$B:/b"]}))
    with pytest.raises(BadInput):
        creation(given, Next())(context(CREATE_CLUSTER))
    assert fake.calls == []


GONE = (
    "FATA[0005] Failed Cluster Start: Failed to add one or more agents: Node k3d-openframe-dev-agent-0 failed to get "
    "ready: error waiting for log line `successfully registered node` from node 'k3d-openframe-dev-agent-0': stopped "
    "returning log lines: node k3d-openframe-dev-agent-0 is running=false in status=exited"
)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"Running": False, "ExitCode": 137}, "the node k3d-openframe-dev-agent-0 has ended: it was killed"),
        ({"Running": False, "ExitCode": 3}, "the node k3d-openframe-dev-agent-0 has ended with code 3"),
        ({"Running": True}, "k3d ended with code 1"),
        (None, "k3d ended with code 1"),
    ],
    ids=["killed", "ended", "runs", "gone"],
)
def test_a_node_that_has_ended_is_told_as_such(tmp_path: Path, state: dict[str, Any] | None, says: str) -> None:
    fake = programs(refused(GONE))
    fake.answers["docker container inspect"] = json.dumps([{"State": state}] if state is not None else [])
    fake.answers["docker logs"] = "some lines"
    result = run(facts(tmp_path, fake), Next())
    assert result.state is State.FAILED
    assert says in str(result.error)
    assert result.attempts == 1


def test_a_log_that_is_broken_off_is_the_engines_end(tmp_path: Path) -> None:
    fake = programs(refused(GONE.partition(": node k3d")[0]))
    result = run(facts(tmp_path, fake), Next())
    assert "the Docker engine has stopped, or was restarted" in str(result.error)
    assert "invoke up" in result.error.fix
