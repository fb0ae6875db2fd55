"""Making a cluster: the command, its files and environment, and what happens where a port turns out to be taken."""

import json
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, State
from tasks.facts.facts import Facts, Ports, Shape
from tasks.k3d.create import NAME, NAMESPACE, PortTaken, creation, names_a_cache, withdraw, write_config
from tasks.k3d.steps import MARK, WITHDRAW, cluster_steps
from tasks.kube.client import ApiError
from tasks.process.command import CommandFailed
from tasks.settings.derived import API_READY, CREATE_CLUSTER
from tests.given import facts, settings
from tests.given_live import FakeApi, reached
from tests.programs import Answer, Call, FakePrograms, context

FIRST, SECOND = Ports(http=80, https=443, api=6550), Ports(http=8080, https=443, api=6550)
OCCUPIED = (
    'time="2026-11-25T02:00:00Z" level=error msg="Failed Cluster Start: Failed to start server: '
    "Error response from daemon: driver failed programming external connectivity on endpoint "
    'k3d-openframe-dev-server-0: Bind for 127.0.0.1:80 failed: port is already allocated"'
)
PASSING = "Error response from daemon: Address already in use"
UNNAMED = "Error response from daemon: port is already allocated"
PRIVILEGED = "Error response from daemon: cannot expose privileged port 443, you can add ..."
NODES = "docker ps --all --quiet --no-trunc --filter label=k3d.cluster=openframe-dev --filter label=app=k3d"


class Next:
    """Chooses the second ports, and records its arguments."""

    def __init__(self) -> None:
        self.requests: list[tuple[Ports, int | None]] = []

    def __call__(self, ports: Ports, reported: int | None) -> Ports:
        self.requests.append((ports, reported))
        return SECOND


@pytest.fixture(autouse=True)
def _without_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """That they are held is in tests/run/test_lease.py."""
    monkeypatch.setattr("tasks.k3d.create.hold_registries", lambda *_: None)


def programs(*create: Answer | str, nodes: str = "") -> FakePrograms:
    return FakePrograms(answers={"k3d cluster create": list(create), NODES: nodes, "docker rm": ""})


def refused(text: str = OCCUPIED) -> Answer:
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
    given.paths.state.mkdir(parents=True)
    given.paths.kubeconfig.write_text("of an earlier cluster", encoding="utf-8")
    result = run(given, Next())
    assert (result.state, result.exit_code) == (State.RAN, 0)
    assert result.why == "1 server and 1 agent of rancher/k3s:v1.35.5-k3s1"
    (call,) = k3d.calls
    assert call.command.argv == ("k3d", "cluster", "create", "--config", str(given.paths.k3d_config))
    assert call.env == {"XDG_CONFIG_HOME": "/private"}
    assert call.command.stdin is None
    assert call.command.deadline > given.settings.cluster.timeout
    assert (others.calls, given.outputs.ports) == ([], FIRST)
    assert not given.paths.kubeconfig.exists()


def test_its_files(tmp_path: Path) -> None:
    given = facts(tmp_path)
    given.outputs.registry_ports["k3d-openframe-registry"] = 5999  # that this run has got
    write_config(given, FIRST)
    file = given.paths.state / "registries.yaml"
    assert config(given)["registries"]["config"] == str(file)
    text = file.read_text(encoding="utf-8")
    assert "k3d-openframe-cache-ghcr-io" in text
    assert "localhost:5999" in text
    assert ":5050" not in text
    assert {stat.S_IMODE(each.stat().st_mode) for each in (given.paths.k3d_config, file)} == {0o600}
    for folder in ("", "config", "tmp"):
        assert stat.S_IMODE((given.paths.state / folder).stat().st_mode) == 0o700
    assert not (given.paths.state / "kubelet.conf").exists()
    write_config(replace(given, shape=Shape(image="rancher/k3s:v1.35.5-k3s1", agents=0, concurrency=2)), FIRST)
    assert "registries" not in config(given)


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


