"""`invoke logs`: an export contains whatever can be read; alone it shows the output of failed steps."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.kube.client import ApiError
from tasks.logs import logs
from tests.given import call
from tests.given_engine import Machine
from tests.given_live import FakeApi, node
from tests.programs import Answer

CANARY = "canary-4711-Abcdef"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-1", "namespace": "platform"},
    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "web",
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 3}},
            }
        ],
    },
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "db", "namespace": "platform"},
    "data": {"note": base64.b64encode(CANARY.encode()).decode()},
}
LOG = "/api/v1/namespaces/platform/pods/web-1/log?container=web&timestamps=true&tailLines=5000"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    result = Machine(tmp_path, monkeypatch)
    monkeypatch.setattr("tasks.checks.examine.examine", lambda _: [])
    monkeypatch.setattr("tasks.doctor.host_facts", lambda _: None)
    monkeypatch.setattr("tasks.settings.merge.as_rows", lambda *_: [["cluster.name", "dev", "default"]])
    result.fails["docker cp k3d-openframe-dev-server-0:/var/lib"] = Answer(code=1, err="no such file")
    return result


def export(machine: Machine, code: int = 0, **options: Any) -> dict[str, str]:
    folder = machine.folder / "export"
    assert call(logs, machine.session("logs", **options), export=str(folder)) == code
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert not [name for name, text in found.items() if CANARY in text]
    return found


def test_all_of_a_cluster_that_runs(machine: Machine) -> None:
    machine.make(agents=1)
    machine.api.put(POD, SECRET)
    machine.api.answers |= {LOG: f"says {CANARY}", f"{LOG}&previous=true": "cannot open /data", "/version": {}}
    machine.fails["docker logs"] = Answer(out="level=info", err=f"secret={CANARY}")
    found = export(machine)
    pods = {name for name in found if name.startswith("pods/platform/")}
    assert pods == {f"pods/platform/{name}" for name in ("describe.txt", "web-1/web.log", "web-1/web.previous.log")}
    assert found["pods/platform/web-1/web.log"] == "says ***"
    assert "cannot open" in found["pods/platform/web-1/web.previous.log"]
    assert "pod platform/web-1: its container crashes repeatedly" in found["index.txt"]
    assert json.loads(found["objects/platform/secret.json"])["items"][0]["data"] == {"note": "*** (18 bytes)"}
    assert {"nodes/k3d-openframe-dev-agent-0/k3s.log", "nodes/describe.txt", "events.txt"} <= set(found)
    assert "latest.json" not in machine.records()


@pytest.mark.parametrize("running", [True, False], ids=["a silent API", "stopped nodes"])
def test_without_the_api_nodes_are_exported_but_no_pods_that_may_print_secrets(running: bool, machine: Machine) -> None:
    machine.make(running=running, agents=0)
    machine.api.answers["/readyz"] = ApiError(0, "the API does not answer")
    machine.fails["docker logs"] = Answer(err='level=fatal msg="kubelet exited: unknown flag: --no-such"')
    found = export(machine)
    assert "--no-such" in found["index.txt"]
    what = "  the API: the API of the cluster" if running else "the API: k3d-openframe-dev-server-0 is stopped"
    assert what in found["index.txt"]
    assert "Secrets, which they may print, cannot be read" in found["index.txt"]
    assert not any(name.startswith(("pods/", "objects/")) for name in found)


@pytest.mark.parametrize("fault", ["no engine", "no cluster"])
def test_of_a_machine_without_a_cluster(fault: str, machine: Machine) -> None:
    if fault == "no engine":
        machine.fails["docker info"] = Answer(code=1, err="Cannot connect to the Docker daemon")
    found = export(machine)
    assert {"index.txt", "doctor.txt", "versions.json", "settings.txt"} <= set(found)
    assert "logs of pods" not in found["index.txt"]
    assert ("the cluster: " if fault == "no engine" else "no container of this cluster") in found["index.txt"]


def test_of_a_foreign_cluster_only_the_namespaces_of_the_settings_are_read(machine: Machine) -> None:
    machine.api = FakeApi(node("a"), POD, SECRET, {**SECRET, "metadata": {"name": "theirs", "namespace": "others"}})
    machine.settings = machine.settings.model_copy(update={"namespaces": ("platform",)})
    machine.fails["kubectl config view"] = Answer(out="apiVersion: v1\nkind: Config\ncurrent-context: team\n")
    found = export(machine, engine="existing", context="team")
    assert "objects/platform/pod.json" in found
    assert "others" not in "".join(found.values())
    assert not any("others" in path or path == "/api/v1/secrets" for path in machine.api.requests)
    assert not machine.programs.calls_of("docker")


def test_secrets_that_may_not_be_read(machine: Machine) -> None:
    machine.make(agents=0)
    machine.api.put(POD)
    query = "fieldSelector=type%21%3Dhelm.sh%2Frelease.v1"
    machine.api.answers |= {LOG: f"says {CANARY}", f"/api/v1/secrets?{query}": (403, "forbidden")}
    found = export(machine)
    assert "pods/platform/describe.txt" in found
    assert "pods/platform/web-1/web.log" not in found


def test_another_owners_cluster_and_a_full_folder_are_refused(machine: Machine) -> None:
    from tasks.core.errors import BadInput

    machine.make(ours=False)
    with pytest.raises(BadInput, match="did not create"):
        export(machine)
    (machine.folder / "export" / "mine").write_text("x")
    with pytest.raises(BadInput, match="is not empty"):
        export(machine)


def test_alone_it_shows_what_failed_steps_wrote(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    from tasks.namespaces import namespaces

    machine.make(agents=0)
    machine.fails["kubectl --kubeconfig"] = Answer(code=1, err="The apply has been refused")
    with pytest.raises(BaseException):  # noqa: B017 - invoke's Exit
        call(namespaces, machine.session("namespaces"))
    (folder,) = [path for path in (machine.folder / "openframe-logs" / "runs").iterdir() if path.is_dir()]
    (folder / "namespaces--apply.log").write_text("$ kubectl apply\nits very last line\n")
    capsys.readouterr()
    assert call(logs, machine.session("logs")) == 0
    shown = capsys.readouterr().out
    assert "-namespaces: failed" in shown
    assert "namespaces: apply: kubectl ended with code 1: The apply has been refused\n" in shown
    assert "  its very last line\n" in shown
    found = export(machine)
    assert "its very last line" in found["run/steps/namespaces--apply.log"]
    assert {"run/record.json", "run/report.html", "run/report.txt"} <= set(found)
