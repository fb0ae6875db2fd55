"""What people bring of their own, in one launch: an operator's definitions as templates, and what builds on them."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real.conftest import Make
from tests.real.project import Project, containers, remains, run
from tests.real.world import World

CLUSTER = "own-stack"
KINDS = 30
"""Definitions that the operator's chart brings."""
LARGE = 400_000
"""Bytes of the largest of them."""
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: KIND, plural: PLURAL, singular: SINGULAR}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        description: DESCRIPTION
        properties:
          spec:
            type: object
            properties:
              operator:
                type: string
                default: =
                enum:
                - =
                - '!='
              since:
                type: string
                default: 2024-02-30
                enum:
                - 2024-02-30
                - 2024-02-28
              mode: {type: integer, default: 0o17}
"""
RULE = """
apiVersion: example.org/v1
kind: Kind0
metadata: {name: NAME, namespace: data}
spec: {operator: =, since: 2024-02-28}
"""
NEEDS_KINDS = """
{{- if not (.Capabilities.APIVersions.Has "example.org/v1/Kind0") }}{{ fail "the definitions come first" }}{{ end }}
{{- $secret := lookup "v1" "Secret" .Release.Namespace "github-pat-secret" }}
apiVersion: v1
kind: ConfigMap
metadata: {name: seen}
data: {type: "{{ required "the secret must be there" $secret.type }}", round: "{{ .Values.round }}"}
---
"""
WORKLOADS = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  replicas: {{ .Values.replicas }}
  serviceName: store
  selector: {matchLabels: {app: store}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: openframe-local, resources: {requests: {storage: 16Mi}}}
  template:
    metadata: {labels: {app: store}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: main, image: IMAGE, command: [sleep, "100000"], volumeMounts: [{name: data, mountPath: /data}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: IMAGE, command: [sleep, "100000"]}]
---
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: "NAME", annotations: ANNOTATIONS}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: IMAGE, command: [sh, -c, "exit 0"]}]}}}
---
"""
WEB = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: own}
spec: {controller: example.org/own}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: own
  rules:
  - host: web.example.org
    http: {paths: [{path: /healthz, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: PORT}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: web, image: IMAGE, env: [{name: STARTUP, value: 8s}], ports: [{containerPort: PORT, hostPort: 80}]}
"""
"""What an ingress controller is to the launch: something behind the published port that answers later than it is ready.

A hostPort needs neither ServiceLB nor a controller's image, which not every machine has.
"""
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, namespace: data}
data: {script: "echo $${IP} ${DOMAIN} ${OTHER}"}
"""


def chart(folder: Path, *templates: str, **values: Any) -> str:
    """Write a chart."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(f"{{apiVersion: v2, name: {folder.name}, version: 1.0.0}}\n")
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    for number, text in enumerate(templates):
        (folder / "templates" / f"{number}.yaml").write_text(text)
    return str(folder)


def definition(number: int) -> str:
    text = " ".join(f"word {number} {each}" for each in range(LARGE // 14 if not number else 100))
    names = {"KIND": f"Kind{number}", "PLURAL": f"kind{number}s", "SINGULAR": f"kind{number}", "DESCRIPTION": text}
    result = DEFINITION
    for name, value in names.items():
        result = result.replace(name, value)
    return result


def settings(here: World, folder: Path, registry: str) -> dict[str, Any]:
    """Write all files, and the profile that uses them."""
    own, customized, later = folder / "own", folder / "customized", folder / "later.yaml"
    own.mkdir()
    (own / "rule.yaml").write_text(RULE.replace("NAME", "own"))
    later.write_text(CONFIG.replace("NAME", "later"))
    customized.mkdir()
    (customized / "kustomization.yaml").write_text("namePrefix: my-\nresources: [config.yaml]\n")
    (customized / "config.yaml").write_text(CONFIG.replace("NAME", "config"))
    hook = JOB.replace("NAME", "hook").replace("ANNOTATIONS", '{helm.sh/hook: "pre-install,pre-upgrade"}')
    job = JOB.replace("NAME", "job-{{ .Release.Revision }}").replace("ANNOTATIONS", "{}")
    workloads = f"{WORKLOADS}{hook}{job}".replace("IMAGE", here.shell)
    charts = {
        "operator": chart(folder / "operator", *map(definition, range(KINDS))),
        "ruled": chart(folder / "ruled", NEEDS_KINDS + RULE.replace("NAME", "released"), round=1),
        "store": chart(folder / "store", workloads, replicas=1),
        "pushed": f"oci://{registry}/charts/pushed",
        "web": chart(folder / "web", WEB.replace("IMAGE", here.image).replace("PORT", str(here.port))),
    }
    more: dict[str, dict[str, Any]] = {
        "ruled": {"needs": ["operator"]},
        "store": {"wait_for_jobs": True},
        "pushed": {"version": "1.0.0"},
    }
    releases = [{"name": name, "namespace": "data", "chart": of, **more.get(name, {})} for name, of in charts.items()]
    files = [str(own), str(customized), {"path": str(later), "needs": ["store"]}]
    return here.settings(
        releases,
        namespaces=["data"],
        cluster={"agents": 0},
        ingress={"controller": "none"},
        manifests={"files": files},
    )


@pytest.fixture(scope="module")
def project(here: World, make: Make, tmp_path_factory: pytest.TempPathFactory) -> Project:
    result = make(CLUSTER, here.settings([]))
    if full := os.environ.get("K3S_IMAGE_FULL"):
        result.environ["K3S_IMAGE"] = full  # the one that binds claims
    done = result.invoke("registry")
    assert done.code == 0, done.text
    registry = run("docker", "port", "k3d-openframe-registry", "5000/tcp").split()[0].rpartition(":")[2]
    folder = tmp_path_factory.mktemp("files")
    result.configure(settings(here, folder, f"localhost:{registry}"))
    helm("package", chart(folder / "pushed", CONFIG.replace("NAME", "pushed")), "--destination", str(folder))
    helm("push", str(folder / "pushed-1.0.0.tgz"), f"oci://localhost:{registry}/charts", "--plain-http")
    return result


def helm(*argv: str) -> None:
    done = subprocess.run(["helm", *argv], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_from_nothing(project: Project) -> None:
    done = project.invoke("up")
    assert done.code == 0, done.text
    answers_at_once()
    assert "does not answer" not in done.text
    assert len(project.objects("customresourcedefinitions.apiextensions.k8s.io")) >= KINDS
    rules = {each["metadata"]["name"]: each["spec"] for each in project.objects("kind0s.example.org")}
    spec = {"operator": "=", "since": "2024-02-28", "mode": 15}
    assert rules == {"own": spec, "released": spec}
    configs = {each["metadata"]["name"]: each["data"] for each in project.objects("configmaps")}
    assert configs["later"] == configs["my-config"] == {"script": "echo ${IP} localhost ${OTHER}"}
    assert "pushed" in configs
    assert [each["status"]["phase"] for each in project.objects("persistentvolumeclaims")] == ["Bound"]
    assert {name for name, job in jobs(project).items() if job["status"].get("succeeded")} == {"hook", "job-1"}


def answers_at_once() -> None:
    """What an Ingress publishes answers as soon as the launch has ended."""
    server = json.loads(run("docker", "inspect", f"k3d-{CLUSTER}-server-0"))[0]
    host = server["HostConfig"]["PortBindings"]["80/tcp"][0]
    assert host["HostIp"] == "127.0.0.1"
    request = urllib.request.Request(
        f"http://127.0.0.1:{host['HostPort']}/healthz", headers={"Host": "web.example.org"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as response:
        assert response.status == 200


def jobs(project: Project) -> dict[str, dict[str, Any]]:
    found = project.objects("jobs")
    return {each["metadata"]["name"]: each for each in found if each["metadata"]["namespace"] == "data"}


def test_again_nothing_to_do(project: Project) -> None:
    for task in ("plan", "status"):
        assert project.invoke(task).code == 0
    done = project.invoke("up")
    assert "nothing to do" in done.out, done.text


def test_a_change_does_what_it_changes(project: Project) -> None:
    changed = yaml.safe_load(project.profile.read_text())
    releases = {each["name"]: each for each in changed["helm"]["releases"]}
    releases["ruled"]["values"] = {"round": 2}
    releases["store"]["values"] = {"replicas": 2}
    definition = Path(releases["operator"]["chart"]) / "templates" / "0.yaml"
    definition.write_text(definition.read_text().replace("- '!='", "- '!='\n                - '>'"))
    own = Path(changed["manifests"]["files"][0]) / "rule.yaml"
    own.write_text(own.read_text().replace("operator: =", "operator: '>'"))
    project.configure(changed)
    done = project.invoke("up")
    assert done.code == 0, done.text
    ran = {name for name, state in project.states().items() if state == "ran" and name.startswith(("helm", "manif"))}
    expected = {
        f"helm: {what}"
        for name in ("operator", "ruled", "store")
        for what in (f"install {name} in data", f"{name} in data ready")
    }
    assert ran == expected | {"manifests: yours"}, "what a new definition allows comes after it"
    assert len(project.objects("persistentvolumeclaims")) == 2
    assert "job-2" in jobs(project)
    again = project.invoke("up")
    assert "nothing to do" in again.out, again.text


def test_down(project: Project) -> None:
    assert containers(CLUSTER)
    assert project.invoke("down").code == 0
    assert remains(CLUSTER) == []
