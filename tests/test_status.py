"""`invoke status`: the current state compared with the configuration, as rows and as an exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.kube.objects import FIELD_MANAGER, MANAGED_BY, finish
from tasks.status import status
from tasks.up import up
from tests.given import call
from tests.given_engine import Machine
from tests.given_live import FakeApi, node, obj, stored
from tests.programs import Answer


@pytest.fixture
def launched(machine: Machine, capsys: pytest.CaptureFixture[str]) -> Machine:
    """As a launch leaves it."""
    call(up, machine.session())
    machine.programs.calls.clear()
    capsys.readouterr()
    return machine


def rows(
    machine: Machine, capsys: pytest.CaptureFixture[str], **options: Any
) -> tuple[int, dict[str, tuple[str, str]]]:
    """The code, and state and detail of each row."""
    code = call(status, machine.session("status", **options), format="json")
    reported = json.loads(capsys.readouterr().out)
    assert reported["exit_code"] == code
    assert machine.acted == []
    return code, {row["what"]: (row["state"], row["detail"]) for row in reported["rows"]}


def test_all_is_as_configured(launched: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = rows(launched, capsys)
    assert code == 0
    assert {state for state, _detail in found.values()} == {"ok"}
    assert found["cluster openframe-dev"][1] == (
        "k3d-openframe-dev-agent-0, k3d-openframe-dev-agent-1, k3d-openframe-dev-server-0; "
        "http 127.0.0.1:80, https 127.0.0.1:443, API 127.0.0.1:6550"
    )
    assert "cluster: watch the nodes" not in found


@pytest.mark.parametrize(
    ("complete", "detail"),
    [
        (True, "invoke up creates it"),
        (False, "its creation was never recorded as complete: invoke up creates it"),
    ],
)
def test_nothing_is_there(machine: Machine, capsys: pytest.CaptureFixture[str], complete: bool, detail: str) -> None:
    if not complete:
        machine.make()
        machine.complete = False
    assert rows(machine, capsys) == (4, {"cluster openframe-dev": ("absent", detail)})


def test_a_cluster_that_is_stopped(launched: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    launched.containers.clear()
    launched.make(running=False, agents=0)
    assert rows(launched, capsys) == (3, {"cluster openframe-dev": ("stopped", "k3d-openframe-dev-server-0")})


def test_what_is_missing_is_drift(launched: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    launched.api.remove(obj("Namespace", "platform"))
    code, found = rows(launched, capsys)
    assert code == 5
    assert {what: row for what, row in found.items() if row[0] != "ok"} == {
        "namespaces: apply": ("not as configured", "namespace/platform: missing")
    }


def test_other_settings_are_drift(launched: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    changed = launched.settings.cluster.model_copy(update={"servers": 3})
    launched.settings = launched.settings.model_copy(update={"cluster": changed})
    code, found = rows(launched, capsys)
    assert code == 5
    assert found["setting"][0] == "changed"


def test_the_current_context_is_no_drift(launched: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Of two clusters only one can be it."""
    config = tmp_path / ".kube" / "config"
    config.write_text(config.read_text().replace("current-context: k3d-openframe-dev", "current-context: other"))
    assert rows(launched, capsys)[0] == 0


def test_a_kubeconfig_entry_is_missing(launched: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / ".kube" / "config").unlink()
    code, found = rows(launched, capsys)
    assert code == 5
    assert found["cluster: entry in your kubeconfig"][0] == "not as configured"


def test_an_unreadable_foreign_release_costs_nothing(launched: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    launched.api.put(stored(name="other", namespace="theirs", manifest="a: b: c\n---\nx: [\n"))
    assert rows(launched, capsys)[0] == 0


def test_objects_that_are_no_longer_configured_stay_and_are_reported(
    launched: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """They may be in use: no drift. A copy of the label that a controller or a person made is no object of ours."""
    own: dict[str, Any] = {"metadata": {"managedFields": [{"manager": FIELD_MANAGER, "operation": "Apply"}]}}
    launched.api.put(finish(obj("ConfigMap", "old", "platform", **own)))
    launched.api.put(finish(obj("IngressRoute", "old", "platform", **own)))
    launched.api.put(finish(obj("Namespace", "former", **own)))
    launched.api.put(obj("Service", "copied", "platform", labels={MANAGED_BY: FIELD_MANAGER}))
    theirs: dict[str, Any] = {"metadata": {"managedFields": [{"manager": "kubectl-edit", "operation": "Update"}]}}
    launched.api.put(finish(obj("Secret", "copied", "platform", **theirs)))
    launched.api.put(finish(obj("ConfigMap", "copied", "platform", **theirs)))
    launched.api.put(finish(obj("Pod", "dependent", "platform", owner=("Deployment", "a"), **own)))
    code, found = rows(launched, capsys)
    assert code == 0
    state, detail = found["objects that stay"]
    assert state == "ok"
    names = {"platform/ingressroute/old": "ingressroute.traefik.io old -n platform"}
    names |= {"platform/configmap/old": "configmap old -n platform", "namespace/former": "namespace former"}
    expected = {
        f"{name} (kubectl delete {what} --context k3d-openframe-dev removes it)" for name, what in names.items()
    }
    assert set(detail.removeprefix("no longer configured: ").split(", ")) == expected


def test_text_is_a_table(launched: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(status, launched.session("status"), format="text") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["what", "state", "detail"]
    assert "namespaces: apply" in out


def test_another_format_is_bad_input(machine: Machine) -> None:
    with pytest.raises(BadInput, match="--format is 'xml'"):
        call(status, machine.session("status"), format="xml")
    assert machine.programs.calls == []


def test_a_cluster_of_somebody_else(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.fails["kubectl config view"] = Answer(out="apiVersion: v1\nkind: Config\n")
    machine.api = FakeApi(node("n"))
    code, found = rows(machine, capsys, engine="existing", context="team")
    assert code == 5
    assert found["context team"] == ("ok", "its API answers")
    assert found["health: nodes are ready"] == ("ok", "all 1 are ready")
    assert found["namespaces: apply"][0] == "not as configured"
    assert not any(what.startswith(("cluster", "prepull")) for what in found)
