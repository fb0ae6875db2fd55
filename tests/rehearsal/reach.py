"""Changes to a rehearsed cluster by another user."""

import json

from tasks.rehearsal.apiserver import ApiServer
from tasks.rehearsal.folder import Folder


def port(place: Folder, cluster: str = "openframe-dev") -> int:
    """Where its API answers."""
    doc = json.loads(place.engine.path.read_text())
    server = next(each for each in doc["containers"].values() if each["name"] == f"k3d-{cluster}-server-0")
    return int(server["ports"]["6443/tcp"][0]["HostPort"])


def scale(place: Folder, namespace: str, name: str, replicas: int | None) -> int:
    """Set a Deployment's replicas as `kubectl scale` does; what they are then. None: leave them."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    if replicas is not None:
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}}
        text = json.dumps({**body, "spec": {"replicas": replicas}})
        code, text = ApiServer(place).request("PATCH", port(place), f"{path}?fieldManager=kubectl&force=true", text)
    else:
        code, text = ApiServer(place).request("GET", port(place), path)
    assert code == 200, text
    return int(json.loads(text)["spec"]["replicas"])


def delete(place: Folder, path: str) -> None:
    """Take an object away."""
    code, text = ApiServer(place).request("DELETE", port(place), path)
    assert code == 200, text
