"""What is in a cluster without anybody applying it: its nodes, and what k3s puts in."""

from __future__ import annotations

import base64
import json

from tasks.rehearsal import controllers, engine, objects
from tasks.rehearsal.controllers import ControlPlane
from tasks.rehearsal.folder import MARK
from tasks.rehearsal.objects import Objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tasks.rehearsal.engine import Container, Document
    from tasks.rehearsal.objects import Object, View
    from tasks.rehearsal.program import Call

_GRACE = 40.0
"""Seconds after which a node that is silent counts as lost (kube-controller-manager: `node-monitor-grace-period`)."""
_SYSTEM = {
    "coredns": ("rancher/mirrored-coredns-coredns:1.12.0", "coredns"),
    "local-path-provisioner": ("rancher/local-path-provisioner:v0.0.31", "local-storage"),
    "metrics-server": ("rancher/mirrored-metrics-server:v0.7.2", "metrics-server"),
}
"""Deployments of k3s 1.32, with their images, and what `--disable` calls them."""


def kubeconfig(folder: Path, server: str) -> str:
    """As k3s writes it, but with a mark that this cluster is rehearsed, and certificates that are none."""
    pem = f"-----BEGIN CERTIFICATE-----\nREHEARSAL of {server}\n-----END CERTIFICATE-----\n"
    text = base64.b64encode(pem.encode()).decode()
    return f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {text}
    extensions:
    - extension: {{folder: {json.dumps(str(folder))}}}
      name: {MARK}
    server: https://127.0.0.1:6443
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
users:
- name: default
  user:
    client-certificate-data: {text}
    client-key-data: {text}
"""


def node_up(call: Call, doc: Document, container: Container) -> None:
    """A node's container has been started: when it will be registered and ready is known, unless it is to end."""
    labels = container["labels"]
    cluster = labels.get("k3d.cluster", "")
    registered = next((life["at"]["ready"] for life in container["lives"] if "ready" in life["at"]), None)
    if labels.get("k3d.role") not in ("server", "agent") or registered is None:
        return
    api = engine.ready_at(doc, cluster, call.now())
    ready = max(
        (registered if api is None else api) + call.times.seconds("nodes ready"),
        registered + call.times.seconds("agent registers"),
    )
    with Objects(call.folder.cluster(cluster)).change() as there:
        now = call.now()
        old = there.get("v1", "Node", "", container["name"], call.now())
        obj = objects.settle(old, now) if old is not None else _node(there, container)
        stages = [[ready, {"status": {"conditions": [_ready("True")]}}]]
        there.put(obj, now, stages=stages, ready=ready, **{"from": registered if old is None else now})
        plane = ControlPlane(there, now, call.times, call.faults)
        if not there.fact("seeded") and labels["k3d.role"] == "server":
            there.set_fact("seeded", True)
            there.set_fact("ready", registered)
            there.set_fact("controllers", registered + call.times.seconds("controllers"))
            _seed(ControlPlane(there, registered, call.times, call.faults), container)
        elif old is None:
            for each in there.existing("apps/v1", "DaemonSet", now):
                controllers.follow(plane, each, each["object"])


def node_down(call: Call, container: Container) -> None:
    """It was stopped: after a while its node counts as lost."""
    cluster = container["labels"].get("k3d.cluster", "")
    if container["labels"].get("k3d.role") not in ("server", "agent") or not call.folder.cluster(cluster).exists():
        return
    with Objects(call.folder.cluster(cluster)).change() as there:
        record = there.get("v1", "Node", "", container["name"], call.now())
        if record is not None:
            lost = call.now() + _GRACE * call.times.scale
            past = [each for each in record["stages"] if each[0] <= call.now()]
            record["stages"] = [*past, [lost, {"status": {"conditions": [_ready("Unknown")]}}]]


def forget(call: Call, doc: Document, container: Container) -> None:
    """The last server's container was removed, and with it all objects."""
    cluster = container["labels"].get("k3d.cluster", "")
    if container["labels"].get("k3d.role") == "server" and not engine.labelled(doc, cluster=cluster, role="server"):
        with Objects(call.folder.cluster(cluster)).change() as there:
            there.clear()


def _ready(word: str) -> dict[str, str]:
    reason = {"True": "KubeletReady", "False": "KubeletNotReady", "Unknown": "NodeStatusUnknown"}[word]
    return {"type": "Ready", "status": word, "reason": reason}