@pytest.mark.parametrize(
    ("text", "reported"), [(OCCUPIED, 80), (UNNAMED, None), (PRIVILEGED, 443), (PASSING, None)], ids=str
)
@pytest.mark.parametrize("nodes", ["one\ntwo\n", ""])
def test_a_port_that_is_taken_after_all(tmp_path: Path, text: str, reported: int | None, nodes: str) -> None:
    """Created nodes are removed on purpose: the watch must not report their end as a failure."""
    seen: list[bool] = []

    def remove(request: Call) -> str:
        seen.append(given.outputs.removing)
        assert request.line == "docker rm --force --volumes one two"
        return ""

    fake, choose = programs(refused(text), "", nodes=nodes), Next()
    fake.answers["docker rm"] = remove
    given = facts(tmp_path, fake)
    result = run(given, choose)
    assert (result.state, result.attempts) == (State.RAN, 2)
    assert choose.requests == [(FIRST, reported)]
    assert given.outputs.ports == SECOND
    assert (seen, given.outputs.removing) == ([True] * bool(nodes), False)
    assert "port 80 was taken: 8080 is used" in result.why
    create = f"k3d cluster create --config {given.paths.k3d_config}"
    assert [line for line in fake.lines if "docker rm" not in line] == [create, NODES, create]
    assert config(given)["ports"][0]["port"] == "127.0.0.1:8080:80"


def test_once_for_each_port_and_then_no_more(tmp_path: Path) -> None:
    fake, choose = programs(refused(), refused(), refused(), refused(), ""), Next()
    result = run(facts(tmp_path, fake), choose)
    assert (result.state, result.attempts) == (State.FAILED, 4)
    assert isinstance(result.error, PortTaken)
    assert "port 80 is already in use" in result.error.why
    assert "docker ps shows" in result.error.fix
    assert result.exit_code == 1
    assert len(choose.requests) == 3


@pytest.mark.parametrize(("text", "cause"), [(OCCUPIED, "port-taken"), (PASSING, "address-clash")])
def test_a_cluster_that_work_has_gone_into_is_not_made_again(tmp_path: Path, text: str, cause: str) -> None:
    """A load balancer starts last: when its port is refused, the API has answered long ago."""
    chosen = settings(cluster={"servers": 3})

    def answers_then_fails(_call: object) -> Answer:
        given.paths.kubeconfig.write_text("of this cluster", encoding="utf-8")
        return refused(text)

    fake, choose = FakePrograms(answers={"k3d": answers_then_fails}), Next()
    given = facts(tmp_path, fake, settings=chosen, ports=replace(FIRST, early=7550))
    result = run(given, choose)
    assert (result.state, result.attempts) == (State.FAILED, 1)
    assert isinstance(result.error, CommandFailed)
    assert (result.error.cause, choose.requests, len(fake.calls)) == (cause, [], 1)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (refused("Failed to create cluster 'x' because a cluster with that name already exists"), "cluster-exists"),
        (refused("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"), "engine-absent"),
        (Answer(err="nobody knows this", code=3), ""),
        (Answer(late=True), None),
    ],
)
def test_other_failures_are_told_with_their_cause(tmp_path: Path, answer: Answer, cause: str | None) -> None:
    choose = Next()
    result = run(facts(tmp_path, programs(answer)), choose)
    assert (result.state, result.attempts, choose.requests) == (State.FAILED, 1, [])
    assert isinstance(result.error, CommandFailed)
    if cause is None:
        assert "did not end within 200 s" in str(result.error)
    else:
        assert (result.error.cause, result.exit_code) == (cause, answer.code)


@pytest.mark.parametrize(
    ("options", "ports", "why"),
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
def test_ports_that_differ_are_reported(tmp_path: Path, options: dict[str, Any], ports: Ports, why: str) -> None:
    given = facts(tmp_path, programs(""), settings=settings(cluster={"ports": options}), ports=ports)
    report = creation(given, Next())(context(CREATE_CLUSTER))
    assert report is not None
    assert report.why == why


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        ("\x1b[36mINFO\x1b[0m[0003] Starting server 'k3d-dev-server-0'", "Starting server 'k3d-dev-server-0'"),
        ("INFO[0000] Prep: Network", "Prep: Network"),
        ("\x1b[33mWARN\x1b[0m[2026-11-25T02:00:00Z] a [b] c  ", "a [b] c"),
        ("anything [else] here", "anything [else] here"),
        ("something of its own", "something of its own"),
    ],
)
def test_its_own_lines_are_progress(tmp_path: Path, line: str, reported: str) -> None:
    output: list[str] = []
    creation(facts(tmp_path, programs(line)), Next())(context(CREATE_CLUSTER, say=output.append))
    assert output == [reported]


