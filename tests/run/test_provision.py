"""Whole launches on a stand-in engine: created, completed, started, recreated, refused, failed and rolled back."""

import json
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from tasks.cluster import cluster
from tasks.core.errors import BadInput, Drifted
from tasks.core.lock import Held, held
from tasks.engine.step import Report, Step
from tasks.facts.programs import Need
from tasks.run import provision as module
from tasks.up import up
from tests import given
from tests.engine.schema import problems
from tests.given import call
from tests.given_direct import DirectApi
from tests.given_engine import OTHER, Machine
from tests.given_live import obj
from tests.programs import Answer

SCHEMA = json.loads((given.ROOT / "docs" / "reference" / "record.schema.json").read_text())


def bring(machine: Machine, **options: Any) -> int:
    recreate, rollback = options.pop("recreate", False), options.pop("rollback", False)
    return call(up, machine.session(**options), recreate=recreate, rollback=rollback)


@pytest.mark.parametrize("recreate", [False, True])
def test_where_nothing_is_everything_is_made(machine: Machine, recreate: bool) -> None:
    assert bring(machine, recreate=recreate) == 0
    states = machine.states()
    for name in (
        "cluster: create",
        "cluster: API ready",
        "cluster: record it as complete",
        "namespaces: apply",
        "health: nodes are ready",
        "health: system services",
        "cluster: limits of servers",
        "cluster: switch your kubeconfig to it",
        "cluster: watch the nodes",
    ):
        assert states[name] == "ran", name
    assert "failed" not in states.values()
    assert problems(machine.latest(), SCHEMA) == []
    assert [line.split(" --")[0] for line in machine.acted] == [
        "k3d cluster create",
        "kubectl",
        "docker update",
        "docker update",
    ]
    assert "  Agents: 2" in benchmark(machine).read_text()


def benchmark(machine: Machine) -> Path:
    return machine.folder / "openframe-logs" / "cluster_setup_benchmark.log"


def test_the_second_time_nothing_is_done_and_only_what_is_missing_goes_in(machine: Machine) -> None:
    bring(machine)
    machine.programs.calls.clear()
    assert bring(machine) == 0
    assert machine.acted == []
    assert set(machine.states().values()) == {"skipped"}
    assert machine.programs.calls_of("docker events") == [], "a plan that does nothing needs no guard"
    machine.api.remove(obj("Namespace", "platform"))
    assert bring(machine) == 0
    assert [line.split()[0] for line in machine.acted] == ["kubectl"]


def test_drift_is_refused_with_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, cluster={"servers": 3, "image": "rancher/k3s:v1.33.1-k3s1"})
    machine.make(settings=given.settings(registries={"push": False, "caches": []}))
    with pytest.raises(Drifted) as caught:
        bring(machine)
    assert caught.value.status == 5
    assert "cluster.servers: 1 → 3" in caught.value.why
    assert "cluster.image: rancher/k3s:v1.35.5-k3s1 → rancher/k3s:v1.33.1-k3s1" in caught.value.why
    assert "--recreate" in caught.value.fix
    assert machine.acted == []


def test_a_cluster_without_a_server_is_not_recreated_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, cluster={"servers": 3})
    machine.make(settings=given.settings(cluster={"servers": 3}, registries={"push": False, "caches": []}))
    with pytest.raises(Drifted, match="has lost k3d-openframe-dev-server-1, k3d-openframe-dev-server-2") as caught:
        bring(machine)
    assert (caught.value.status, machine.acted) == (5, [])
    assert "--recreate" in caught.value.fix


