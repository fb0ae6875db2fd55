"""A foreign cluster: selected by its context's name, never the current one, and without an engine."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.kube.objects import finish
from tasks.kube.ownership import CREATED_BY, Foreign, environment
from tasks.run.gather import gather, gather_state, write_kubeconfig
from tests.given_engine import ME, SMALL, Machine
from tests.given_live import FakeApi, Object, created, node, obj, stored
from tests.programs import Answer

SECRETS = [{"name": "s", "values": {"k": {"env": "HOME"}}}]
RELEASES = {
    "repositories": {"r": "https://charts.example.com"},
    "releases": [{"name": "web", "namespace": "web", "chart": "r/c"}],
}
MINE = environment(ME.name, ME.id, "openframe-dev")
FLAT = "apiVersion: v1\nkind: Config\ncurrent-context: team\n"
VIEW = "kubectl config view --minify --flatten --raw --context=team --output=yaml"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return there(Machine(tmp_path, monkeypatch))


def there(machine: Machine) -> Machine:
    machine.api = FakeApi(node("a"), node("b"))
    machine.fails["kubectl config view"] = Answer(out=FLAT)
    return machine


def test_its_context_becomes_a_private_kubeconfig(machine: Machine) -> None:
    session = machine.session(engine="existing", context="team")
    found = gather(session, ("namespaces", "health"))
    (call,) = machine.programs.calls_of("kubectl config")
    assert call.line == VIEW
    assert call.quiet, "it holds the user's credentials"
    assert found.paths.kubeconfig.read_text() == FLAT
    assert found.paths.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert "context-" in session.paths.state.name
    assert (found.owns_cluster, found.cluster.name, found.host) == (False, "team", None)
    assert found.live is not None
    assert found.live.nodes == ("a", "b")


def test_a_context_of_the_same_name_elsewhere_leads_no_run_away(machine: Machine) -> None:
    """Another KUBECONFIG, or the same one edited meanwhile: the kubeconfig of a run's programs stays as it is."""
    session = machine.session(engine="existing", context="team")
    running = gather(session, ("namespaces",))
    os.utime(running.paths.kubeconfig, (0, time.time() - 3600))
    machine.fails["kubectl config view"] = Answer(out=FLAT + "# another cluster\n")
    for checked in (gather(session, ()), gather_state(session)):
        assert checked.paths.kubeconfig.read_text() != FLAT
    assert running.paths.kubeconfig.read_text() == FLAT
    os.utime(running.paths.kubeconfig, (0, time.time() - 3 * 86400))
    gather(session, ())
    assert not running.paths.kubeconfig.exists(), "credentials that nobody uses are not kept"


def test_a_program_beside_the_users_kubeconfig_is_found(machine: Machine, tmp_path: Path) -> None:
    user = "users: [{name: u, user: {tokenFile: t, exec: {command: ./bin/login, args: [./a]}}}]\n"
    (tmp_path / "one").write_text("users: [{name: other}]\n")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "two").write_text(user)
    machine.fails["kubectl config view"] = Answer(out=FLAT + user)
    session = machine.session(engine="existing", context="team")
    paths = os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "home" / "two")])
    programs = session.programs().with_env({"KUBECONFIG": paths})
    text = write_kubeconfig(programs, session.paths, "team").kubeconfig.read_text()
    assert json.loads(text)["users"][0]["user"] == {
        "tokenFile": str(tmp_path / "home" / "t"),
        "exec": {"command": f"{tmp_path}/home/bin/login", "args": ["./a"]},
    }


def test_a_context_that_is_there_and_cannot_be_read(machine: Machine) -> None:
    machine.fails |= {
        "kubectl config view": Answer(code=1, err="error: unable to read client-cert /nowhere/c.crt\n"),
        "kubectl config get-contexts": Answer(out="other\nteam\n"),
    }
    with pytest.raises(BadInput, match="the context 'team' cannot be used") as caught:
        gather(machine.session(engine="existing", context="team"), ())
    assert "client-cert" in caught.value.why


def test_no_engine_is_asked(machine: Machine) -> None:
    session = machine.session(engine="existing", context="team")
    gather(session, ("namespaces",))
    assert not any(line.startswith("docker") for line in machine.programs.lines)
    assert (session.system["docker"], session.system["k3d"], session.system["k3s_image"]) == (None, None, None)
    assert session.system["kubectl"] == "v1.33.13"


@pytest.mark.parametrize(("names", "listed"), [("dev\nmy own\n", "dev, my own"), ("", "KUBECONFIG")])
def test_a_context_that_is_not_there_is_told_with_those_that_are(machine: Machine, names: str, listed: str) -> None:
    machine.fails |= {
        "kubectl config view": Answer(code=1, err="error: cannot locate context team\n"),
        "kubectl config get-contexts": Answer(out=names),
    }
    with pytest.raises(BadInput, match="your kubeconfig has no context 'team'") as caught:
        gather(machine.session(engine="existing", context="team"), ("namespaces",))
    assert caught.value.status == 2
    assert "cannot locate context team" in caught.value.why
    assert listed in caught.value.fix