def test_a_dollar_stops_it_before_k3d_is_asked(tmp_path: Path) -> None:
    fake = programs("")
    given = facts(tmp_path, fake, settings=settings(cluster={"volumes": ["$B:/b"]}))
    with pytest.raises(BadInput):
        creation(given, Next())(context(CREATE_CLUSTER))
    assert fake.calls == []


MISSING = (
    "FATA[0005] Failed Cluster Start: Failed to add one or more agents: Node k3d-openframe-dev-agent-0 failed to get "
    "ready: error waiting for log line `successfully registered node` from node 'k3d-openframe-dev-agent-0': stopped "
    "returning log lines: node k3d-openframe-dev-agent-0 is running=false in status=exited"
)


ENDED = {"Running": False, "ExitCode": 137}


@pytest.mark.parametrize(
    ("state", "reported", "says"),
    [
        (ENDED, MISSING, "the node k3d-openframe-dev-agent-0 has ended: it was killed"),
        ({"Running": False, "ExitCode": 3}, MISSING, "the node k3d-openframe-dev-agent-0 has ended with code 3"),
        ({"Running": True}, MISSING, "k3d ended with code 1"),
        (None, MISSING, "k3d ended with code 1"),
        (ENDED, MISSING.partition(": node k3d")[0], "the Docker engine has stopped, or was restarted"),
    ],
    ids=["killed", "ended", "runs", "gone", "log-broken-off"],
)
def test_a_node_that_ended_is_reported(tmp_path: Path, state: dict[str, Any] | None, reported: str, says: str) -> None:
    fake = programs(refused(reported))
    fake.answers["docker container inspect"] = json.dumps([{"State": state}] if state is not None else [])
    fake.answers["docker logs"] = "some lines"
    result = run(facts(tmp_path, fake), Next())
    assert (result.state, result.attempts) == (State.FAILED, 1)
    assert says in str(result.error)


# -- no cache is advertised as a registry to push to -----------------------------------------------------------


PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"
NO_PUSH = {"push": False, "caches": [{"upstream": "ghcr.io"}]}
CACHE = "k3d-openframe-cache-ghcr-io:5000"


def hosting(text: str) -> dict[str, Any]:
    return {"data": {"localRegistryHosting.v1": text}}


@pytest.mark.parametrize(
    ("registries", "expected"),
    [({}, False), ({"caches": []}, False), (NO_PUSH, True), ({"push": False, "caches": []}, False)],
)
def test_a_cache_is_named_if_no_registry_is(tmp_path: Path, registries: Mapping[str, Any], expected: bool) -> None:
    given = facts(tmp_path, settings=settings(registries=registries))
    created = {step.name: step for step in cluster_steps(given, (), lambda ports, _reported: ports)}
    assert names_a_cache(given) == (WITHDRAW in created) == expected
    assert created[MARK].needs == ((CREATE_CLUSTER, WITHDRAW) if expected else (CREATE_CLUSTER,))
    if expected:
        assert created[WITHDRAW].needs == (CREATE_CLUSTER, API_READY)  # after k3d has written it


@pytest.mark.parametrize(
    ("answer", "refused", "removed", "note"),
    [
        (hosting(f"host: 127.0.0.1:40001\nhostFromContainerRuntime: {CACHE}\n"), False, True, False),
        (hosting(f"hostFromContainerRuntime: {CACHE}"), True, True, True),
        (hosting("host: localhost:5000\nhostFromContainerRuntime: mine:5000\n"), False, False, False),  # the user's own
        (hosting("help: https://example.com\n"), False, False, False),
        (hosting("[:"), False, False, False),
        ({"data": None}, False, False, False),
        ((404, "{}"), False, False, False),
        (ApiError(0, "the API does not answer"), False, False, True),
    ],
)
def test_only_what_names_caches_goes(tmp_path: Path, answer: Any, refused: bool, removed: bool, note: bool) -> None:
    """The registry that tools are to push to; a failure is a note."""
    fake = FakePrograms(otherwise=Answer(err="Error from server (Forbidden)" * refused, code=int(refused)))
    given = facts(tmp_path, fake, settings=settings(registries=NO_PUSH))
    reached(given, FakeApi(answers={PATH: answer}))
    report = withdraw(given, context())
    assert any(" delete " in line for line in fake.lines) == removed
    notes = report.notes if report else ()
    assert [f"kubectl --namespace {NAMESPACE} delete configmap {NAME}" in each for each in notes] == [True] * note
