"""`logs --export` after real failures: the cause can be read in its index, and no secret in any of its files."""

import base64
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import Make
from tests.real.project import TOKEN, Project, containers, run
from tests.real.world import World

CLUSTER, CONTEXT = "exported-one", "their-cluster"
CANARIES = {
    "values": "values-canary-4711-abcdef",
    "object": "object-canary-0815-ghijkl",
    "file": "file-canary-2342-mnopqr",
    "plain": "plain-canary-1234-stuvwx",
    "value": "env-canary-9876-yzabcd",
}
"""Of a release's values (which its ConfigMap repeats), of a Secret, of a file in one, under a name that tells nothing,
and in a variable of a pod. The pod prints those that it gets."""
OBJECTS = f"""
apiVersion: v1
kind: Secret
metadata: {{name: held, namespace: apps}}
stringData:
  password: {CANARIES["object"]}
  settings.ini: "host = db\\nauth = {CANARIES["file"]}\\n"
---
apiVersion: v1
kind: Secret
metadata: {{name: other, namespace: apps}}
stringData: {{note: {CANARIES["plain"]}}}
"""
POD = """
spec:
  restartPolicy: RESTART
  nodeSelector: {{ .Values.selector | default dict | toJson }}
  containers:
  - name: main
    image: {{ .Values.image }}
    command: [sh, -c, {{ .Values.script | quote }}]
    envFrom: [{secretRef: {name: held, optional: true}}]
    env:
    - {name: DB_PASSWORD, value: ENV}
    - {name: TOKEN, valueFrom: {secretKeyRef: {name: held, key: password, optional: true}}}
    - {name: NOTE, valueFrom: {secretKeyRef: {name: other, key: note, optional: true}}}
    - {name: SETTINGS, valueFrom: {secretKeyRef: {name: held, key: settings.ini, optional: true}}}
""".replace("ENV", CANARIES["value"])
TEMPLATES = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: app, labels: {{app: app}}}}
data: {{app.conf: "listen=80\\nconnection={{{{ .Values.token }}}}\\n"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app}}
spec:
  selector: {{matchLabels: {{app: app}}}}
  template:
    metadata: {{labels: {{app: app}}}}
{re.sub("(?m)^", "    ", POD.replace("RESTART", "Always"))}
{{{{- if .Values.hook }}}}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: migrate, annotations: {{helm.sh/hook: pre-install}}}}
spec:
  backoffLimit: 0
  template:
{re.sub("(?m)^", "    ", POD.replace("RESTART", "Never").replace(".Values.script", ".Values.hook"))}
{{{{- end }}}}
"""
PRINTS = "env; echo says $NOTE; echo $SETTINGS | sed 's/.*= //'; echo -n $NOTE | base64; "
FAULTS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "image": (
        {"image": "docker.io/library/no-such-image:9"},
        ("ImagePullBackOff|ErrImagePull|not found", "no-such-image:9"),
    ),
    "crash": ({"script": PRINTS + "echo cannot open /data/db; exit 3"}, ("apps/app", "cannot open /data/db")),
    "hook": ({"hook": PRINTS + "echo migration 7 failed; exit 4"}, ("migrate", "migration 7 failed")),
    "scheduling": ({"selector": {"disk": "fast"}}, ("node affinity/selector|node selector", "disk")),
}
"""Values of the release, and what must be found: in the index, and anywhere."""


class Exports:
    """Exports of one project, each into a new folder."""

    def __init__(self, project: Project) -> None:
        self.project, self.count = project, 0

    def __call__(self, *options: str) -> dict[str, str]:
        self.count += 1
        folder = self.project.folder / f"export-{self.count}"
        done = self.project.invoke("logs", "--export", str(folder), *options)
        assert done.code == 0, done.text
        found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
        assert sum(map(len, found.values())) < 20_000_000
        for canary in (TOKEN, *CANARIES.values()):
            for form in (canary, base64.b64encode(canary.encode()).decode()):
                assert [name for name, text in found.items() if form in text] == []
                assert form not in done.text
        return found


def settings(here: World, values: dict[str, Any], chart: Path, **more: Any) -> dict[str, Any]:
    own = {"image": here.shell, "script": PRINTS + "sleep 3600", "token": CANARIES["values"], **values}
    release = {"name": "app", "namespace": "apps", "chart": str(chart), "values": own, "timeout": 30}
    files = str(chart.parent / "objects.yaml")
    given = here.settings([release], namespaces=["apps"], manifests={"files": [files]})
    return {**given, **more, "cluster": {"agents": 0, **more.get("cluster", {})}}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = tmp_path_factory.mktemp("logs") / "app"
    (result / "templates").mkdir(parents=True)
    (result / "Chart.yaml").write_text("{apiVersion: v2, name: app, version: 1.0.0}\n")
    (result / "templates" / "all.yaml").write_text(TEMPLATES)
    (result.parent / "objects.yaml").write_text(OBJECTS)
    return result


@pytest.fixture(scope="module")
def project(here: World, make: Make, chart: Path) -> Project:
    return make(CLUSTER, settings(here, {}, chart))


@pytest.fixture(scope="module")
def export(project: Project) -> Exports:
    return Exports(project)


def test_before_anything_and_a_folder_that_is_not_empty(project: Project, export: Exports) -> None:
    found = export()
    assert "no container of this cluster" in found["index.txt"]
    again = project.invoke("logs", "--export", str(project.folder / "export-1"))
    assert again.code == 2
    assert "is not empty" in again.err


def test_a_port_that_is_taken(project: Project, export: Exports, here: World, chart: Path) -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        project.configure(settings(here, {}, chart, cluster={"ports": {"extra": [f"{port}:30000@server:0:direct"]}}))
        done = project.invoke("up")
        found = export()
    assert done.code != 0, done.text
    assert str(port) in found["index.txt"]
    assert project.invoke("down").code in (0, 4)


def test_a_node_that_dies_of_its_arguments(project: Project, export: Exports, here: World, chart: Path) -> None:
    project.configure(settings(here, {}, chart, cluster={"args": {"kubelet": ["max-parallel-image-pulls=4"]}}))
    done = project.invoke("up")
    assert done.code == 1, done.text
    found = export()
    assert "max-parallel-image-pulls" in found["index.txt"]
    assert "max-parallel-image-pulls" in found[f"nodes/k3d-{CLUSTER}-server-0/k3s.log"]
    assert project.invoke("down").code == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_a_release_that_fails(fault: str, project: Project, export: Exports, here: World, chart: Path) -> None:
    values, (cause, anywhere) = FAULTS[fault]
    project.configure(settings(here, values, chart))
    done = project.invoke("up")
    assert done.code == 1, done.text
    found = export()
    assert re.search(cause, found["index.txt"]), found["index.txt"]
    assert anywhere in "".join(found.values())
    assert {"run/record.json", "run/report.html", "events.txt", "versions.json", "objects/apps/secret.json"} <= set(
        found
    )
    assert "Opaque" in found["objects/apps/secret.json"]
    assert "the export would be larger" not in found["index.txt"]
    if fault == "crash":
        assert any(name.endswith("main.previous.log") and "cannot open" in text for name, text in found.items())
    run(
        "helm", "uninstall", "app", "--namespace", "apps", "--kubeconfig", str(project.kubeconfig), "--ignore-not-found"
    )


def test_as_an_existing_cluster(project: Project, export: Exports, here: World, chart: Path) -> None:
    project.configure(settings(here, {}, chart))
    assert project.invoke("up").code == 0
    theirs = project.home / "their-kubeconfig"
    theirs.write_text(project.kubeconfig.read_text())
    run("kubectl", "--kubeconfig", str(theirs), "config", "rename-context", f"k3d-{CLUSTER}", CONTEXT)
    own = project.environ["KUBECONFIG"]
    project.environ["KUBECONFIG"] = str(theirs)
    try:
        found = export("--engine", "existing", "--context", CONTEXT)
    finally:
        project.environ["KUBECONFIG"] = own
    assert any(name.startswith("pods/apps/app-") for name in found)
    assert not any("kube-system" in name for name in found)


def test_a_server_that_was_killed(project: Project, export: Exports) -> None:
    run("docker", "kill", f"k3d-{CLUSTER}-server-0")
    found = export()
    assert "exit code 137" in found["index.txt"]
    assert any("/pods/kube-system_coredns" in name for name in found), sorted(found)
    assert "Secrets, which they may print, cannot be read" in found["index.txt"]
    assert containers(CLUSTER)
