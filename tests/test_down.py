"""`invoke down`: what was created for this cluster is deleted, not what is shared; a foreign one is confirmed first."""

import io
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput, LaunchError
from tasks.down import down
from tasks.kube.objects import finish
from tasks.kube.ownership import CREATED_BY, environment
from tests.given import call
from tests.given_direct import DirectApi
from tests.given_engine import ME, OTHER, Machine
from tests.given_live import created, deployment, node, obj, stored
from tests.programs import Answer

MINE = environment(ME.name, ME.id, "openframe-dev")
SPACE = created(finish(obj("Namespace", "platform")), MINE)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch, registries={"caches": []})


def run_down(machine: Machine, **options: Any) -> int:
    own = {name: options.pop(name, False) for name in ("stop", "pause", "purge", "yes")}
    return call(down, machine.session("down", **options), **own)


def test_the_cluster_goes_and_the_registries_stay(machine: Machine) -> None:
    machine.make()
    machine.put_registries()
    ids = " ".join(each["Id"] for each in machine.containers[:3])
    assert run_down(machine) == 0
    assert machine.acted == [f"docker rm --force --volumes {ids}"]
    assert [each["Name"] for each in machine.containers] == ["/k3d-openframe-registry"]
    assert machine.latest()["task"] == "down"


def test_a_neighbour_with_a_similar_name_stays(machine: Machine) -> None:
    machine.make()
    theirs = [{**each, "Id": f"x{each['Id']}", "Name": f"{each['Name']}-2"} for each in machine.containers]
    for each in theirs:
        labels = {**each["Config"]["Labels"], "k3d.cluster": "openframe-dev-2", "openframe.cluster": "openframe-dev-2"}
        each["Config"] = {"Labels": labels}
    machine.containers += theirs
    run_down(machine)
    assert machine.containers == theirs


def test_stop_only_stops(machine: Machine) -> None:
    machine.make()
    assert run_down(machine, stop=True) == 0
    (line,) = machine.acted
    assert line.startswith("docker stop")
    assert {each["State"]["Status"] for each in machine.containers} == {"exited"}
    machine.programs.calls.clear()
    assert run_down(machine, stop=True) == 0
    assert machine.acted == []
    assert machine.states() == {"down: stop the nodes": "skipped"}


def test_pause_freezes_and_stop_of_a_paused_cluster_resumes_it_first(machine: Machine) -> None:
    machine.make()
    assert run_down(machine, pause=True) == 0
    assert [each["State"]["Status"] for each in machine.containers] == ["paused"] * 3
    (line,) = machine.acted
    assert line.startswith("docker pause k3d-openframe-dev-")
    machine.programs.calls.clear()
    assert run_down(machine, pause=True) == 0
    assert machine.acted == []
    assert run_down(machine, stop=True) == 0
    assert [line.split()[1] for line in machine.acted] == ["unpause", "stop"]
    assert "unpause k3d-openframe-dev-server-0" in machine.acted[0]


def test_purge_removes_the_registries_when_the_nodes_are_gone(machine: Machine) -> None:
    machine.make()
    machine.put_registries()
    machine.fails["docker volume ls --filter label=openframe.lease"] = Answer()
    machine.fails["docker volume ls --quiet --filter label=openframe.cache"] = Answer(out="k3d-openframe-registry\n")
    assert run_down(machine, purge=True) == 0
    assert machine.containers == []
    assert machine.acted[-2] == "docker volume rm --force k3d-openframe-registry"
    assert "docker volume rm --force openframe-lease-" in machine.acted[-1]
    step = next(each for each in machine.latest()["steps"] if each["name"] == "registry: remove")
    assert "down: nodes" in step["needs"]


def test_purge_removes_nothing_while_another_cluster_needs_the_registries(machine: Machine) -> None:
    machine.make()
    machine.put_registries()
    machine.containers[-1]["NetworkSettings"]["Networks"]["k3d-another"] = {}
    with pytest.raises(LaunchError, match="in use by: another"):
        run_down(machine, purge=True)
    assert machine.acted == []


def test_nothing_is_there(machine: Machine) -> None:
    assert run_down(machine) == 0
    assert machine.acted == []
    assert set(machine.states().values()) <= {"skipped", "ran"}