@pytest.mark.parametrize("listed", [Answer(code=1, err="error: illegal base64 data"), Answer(out="a\nmy team\n")])
def test_a_context_or_kubeconfig_that_cannot_be_used_is_told(machine: Machine, listed: Answer) -> None:
    machine.fails |= {
        "kubectl config view": Answer(code=1, err="error: illegal base64 data\n"),
        "kubectl config get-contexts": listed,
    }
    with pytest.raises(BadInput, match="the context 'my team' cannot be used") as caught:
        gather(machine.session(engine="existing", context="my team"), ("namespaces",))
    assert (caught.value.why, caught.value.fix) == ("error: illegal base64 data", "correct the kubeconfig")


@pytest.mark.parametrize(("sections", "concurrency"), [({}, None), ({"pool": {"concurrency": 7}}, 7)])
def test_this_machine_decides_how_much_runs_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any], concurrency: int | None
) -> None:
    machine = there(Machine(tmp_path, monkeypatch, **sections))
    found = gather(machine.session(engine="existing", context="team"), ()).shape
    assert found.concurrency == concurrency or (concurrency is None and found.concurrency >= 2)
    assert found.agents == 0


# -- nothing is taken over ----------------------------------------------------------------------------


def gathered(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    parts: tuple[str, ...],
    *objects: Object,
    clear_pending: bool = False,
    **sections: Any,
) -> None:
    """What each task does first, in a cluster in which these objects are."""
    machine = there(Machine(folder, monkeypatch, **sections))
    machine.api.put(*objects)
    session = machine.session(engine="existing", context="team")
    session.clear_pending = clear_pending
    gather(session, parts)


BY_HAND = {"managedFields": [{"manager": "kubectl-create"}]}
THEIRS = obj("Secret", "s", "platform", type="Opaque", data={}, metadata=BY_HAND)


@pytest.mark.parametrize("theirs", [THEIRS, created(THEIRS, "openframe-dev.bob.1"), finish(THEIRS)])
def test_an_object_that_this_project_did_not_create_is_refused_with_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: Object
) -> None:
    with pytest.raises(Foreign, match="platform/secret/s is in the cluster of context 'team' already") as caught:
        gathered(tmp_path, monkeypatch, ("secrets",), theirs, secrets=SECRETS)
    assert "field manager kubectl-create" in caught.value.why or "for openframe-dev.bob.1" in caught.value.why
    gathered(tmp_path, monkeypatch, ("namespaces",), theirs, secrets=SECRETS)


def test_own_ones_and_an_existing_namespace_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, space = created(finish(THEIRS), MINE), obj("Namespace", "platform")
    gathered(tmp_path, monkeypatch, ("namespaces", "secrets"), own, space, secrets=SECRETS)


OWN = {
    "CustomResourceDefinition": obj("CustomResourceDefinition", "databases.data.example.com"),
    "StorageClass": obj("StorageClass", "fast"),
    "ConfigMap": obj("ConfigMap", "m", "kube-system"),
    "Namespace": obj("Namespace", "other", labels={"strict": "yes"}),
}


@pytest.mark.parametrize("kind", OWN)
def test_manifests_of_the_user_take_nothing_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(json.dumps(OWN[kind]))
    theirs = obj(kind, OWN[kind]["metadata"]["name"], OWN[kind]["metadata"].get("namespace"))
    sections: dict[str, Any] = {"manifests": {**SMALL["manifests"], "files": [str(file)]}}
    with pytest.raises(Foreign, match=f"{kind.lower()}/{theirs['metadata']['name']} is in the cluster"):
        gathered(tmp_path, monkeypatch, ("manifests",), theirs, **sections)
    if kind == "Namespace":
        gathered(tmp_path, monkeypatch, ("manifests",), OWN[kind], **sections)


@pytest.mark.parametrize(
    ("labels", "refused"),
    [
        ({}, "not installed by this project (deployed, revision 1: see helm list)"),
        ({"openframe.dev/fingerprint": "1234"}, "not installed by this project"),
        ({CREATED_BY: "openframe-dev.bob.1"}, "installed by this project for openframe-dev.bob.1"),
        ({CREATED_BY: MINE}, ""),
        ({CREATED_BY: MINE, "status": "pending-upgrade"}, "release web in web is pending-upgrade, revision 1"),
        ({"status": "pending-install"}, "not installed by this project (pending-install"),
    ],
)
def test_a_release_that_is_not_of_this_environment_or_that_somebody_is_at_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: dict[str, str], refused: str
) -> None:
    if refused:
        with pytest.raises(Foreign) as caught:
            gathered(tmp_path, monkeypatch, ("helm",), stored(**labels), helm=RELEASES)
        assert refused in caught.value.why
    else:
        gathered(tmp_path, monkeypatch, ("helm",), stored(**labels), helm=RELEASES)
    gathered(tmp_path, monkeypatch, ("manifests",), stored(**labels), helm=RELEASES)


def test_an_own_pending_release_is_cleared_on_request_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pending = {"status": "pending-install"}
    gathered(
        tmp_path, monkeypatch, ("helm",), stored(**pending, **{CREATED_BY: MINE}), helm=RELEASES, clear_pending=True
    )
    with pytest.raises(Foreign):
        gathered(tmp_path, monkeypatch, ("helm",), stored(**pending), helm=RELEASES, clear_pending=True)