def _node(there: View, container: Container) -> Object:
    count = len(list(there.records("v1", "Node")))
    server = container["labels"]["k3d.role"] == "server"
    roles = {f"node-role.kubernetes.io/{role}": "true" for role in ("control-plane", "master") if server}
    name = container["name"]
    version = engine.version(container["image"])
    address = next(iter(container["networks"].values()), "")
    block = f"10.42.{count}.0/24"
    size = {"cpu": "2", "memory": "2097152Ki", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": "k3s",
                **roles,
                **dict(part.partition("=")[::2] for part in engine.argument(container, "node-label")),
            },
        },
        "spec": {"podCIDR": block, "podCIDRs": [block], "providerID": f"k3s://{name}"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "conditions": [_ready("False")],
            "capacity": size,
            "allocatable": size,
            "nodeInfo": {"kubeletVersion": version, "osImage": "K3s v1 (REHEARSAL)", "operatingSystem": "linux"},
        },
    }


def _seed(plane: ControlPlane, server: Container) -> None:
    """What is there when the API is ready, or comes by itself."""
    disabled = engine.argument(server, "disable")
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        more = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        _put(plane, _object("v1", "Namespace", name, "", **more))
    ports = [{"name": "https", "port": 443, "protocol": "TCP"}]
    _put(plane, _object("v1", "Service", "kubernetes", "default", spec={"clusterIP": "10.43.0.1", "ports": ports}))
    for name, (image, component) in _SYSTEM.items():
        if component not in disabled:
            _put(plane, _workload("Deployment", name, image))
    if "coredns" not in disabled:
        _put(plane, _object("v1", "ConfigMap", "coredns", "kube-system", data={"NodeHosts": ""}))
        dns = [{"name": "dns", "port": 53, "protocol": "UDP"}]
        _put(plane, _object("v1", "Service", "kube-dns", "kube-system", spec={"clusterIP": "10.43.0.10", "ports": dns}))
    if "local-storage" not in disabled:
        made = _object("storage.k8s.io/v1", "StorageClass", "local-path", "")
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        made["metadata"]["annotations"] = default
        binding = "WaitForFirstConsumer"
        more = {"provisioner": "rancher.io/local-path", "reclaimPolicy": "Delete", "volumeBindingMode": binding}
        _put(plane, {**made, **more})
    if "traefik" not in disabled:
        _traefik(plane, "servicelb" not in disabled)


def _traefik(plane: ControlPlane, balanced: bool) -> None:
    """k3s installs it by jobs that run Helm: it comes when they are done."""
    done = plane.now
    for name in ("helm-install-traefik-crd", "helm-install-traefik"):
        job = _workload("Job", name, "rancher/klipper-helm:v0.9.4-build20250113")
        record = _put(plane, job)
        done = max(done, *(moment for moment, _ in record["stages"]))
    later = ControlPlane(plane.doc, done, plane.times, plane.faults)
    _put(later, _workload("Deployment", "traefik", "rancher/mirrored-library-traefik:3.3.2"))
    if balanced:
        _put(later, _workload("DaemonSet", "svclb-traefik", "rancher/klipper-lb:v0.4.13"))
    controller = {"controller": "traefik.io/ingress-controller"}
    _put(later, _object("networking.k8s.io/v1", "IngressClass", "traefik", "", spec=controller))


def _put(plane: ControlPlane, obj: Object) -> objects.Record:
    if obj["kind"] in ("Deployment", "DaemonSet", "Job"):
        obj["metadata"]["generation"] = 1
    record = plane.doc.put(obj, plane.now, stages=[], **{"from": plane.now})
    controllers.follow(plane, record, None)
    return record


def _object(api_version: str, kind: str, name: str, namespace: str, **more: Any) -> Object:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **place}, **more}


def _workload(kind: str, name: str, image: str) -> Object:
    labels = {"k8s-app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": name, "image": image}]}}
    spec: Object = {"template": template}
    if kind != "Job":
        spec["selector"] = {"matchLabels": labels}
    if kind == "Deployment":
        spec["replicas"] = 1
    version = "batch/v1" if kind == "Job" else "apps/v1"
    return _object(version, kind, name, "kube-system", spec=spec)
