"""What the API tells of itself: its health, what it serves, and the leases of its nodes."""

from __future__ import annotations

import json

from tasks.rehearsal import containers, kinds, node
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.faults import Faults
    from tasks.rehearsal.kinds import Kind
    from tasks.rehearsal.times import Times

_CHECKS = (
    "ping",
    "log",
    "etcd",
    "informer-sync",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/apiservice-registration-controller",
    "shutdown",
)
"""Checks of an API server 1.33, some of them."""
_HOOK = "poststarthook/rbac/bootstrap-roles"
PATHS = frozenset({"/readyz", "/healthz", "/livez"})
SILENT, BUSY = "silent", "busy"
"""How an API is down: nothing answers, or it says that it is not ready."""
_FLAP = 1.5
_RENEWED = 10.0
"""Seconds between two renewals of a node's lease (Kubernetes: Leases)."""


def flap(server: Container, faults: Faults, times: Times, now: float) -> str:
    """How the API is down now by a fault; empty if it is not."""
    cluster = server["labels"].get("k3d.cluster", "")
    fault = faults.find("api-flaps", cluster, server["name"])
    life = containers.life(server, now)
    if fault is None or life is None:
        return ""
    if times.scale == 0:  # no time passes: by requests
        return BUSY if faults.strike("api-flaps", cluster, server["name"]) is not None else ""
    length = float(fault.get("seconds") or _FLAP) * times.scale
    since = now - life[4].get("ready", now) - float(fault.get("after") or 0.0) * times.scale
    number = int(since // (2 * length)) if since >= 0 and length > 0 else -1
    if number < 0 or since % (2 * length) >= length:
        return ""
    most = fault.get("times")
    if most is not None and number >= most:
        return ""
    return BUSY if number % 2 else SILENT


def unready(path: str) -> tuple[int, str]:
    """What is asked for before it is ready."""
    rows = [f"[-]{each} failed: reason withheld" if each == _HOOK else f"[+]{each} ok" for each in _CHECKS]
    return 500, "\n".join([*rows, f"{path.strip('/')} check failed", ""])


def answer(path: str, server: Container) -> tuple[int, str] | None:
    """To questions for its health and version; None to all others."""
    bare, _, query = path.partition("?")
    if bare in PATHS:
        rows = [f"[+]{each} ok" for each in _CHECKS]
        verbose = "verbose" in query.split("&") or "verbose=" in query
        return 200, "\n".join([*rows, f"{bare.strip('/')} check passed", ""]) if verbose else "ok"
    for start in PATHS:
        if bare.startswith(f"{start}/"):
            known = bare.removeprefix(f"{start}/") in _CHECKS
            return (200, "ok") if known else (404, "404 page not found\n")
    if bare == "/version":
        version = node.version(server["image"])
        major, _, rest = version.lstrip("v").partition(".")
        told = {"major": major, "minor": rest.partition(".")[0], "gitVersion": version, "platform": "linux/amd64"}
        return 200, json.dumps(told)
    return None


def discovery(path: str, known: list[Kind]) -> dict[str, Any] | None:
    """What is served, for a path that asks for that."""
    versions = list(dict.fromkeys(kind[0] for kind in known))
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups: dict[str, list[str]] = {}
        for version in versions:
            if "/" in version:
                groups.setdefault(version.rpartition("/")[0], []).append(version)
        rows = [
            {"name": group, "versions": [{"groupVersion": each, "version": each.rpartition("/")[2]} for each in found]}
            for group, found in groups.items()
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": rows}
    asked = next((each for each in versions if kinds.root(each) == path.rstrip("/")), None)
    if asked is None:
        return None
    resources = [
        {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]}
        for of, kind, plural, namespaced in known
        if of == asked
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": asked, "resources": resources}


def leases(doc: Document, cluster: str, now: float) -> list[dict[str, Any]]:
    """One for each node, renewed as long as its kubelet runs; first a second after it has started."""
    found = []
    for each in containers.labelled(doc, cluster=cluster):
        if each["labels"].get("k3d.role") not in ("server", "agent"):
            continue
        begun = [life for life in each["lives"] if life[4].get("ready", now + 1) <= now]
        if not begun:
            continue
        start, end = begun[-1][4]["ready"], begun[-1][1]
        last = now if end is None or end > now else end
        renewed = max(begun[-1][0] + 1.0, start + _RENEWED * ((last - start) // _RENEWED))
        meta = {"name": each["name"], "namespace": "kube-node-lease", "resourceVersion": str(round(renewed * 1e6))}
        spec = {"holderIdentity": each["name"], "leaseDurationSeconds": 40, "renewTime": stamp(renewed, 6)}
        found.append({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec})
    return found
