"""A service of the cluster answers at the published port, and a launch with an Ingress ends when it does."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from tests.real.conftest import Make
from tests.real.project import run
from tests.real.world import World

CLUSTER = "published-one"
CHART = """
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


def test_a_launch_with_an_ingress_ends_when_it_answers(here: World, make: Make, tmp_path: Path) -> None:
    chart = tmp_path / "web"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: web, version: 1.0.0}\n")
    (chart / "templates" / "web.yaml").write_text(CHART.replace("IMAGE", here.image).replace("PORT", str(here.port)))
    release = {"name": "web", "namespace": "apps", "chart": str(chart)}
    made = here.settings([release], namespaces=["apps"], cluster={"agents": 0}, ingress={"controller": "none"})
    project = make(CLUSTER, made)
    done = project.invoke("up")
    assert done.code == 0, done.text
    server = json.loads(run("docker", "inspect", f"k3d-{CLUSTER}-server-0"))[0]
    host = server["HostConfig"]["PortBindings"]["80/tcp"][0]
    assert host["HostIp"] == "127.0.0.1"
    asked = urllib.request.Request(f"http://127.0.0.1:{host['HostPort']}/healthz", headers={"Host": "web.example.org"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=5) as response:
        assert response.status == 200
    assert "does not answer" not in done.text