def test_recreate_removes_first_and_uses_current_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, cluster={"ports": {"http": 9090, "https": None}})
    machine.make(settings=given.settings(registries={"push": False, "caches": []}))
    old = [each["Id"] for each in machine.containers]
    monkeypatch.setattr("tasks.run.gather.with_live", pytest.fail)  # its API may be dead
    assert bring(machine, recreate=True) == 0
    first, second = machine.acted[:2]
    assert first.startswith("docker rm --force --volumes")
    assert all(each in first for each in old)
    assert second.startswith("k3d cluster create")
    config = (tmp_path / "state" / "openframe" / "clusters" / "openframe-dev" / "k3d.yaml").read_text()
    assert "127.0.0.1:9090:80" in config
    assert "127.0.0.1:80:80" not in config
    assert '"hostPort": "6550"' in config, "a port that the old nodes hold is free when they are gone"


def test_a_creation_that_was_not_completed_is_removed_and_made_again(machine: Machine) -> None:
    machine.make(agents=0)
    machine.complete = False
    half = machine.containers[0]["Id"]
    assert bring(machine) == 0
    assert machine.acted[0] == f"docker rm --force --volumes {half}"
    assert machine.acted[1].startswith("k3d cluster create")


def test_a_half_made_cluster_gets_all_its_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load balancer, which publishes them, is created last: what is missing there is not requested."""
    machine = Machine(tmp_path, monkeypatch, cluster={"servers": 3})
    machine.make(agents=0)
    machine.containers[0]["HostConfig"]["PortBindings"] = {}
    machine.complete = False
    machine.fails["k3d cluster create"] = Answer(code=1, err="enough")
    with pytest.raises(Exit):
        bring(machine)
    config = (tmp_path / "state" / "openframe" / "clusters" / "openframe-dev" / "k3d.yaml").read_text()
    assert "127.0.0.1:80:80" in config
    assert "127.0.0.1:443:443" in config


# -- a cluster that is stopped ---------------------------------------------------------------------


@pytest.fixture
def stopped(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One that was launched, and stopped; its kubelets report at the first request."""
    bring(machine)
    machine.containers.clear()
    machine.make(running=False)
    machine.programs.calls.clear()
    report(machine)
    return machine


def report(machine: Machine) -> None:
    for each in machine.containers:
        name = each["Name"].lstrip("/")
        machine.api.put(obj("Lease", name, "kube-node-lease", spec={"renewTime": "2026-11-25T02:09:00.000000Z"}))


def test_a_stopped_cluster_is_started_and_then_looked_at(stopped: Machine) -> None:
    stopped.api.remove(obj("Namespace", "platform"))
    assert bring(stopped) == 0
    assert [line.split(" --")[0] for line in stopped.acted] == ["k3d cluster start openframe-dev", "kubectl"]
    states = stopped.states()
    assert states["cluster: start"] == "ran"
    assert states["health: nodes report again"] == "ran"
    assert states["namespaces: apply"] == "ran"
    assert states["health: nodes are ready"] == "skipped"
    assert states["cluster: limits of servers"] == "skipped"
    record = stopped.latest()  # one of both plans
    assert problems(record, SCHEMA) == []
    names = [step["name"] for step in record["steps"]]
    assert len(names) == len(set(names))
    needs = {step["name"]: step["needs"] for step in record["steps"]}
    assert "cluster: API ready" in needs["namespaces: apply"], "what the first plan did is a need of the second"
    assert names.index("cluster: API ready") < names.index("namespaces: apply")
    assert {"cluster: watch the nodes", "cluster: watch the nodes, again"} <= set(names), "nodes are watched throughout"


