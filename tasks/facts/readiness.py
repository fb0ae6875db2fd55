"""Whether what was put into a cluster is ready, by the rules of the kinds themselves.

The rules are those of `kubectl rollout status` and `helm --wait` (Kubernetes: `kubectl/pkg/polymorphichelpers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Item = Mapping[str, Any]


def node_ready(node: Item) -> bool:
    """Whether a node's kubelet says that it is ready."""
    return _condition(node, "Ready") == "True"


def workload_ready(item: Item) -> tuple[bool, str]:
    """Whether an object of any kind is ready, and how far it is. What has no notion of it is ready."""
    judge = _RULES.get((_group(item), str(item.get("kind", ""))))
    return judge(item) if judge is not None else (True, "")


def waits_for(api_version: str, kind: str) -> bool:
    """Whether objects of that kind become ready some time after they were made."""
    return (api_version.rpartition("/")[0], kind) in _RULES


def _group(item: Item) -> str:
    return str(item.get("apiVersion", "")).rpartition("/")[0]


def _part(item: Item, name: str) -> Item:
    found = item.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(part: Item, name: str, default: int = 0) -> int:
    found = part.get(name)
    return default if found is None else int(found)


def _condition(item: Item, kind: str) -> str:
    rows: Iterable[Item] = _part(item, "status").get("conditions") or ()
    return next((str(row.get("status")) for row in rows if row.get("type") == kind), "")


def _seen(item: Item) -> bool:
    """Whether its controller has looked at the newest specification."""
    return _number(_part(item, "status"), "observedGeneration") >= _number(_part(item, "metadata"), "generation")


def _deployment(item: Item) -> tuple[bool, str]:
    status, wanted = _part(item, "status"), _number(_part(item, "spec"), "replicas", 1)
    if not _seen(item):
        return False, "its controller has not seen it yet"
    updated, available = _number(status, "updatedReplicas"), _number(status, "availableReplicas")
    old = _number(status, "replicas") - updated
    if updated < wanted:
        return False, f"{updated} of {wanted} replicas are of the new version"
    if old > 0:
        return False, f"{old} old replicas are still there"
    return available >= updated, f"{available} of {wanted} replicas are available"


def _stateful_set(item: Item) -> tuple[bool, str]:
    spec, status = _part(item, "spec"), _part(item, "status")
    wanted = _number(spec, "replicas", 1)
    if not _seen(item):
        return False, "its controller has not seen it yet"
    ready = _number(status, "readyReplicas")
    if ready < wanted:
        return False, f"{ready} of {wanted} replicas are ready"
    if _part(spec, "updateStrategy").get("type") == "OnDelete":
        return True, f"{ready} of {wanted} replicas are ready"
    partition = _number(_part(_part(spec, "updateStrategy"), "rollingUpdate"), "partition")
    updated = _number(status, "updatedReplicas")
    if status.get("updateRevision") not in (None, status.get("currentRevision")) and updated < wanted - partition:
        return False, f"{updated} of {wanted - partition} replicas are of the new version"
    return True, f"{ready} of {wanted} replicas are ready"


def _daemon_set(item: Item) -> tuple[bool, str]:
    status = _part(item, "status")
    if not _seen(item):
        return False, "its controller has not seen it yet"
    wanted, ready = _number(status, "desiredNumberScheduled"), _number(status, "numberReady")
    updated = _number(status, "updatedNumberScheduled")
    if _part(_part(item, "spec"), "updateStrategy").get("type") != "OnDelete" and updated < wanted:
        return False, f"{updated} of {wanted} pods are of the new version"
    return ready >= wanted, f"{ready} of {wanted} pods are ready"


def _replicas(item: Item) -> tuple[bool, str]:
    wanted, ready = _number(_part(item, "spec"), "replicas", 1), _number(_part(item, "status"), "readyReplicas")
    return _seen(item) and ready >= wanted, f"{ready} of {wanted} replicas are ready"


def _job(item: Item) -> tuple[bool, str]:
    if _part(item, "spec").get("suspend"):
        return True, "it is suspended"
    if _condition(item, "Complete") == "True":
        return True, "it is done"
    return False, "it has failed" if _condition(item, "Failed") == "True" else "it is not done"


def _pod(item: Item) -> tuple[bool, str]:
    phase = str(_part(item, "status").get("phase", ""))
    return phase == "Succeeded" or _condition(item, "Ready") == "True", phase.lower() or "not seen yet"


def _by_condition(kind: str) -> Callable[[Item], tuple[bool, str]]:
    def judge(item: Item) -> tuple[bool, str]:
        good = _condition(item, kind) == "True"
        return good, kind.lower() if good else f"not {kind.lower()}"

    return judge


_RULES: Mapping[tuple[str, str], Callable[[Item], tuple[bool, str]]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replicas,
    ("", "ReplicationController"): _replicas,
    ("", "Pod"): _pod,
    ("batch", "Job"): _job,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _by_condition("Established"),
    ("apiregistration.k8s.io", "APIService"): _by_condition("Available"),
}
"""By group and kind."""
