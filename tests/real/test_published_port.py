"""A service of the cluster answers at the published port."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

from tests.real.conftest import Make
from tests.real.project import run
from tests.real.world import World

CLUSTER = "published-one"


def test_curl_reaches_a_service_by_a_host_port(here: World, make: Make) -> None:
    """By a hostPort: it needs neither ServiceLB nor an ingress, which not every node image has."""
    project = make(CLUSTER, here.settings([here.release(0, "apps")], namespaces=["apps"], cluster={"agents": 0}))
    done = project.invoke("up", "--set", "ingress.controller=none")
    assert done.code == 0, done.text
    deployment = next(d for d in project.objects("deployments") if d["metadata"]["namespace"] == "apps")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    ports = {"containerPort": _http_port(container, project.objects("services")), "hostPort": 80}
    patch = [
        {"op": "add", "path": "/spec/template/spec/containers/0/ports", "value": [ports]},
        {"op": "replace", "path": "/spec/strategy", "value": {"type": "Recreate"}},
    ]
    name = deployment["metadata"]["name"]
    project.kubectl("--namespace", "apps", "patch", "deployment", name, "--type=json", "--patch", json.dumps(patch))
    project.kubectl("--namespace", "apps", "rollout", "status", f"deployment/{name}", "--timeout=90s")
    server = json.loads(run("docker", "inspect", f"k3d-{CLUSTER}-server-0"))[0]
    host = server["HostConfig"]["PortBindings"]["80/tcp"][0]
    assert host["HostIp"] == "127.0.0.1"
    assert _answers(f"http://127.0.0.1:{host['HostPort']}/healthz")


def _http_port(container: dict[str, object], services: list[dict[str, object]]) -> int:
    named = container.get("ports")
    if isinstance(named, list) and named:
        return int(named[0]["containerPort"])
    for service in services:
        if service["metadata"]["namespace"] == "apps":  # type: ignore[index]
            return int(service["spec"]["ports"][0]["targetPort"])  # type: ignore[index]
    raise AssertionError("no port is named")


def _answers(url: str) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    return False