@pytest.mark.parametrize("options", [{}, {"stop": True}, {"purge": True}])
@pytest.mark.parametrize(
    ("ours", "reported"), [(True, "'openframe-dev' belongs to alice@laptop"), (False, "did not create")]
)
def test_foreign_clusters_stay_untouched(machine: Machine, options: dict[str, bool], ours: bool, reported: str) -> None:
    machine.owner = OTHER
    machine.make(ours=ours)
    with pytest.raises(BadInput, match=reported):
        run_down(machine, **options)
    assert machine.acted == []


def test_an_api_that_does_not_answer_does_not_matter(machine: Machine) -> None:
    machine.make()
    machine.api.answers["/readyz"] = (500, "")
    assert run_down(machine) == 0
    assert machine.api.requests == []


def test_stop_and_purge_do_not_go_together(machine: Machine) -> None:
    with pytest.raises(BadInput, match="--stop and --purge"):
        run_down(machine, stop=True, purge=True)


# -- a cluster of somebody else -----------------------------------------------------------------------


class Stdin(io.StringIO):
    """Standard input, a terminal or none."""

    def __init__(self, text: str, *, terminal: bool) -> None:
        super().__init__(text)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def shared(machine: Machine) -> Machine:
    """With a namespace and a release of this project."""
    machine.api = DirectApi(node("n"), SPACE, stored(**{CREATED_BY: MINE}))
    machine.fails["kubectl config view"] = Answer(out="apiVersion: v1\nkind: Config\n")
    machine.fails["kubectl --kubeconfig"] = Answer()
    return machine


def leave(machine: Machine, **options: Any) -> int:
    return run_down(machine, engine="existing", context="team", **options)


MISSING = ["helm uninstall web", "/api/v1/namespaces/platform"]


def deleted_things(machine: Machine) -> list[str]:
    lines = [line for line in machine.programs.lines if line.startswith("helm uninstall")]
    assert isinstance(machine.api, DirectApi)
    deleted = [path for method, path, _body in machine.api.sent if method == "DELETE"]
    return [*(line.split(" --")[0] for line in lines), *deleted]


def test_no_terminal(shared: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Stdin("team\n", terminal=False))
    with pytest.raises(BadInput, match="no confirmation is possible here") as caught:
        leave(shared)
    assert "--yes" in caught.value.fix
    assert deleted_things(shared) == []
    reported = capsys.readouterr().out
    assert "This removes from the cluster of context 'team':" in reported
    assert "down: release web/web" in reported
    assert "down: namespaces that this project created: platform with everything in them" in reported
    assert leave(shared, yes=True) == 0
    assert deleted_things(shared) == MISSING


@pytest.mark.parametrize(("answer", "removed"), [("team\n", True), ("yes\n", False), ("\n", False), ("", False)])
def test_users_type_the_context(shared: Machine, monkeypatch: pytest.MonkeyPatch, answer: str, removed: bool) -> None:
    monkeypatch.setattr("sys.stdin", Stdin(answer, terminal=True))
    if removed:
        assert leave(shared) == 0
    else:
        with pytest.raises(BadInput, match="nothing was removed"):
            leave(shared)
    assert deleted_things(shared) == (MISSING if removed else [])


def test_where_nothing_of_ours_is_nobody_is_asked(shared: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.api = DirectApi(node("n"), obj("Namespace", "platform"), stored())
    monkeypatch.setattr("sys.stdin", Stdin("", terminal=False))
    assert leave(shared) == 0
    assert deleted_things(shared) == []


def test_a_namespace_that_others_use_stays_and_is_told_before_the_question(
    shared: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.api.put(deployment("theirs", "platform"))
    monkeypatch.setattr("sys.stdin", Stdin("team\n", terminal=True))
    assert leave(shared) == 0
    assert "This stays:\n  namespace platform: not everything in it goes" in capsys.readouterr().out
    assert deleted_things(shared) == ["helm uninstall web"]
    assert shared.states()["down: namespace platform"] == "skipped"


def test_what_others_have_under_a_name_of_ours_is_no_obstacle(shared: Machine) -> None:
    """Leaving changes nothing of theirs, so it refuses nothing."""
    shared.api.put(stored(**{CREATED_BY: "bob.dev"}))
    assert leave(shared, yes=True) == 0
    assert deleted_things(shared) == ["/api/v1/namespaces/platform"]


@pytest.mark.parametrize("option", ["stop", "purge"])
def test_that_cluster_and_its_registries_are_not_ours(shared: Machine, option: str) -> None:
    with pytest.raises(BadInput, match=f"--{option} has no meaning"):
        leave(shared, **{option: True})
    assert shared.programs.calls == []
