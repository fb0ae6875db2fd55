"""Whether what was put into a cluster is ready, by the rules of the kinds themselves.

The rules are those of `kubectl rollout status` and `helm --wait` (Kubernetes: `kubectl/pkg/polymorphichelpers`; Helm 3:
`pkg/kube/ready.go`, Helm 4: `pkg/kube/statuswait.go`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tasks.facts.placement import will_run_on

Item = Mapping[str, Any]


def node_ready(node: Item) -> bool:
    """Whether a node's kubelet says that it is ready."""
    return _condition(node, "Ready") == "True"


def workload_ready(
    item: Item, *, jobs: bool = True, nodes: Callable[[], Sequence[Item] | None] = lambda: None
) -> tuple[bool, str]:
    """Whether an object of any kind is ready, and how far it is. What has no notion of it is ready.

    `jobs`: a Job is ready when it is done; otherwise as soon as it runs, as Helm's `--wait` without `--wait-for-jobs`
    has it. `nodes` returns the cluster's nodes (None: not known); called only for a DaemonSet that has no pods.
    """
    kind = (_group(item), str(item.get("kind", "")))
    if kind == _JOB:
        return _job(item, done=jobs)
    if kind == _DAEMON_SET:
        return _daemon_set(item, nodes)
    judge = _RULES.get(kind)
    return judge(item) if judge is not None else (True, "")


def waits_for(api_version: str, kind: str) -> bool:
    """Whether objects of that kind become ready some time after they were made."""
    return (api_version.rpartition("/")[0], kind) in {_JOB, _DAEMON_SET, *_RULES}


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
    """Whether its controller has looked at the newest specification: before, its status says nothing."""
    status = _part(item, "status")
    return bool(status) and _number(status, "observedGeneration") >= _number(_part(item, "metadata"), "generation")


_UNSEEN = (False, "its controller has not seen it yet")


def _by_hand(item: Item) -> bool:
    """Whether its pods are replaced only when somebody deletes them: Helm waits for none of them."""
    return _part(_part(item, "spec"), "updateStrategy").get("type") == "OnDelete"


def _deployment(item: Item) -> tuple[bool, str]:
    spec, status = _part(item, "spec"), _part(item, "status")
    wanted = _number(spec, "replicas", 1)
    if spec.get("paused"):
        return True, "it is paused"
    if not _seen(item):
        return _UNSEEN
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
        return _UNSEEN
    ready = _number(status, "readyReplicas")
    if _by_hand(item):
        return True, f"{ready} of {wanted} replicas are ready; they are updated by hand (OnDelete)"
    if ready < wanted:
        return False, f"{ready} of {wanted} replicas are ready"
    partition = _number(_part(_part(spec, "updateStrategy"), "rollingUpdate"), "partition")
    updated = _number(status, "updatedReplicas")
    if status.get("updateRevision") not in (None, status.get("currentRevision")) and updated < wanted - partition:
        return False, f"{updated} of {wanted - partition} replicas are of the new version"
    return True, f"{ready} of {wanted} replicas are ready"


def _daemon_set(item: Item, nodes: Callable[[], Sequence[Item] | None]) -> tuple[bool, str]:
    status = _part(item, "status")
    if not _seen(item):
        return _UNSEEN
    wanted, ready = _number(status, "desiredNumberScheduled"), _number(status, "numberReady")
    if wanted == 0 and (late := _without_pods(item, nodes())):
        return False, late
    if _by_hand(item):
        return True, f"{ready} of {wanted} pods are ready; they are updated by hand (OnDelete)"
    updated = _number(status, "updatedNumberScheduled")
    if updated < wanted:
        return False, f"{updated} of {wanted} pods are of the new version"
    return ready >= wanted, f"{ready} of {wanted} pods are ready"


def _without_pods(item: Item, nodes: Sequence[Item] | None) -> str:
    """Why a DaemonSet has no pods yet; empty if no node is meant to run one, or the nodes are not known."""
    if nodes is None:
        return ""
    if not nodes:
        return "no node has joined yet"
    chosen = next((node for node in nodes if will_run_on(item, node)), None)
    if chosen is None:
        return ""
    name = _part(chosen, "metadata").get("name")
    return f"node {name} is to run it, and " + ("has no pod of it yet" if node_ready(chosen) else "is not ready yet")


def _replicas(item: Item) -> tuple[bool, str]:
    if not _seen(item):
        return _UNSEEN
    wanted, ready = _number(_part(item, "spec"), "replicas", 1), _number(_part(item, "status"), "readyReplicas")
    return ready >= wanted, f"{ready} of {wanted} replicas are ready"


def _job(item: Item, *, done: bool) -> tuple[bool, str]:
    if _condition(item, "Complete") == "True":
        return True, "it is done"
    if _condition(item, "Failed") == "True":
        return False, "it has failed"
    if _part(item, "spec").get("suspend"):
        return True, "it is suspended"
    if done:
        return False, "it is not done"
    running = bool(_part(item, "status").get("startTime"))
    return running, "it runs, and is not waited for" if running else "its controller has not started it yet"


def _pod(item: Item) -> tuple[bool, str]:
    phase = str(_part(item, "status").get("phase", ""))
    return phase == "Succeeded" or _condition(item, "Ready") == "True", phase.lower() or "not seen yet"


def _by_condition(kind: str) -> Callable[[Item], tuple[bool, str]]:
    def judge(item: Item) -> tuple[bool, str]:
        good = _condition(item, kind) == "True"
        return good, kind.lower() if good else f"not {kind.lower()}"

    return judge


_JOB, _DAEMON_SET = ("batch", "Job"), ("apps", "DaemonSet")
_RULES: Mapping[tuple[str, str], Callable[[Item], tuple[bool, str]]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "ReplicaSet"): _replicas,
    ("", "ReplicationController"): _replicas,
    ("", "Pod"): _pod,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _by_condition("Established"),
    ("apiregistration.k8s.io", "APIService"): _by_condition("Available"),
}
"""By group and kind; the two above depend on more than the object."""
