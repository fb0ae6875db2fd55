"""Containers as `docker container inspect` prints them, less what nobody reads; names and labels can be others."""

import json
from typing import Any

from tasks.facts.cluster import MARKER
from tests.programs import Answer, FakePrograms

PORTS_20: dict[str, Any] = {"6443": [{"HostIp": "127.0.0.1", "HostPort": "6550"}]}
"""Docker 20.10.24 returns the ports as k3d 5.9 requests them: without a protocol."""
PORTS_28: dict[str, Any] = {"6443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6550"}]}
NO_FILE_20 = "Error response from daemon: Could not find the file /openframe-complete in container 350d0a6f737f\n"
NO_FILE_OLD_CLIENT = "Error: No such container:path: 350d0a6f737f:/openframe-complete\n"


def container(
    name: str, role: str, *, state: str = "running", code: int = 0, ours: bool = True, **more: Any
) -> dict[str, Any]:
    """One container of a cluster. `more`: `labels`, `ports`, `cpus`, `memory`, `networks`, or `cluster`."""
    cluster = more.get("cluster", "openframe-dev")
    labels = {
        "app": "k3d",
        "k3d.cluster": cluster,
        "k3d.cluster.imageVolume": f"k3d-{cluster}-images",
        "k3d.cluster.network": f"k3d-{cluster}",
        "k3d.cluster.network.external": "false",
        "k3d.cluster.network.id": "07c0a6211800c23f5df7d29f0de739d9be428d66835695b8f7e7005b8b7e280e",
        "k3d.cluster.network.iprange": "172.20.0.0/16",
        "k3d.cluster.url": f"https://k3d-{cluster}-server-0:6443",
        "k3d.role": role,
        "k3d.version": "v5.9.0",
    }
    if ours and role in ("server", "agent"):
        labels["openframe.cluster"] = cluster
    return {
        "Id": f"350d0a6f737f2632d84def53fffbc3241e3dbd910dce6e1afcf2a8943ffb-{name}",
        "Name": f"/k3d-{cluster}-{name}",
        "State": {
            "Status": state,
            "Running": state in ("running", "paused", "restarting"),
            "Paused": state == "paused",
            "Restarting": state == "restarting",
            "OOMKilled": False,
            "Dead": False,
            "Pid": 4980 if state == "running" else 0,
            "ExitCode": code,
            "Error": "",
            "StartedAt": "2026-11-25T02:08:42.827285496Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
        },
        "Config": {"Labels": {**labels, **more.get("labels", {})}},
        "HostConfig": {
            "PortBindings": more.get("ports", {}),
            "NanoCpus": more.get("cpus", 0),
            "Memory": more.get("memory", 0),
            "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
        },
        "NetworkSettings": {"Networks": {key: {"IPAddress": ""} for key in more.get("networks", (f"k3d-{cluster}",))}},
    }


def registry(name: str = "k3d-openframe-registry", port: str = "5050", **more: Any) -> dict[str, Any]:
    """A registry of this project. `more`: `state`, `labels`, `networks`, `ports`, `env`, or `ours`."""
    result = container("", "registry", cluster="", state=more.get("state", "running"), ours=False)
    labels = {
        "app": "k3d",
        "k3d.cluster": "",
        "k3d.registry.host": "",
        "k3d.registry.hostIP": "127.0.0.1",
        "k3d.role": "registry",
        "k3s.registry.port.external": port,
        "k3s.registry.port.internal": "5000",
    }
    if more.get("ours", True):
        labels["openframe.cache"] = "push"
    bound = {"5000/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}
    return {
        **result,
        "Id": f"9f76b2a69da9cfa21b113260e5fa28393f11450fd44f1e97d85bd3d0-{name}",
        "Name": f"/{name}",
        "Config": {"Labels": {**labels, **more.get("labels", {})}, "Env": more.get("env", [])},
        "HostConfig": {**result["HostConfig"], "PortBindings": more.get("ports", bound)},
        "NetworkSettings": {"Networks": {key: {"IPAddress": ""} for key in more.get("networks", ("bridge",))}},
    }


def docker(*containers: dict[str, Any], marker: Answer | None = None) -> FakePrograms:
    """An engine with these containers; `marker` answers whether server-0 has its marker (it has, if not given)."""
    ids = "\n".join(each["Id"] for each in containers)
    return FakePrograms(
        answers={
            "docker ps --all": ids,
            "docker container inspect": Answer(out=json.dumps(containers), code=0 if containers else 1),
            "docker cp": marker or Answer(out=MARKER),
        }
    )