def test_the_context_is_switched_at_the_end(stopped: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped.api.remove(obj("Namespace", "platform"))
    config = tmp_path / ".kube" / "config"
    config.write_text(config.read_text().replace("current-context: k3d-openframe-dev", "current-context: other"))
    stopped.fails["kubectl --kubeconfig"] = Answer(code=1, err="Error from server (Forbidden): no")
    with pytest.raises(Exit):
        bring(stopped)
    assert "current-context: other" in config.read_text()
    assert stopped.states()["cluster: switch your kubeconfig to it"] == "aborted"
    stopped.fails.clear()
    bring(stopped)
    assert "current-context: k3d-openframe-dev" in config.read_text()


def test_a_start_that_fails_is_told_and_recorded(stopped: Machine) -> None:
    stopped.fails["k3d cluster start"] = Answer(code=1, err="Failed to start")
    with pytest.raises(Exit) as caught:
        bring(stopped)
    assert caught.value.code == 1
    assert stopped.latest()["outcome"] == "failed"
    assert stopped.states()["cluster: start"] == "failed"


# -- parts, records, and what is remembered --------------------------------------------------------


def test_cluster_alone_puts_nothing_in(machine: Machine) -> None:
    assert call(cluster, machine.session("cluster")) == 0
    assert "namespaces: apply" not in machine.states()
    assert machine.states()["cluster: create"] == "ran"
    assert not any(line.startswith("kubectl") for line in machine.acted)
    assert not benchmark(machine).exists(), "only a whole launch is in it"


def test_the_server_that_was_recorded_as_complete_is_remembered(machine: Machine) -> None:
    bring(machine)
    file = machine.session().paths.complete
    assert file.read_text() == f"{machine.containers[0]['Id']}\n"
    file.write_text("of an earlier cluster\n")
    machine.programs.calls.clear()
    bring(machine)
    assert len(machine.programs.calls_of("docker cp")) == 2, (
        "its marker is asked for when facts are gathered, and after the run"
    )
    machine.programs.calls.clear()
    bring(machine)
    assert machine.programs.calls_of("docker cp") == []


def test_on_an_existing_cluster_only_inner_parts_are_done(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.fails["kubectl config view"] = Answer(out="apiVersion: v1\nkind: Config\n")
    machine.api = DirectApi()
    machine.api.put(obj("Node", "n", status={"conditions": [{"type": "Ready", "status": "True"}]}))
    assert bring(machine, engine="existing", context="team") == 0
    assert {step["task"] for step in machine.latest()["steps"]} == {"namespaces", "secrets", "manifests", "health"}
    assert not any(line.startswith(("docker", "k3d")) for line in machine.programs.lines if "version" not in line)
    assert machine.latest()["engine"] == "existing"


@pytest.mark.parametrize("there", [False, True])
def test_what_a_step_writes_before_a_build_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\nCOPY out /\n")
    build = {"name": "api", "image": "ghcr.io/me/api", "context": str(tmp_path)}
    step = {"name": "make", "command": ["make"], "before": ["build:api"]}
    machine = Machine(tmp_path, monkeypatch, builds=[build], steps=[step])
    if there:
        machine.make()
    machine.fails |= {"docker manifest": Answer(code=1), 'docker image inspect --format {"id"': Answer(code=1)}
    machine.programs.answers["make"] = lambda _call: (tmp_path / "out").write_text("new") and ""
    assert bring(machine) == 0
    first = [call.command.argv[3] for call in machine.programs.calls_of("docker build ")]
    (tmp_path / "out").write_text("old")
    assert bring(machine) == 0
    built = [call.command.argv[3] for call in machine.programs.calls_of("docker build ")]
    assert built == [*first, *first]
    assert len(first) == 1
    names = [step["name"] for step in machine.latest()["steps"]]
    assert len(names) == len(set(names))
    assert machine.states()["steps: make"] == machine.states()["build: push api"] == "ran"


# -- launches that fail, or are refused: what stays, what goes, what the next one finds ----------------


def test_a_failure_leaves_the_cluster_and_the_next_run_goes_on(machine: Machine) -> None:
    machine.fails["kubectl --kubeconfig"] = Answer(code=1, err="Error from server (Forbidden): no")
    with pytest.raises(Exit) as caught:
        bring(machine)
    assert caught.value.code == 1
    assert machine.states()["namespaces: apply"] == "failed"
    assert len(machine.containers) == 3
    machine.fails.clear()
    machine.complete = True
    machine.programs.calls.clear()
    assert bring(machine) == 0
    assert not any(line.startswith("k3d") for line in machine.acted)


@pytest.mark.parametrize("half", [False, True])
def test_rollback_removes_what_this_run_made(machine: Machine, capsys: pytest.CaptureFixture[str], half: bool) -> None:
    if half:  # removed, and made again
        machine.make(agents=0)
        machine.complete = False
    machine.fails["kubectl --kubeconfig"] = Answer(code=1, err="Error from server (Forbidden): no")
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert machine.containers == []
    assert not (machine.folder / "state" / "openframe" / "clusters" / "openframe-dev").exists()
    assert "what this run created is removed" in capsys.readouterr().err


def test_rollback_leaves_a_cluster_that_was_there(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.make()
    machine.fails["kubectl --kubeconfig"] = Answer(code=1, err="Error from server (Forbidden): no")
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert len(machine.containers) == 3
    assert "existed before this run, so it stays" in capsys.readouterr().err


def test_rollback_leaves_what_another_user_made_meanwhile(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.owner = OTHER  # k3d's stand-in makes nodes, and they are the other user's
    machine.fails["docker cp"] = Answer(code=1, err="Error response from daemon: no")
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert "--rollback: the cluster 'openframe-dev' belongs to alice@laptop" in capsys.readouterr().err
    assert machine.containers
    assert not any(line.startswith("docker rm") for line in machine.acted)


@pytest.mark.parametrize("recreate", [False, True])
@pytest.mark.parametrize(
    ("ours", "reported"), [(True, "belongs to alice@laptop"), (False, "this project did not create")]
)
def test_foreign_clusters_are_never_changed(machine: Machine, recreate: bool, ours: bool, reported: str) -> None:
    machine.owner = OTHER
    machine.make(ours=ours)
    with pytest.raises(BadInput, match=reported):
        bring(machine, recreate=recreate)
    assert machine.acted == []


def test_rollback_leaves_registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, registries={"caches": []})
    machine.put_registries()
    machine.fails["k3d cluster create"] = Answer(code=1, err="enough")
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert [each["Name"] for each in machine.containers] == ["/k3d-openframe-registry"]


def test_rollback_that_fails_says_what_is_left(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.fails |= {"kubectl --kubeconfig": Answer(code=1, err="no"), "docker rm": Answer(code=1, err="busy")}
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert "--rollback: not removed: down: nodes" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["recreate", "rollback"])
def test_a_cluster_that_is_not_ours_to_make_is_not_made_again(machine: Machine, option: str) -> None:
    with pytest.raises(BadInput, match=f"--{option} has no meaning with the engine existing"):
        bring(machine, engine="existing", context="prod", **{option: True})
    assert machine.programs.calls == []


def test_a_second_run_fails_at_once_and_names_the_first(machine: Machine) -> None:
    session = machine.session()
    with held(session.lock, "down"), pytest.raises(Held, match="runs 'down'"):
        bring(machine)
    assert machine.programs.calls == []


def test_checks_are_made_only_where_a_cluster_is_made(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr("tasks.checks.examine.problems", lambda _found: seen.append("checked"))
    bring(machine)
    assert seen == ["checked"]
    bring(machine)
    assert seen == ["checked"]


def test_programs_that_are_missing_are_fetched_first(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def fetch(_context: object) -> Report:
        order.append("fetched")
        return Report()

    monkeypatch.setattr(
        "tasks.host.programs.fetch_plan", lambda _session: [Step(name="tools: helm", task="tools", action=fetch)]
    )
    missing = Need(fetch=True, why="missing", version="v4.1.4")
    monkeypatch.setattr("tasks.facts.programs.needs", lambda *_: {"helm": missing})  # after all import it

    def gathered(*_: object, **_options: Any) -> None:
        order.append("gathered")
        raise Exit(code=7)

    monkeypatch.setattr(module, "gather", gathered)
    with pytest.raises(Exit):
        bring(machine)
    assert order == ["fetched", "gathered"]
