"""Whether objects are ready, by the rules of their kinds.

The rules are those of `kubectl rollout status` and `helm --wait` (Kubernetes: `kubectl/pkg/polymorphichelpers`; Helm 3:
`pkg/kube/ready.go`, Helm 4: `pkg/kube/statuswait.go`).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

Item = Mapping[str, Any]


def node_ready(node: Item) -> bool:
    """Whether a node's kubelet says that it is ready."""
    return _condition(node, "Ready") == "True"


def node_fault(node: Item) -> str:
    """Why a node is not ready, in the words of its kubelet, or of the controller that has lost it."""
    return _condition(node, "Ready", "message") or "its kubelet has not reported yet"


def workload_ready(
    item: Item, *, jobs: bool = True, nodes: Callable[[], Sequence[Item] | None] = lambda: None
) -> tuple[bool, str]:
    """Whether an object of any kind is ready, and its progress. Kinds without a notion of readiness are ready.

    `jobs`: a Job is ready when it is done; otherwise as soon as it runs, like Helm's `--wait` without
    `--wait-for-jobs`. `nodes` returns the cluster's nodes (None: unknown); called only for a DaemonSet without pods.
    """
    kind = (_group(item), str(item.get("kind", "")))
    if kind == _JOB:
        return _job(item, done=jobs)
    if kind == _DAEMON_SET:
        return _daemon_set(item, nodes)
    judge = _RULES.get(kind)
    return judge(item) if judge is not None else (True, "")


def waits_for(api_version: str, kind: str) -> bool:
    """Whether objects of that kind become ready only some time after their creation."""
    return (api_version.rpartition("/")[0], kind) in {_JOB, _DAEMON_SET, *_RULES}


def _group(item: Item) -> str:
    return str(item.get("apiVersion", "")).rpartition("/")[0]


def _part(item: Item, name: str) -> Item:
    found = item.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(part: Item, name: str, default: int = 0) -> int:
    found = part.get(name)
    return default if found is None else int(found)


def _condition(item: Item, kind: str, field: str = "status") -> str:
    rows: Iterable[Item] = _part(item, "status").get("conditions") or ()
    return next((str(row.get(field) or "") for row in rows if row.get("type") == kind), "")


def _seen(item: Item) -> bool:
    """Whether its controller has observed the latest generation: before that its status is outdated."""
    status = _part(item, "status")
    return bool(status) and _number(status, "observedGeneration") >= _number(_part(item, "metadata"), "generation")


_UNSEEN = (False, "its controller has not seen it yet")


def _by_hand(item: Item) -> bool:
    """Whether its pods are replaced only when a user deletes them (OnDelete): Helm does not wait for those."""
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
        return False, f"{updated} of {wanted} replicas are updated"
    if old > 0:
        return False, f"{old} old replicas are still running"
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
        return False, f"{updated} of {wanted - partition} replicas are updated"
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
        return False, f"{updated} of {wanted} pods are updated"
    return ready >= wanted, f"{ready} of {wanted} pods are ready"


def _without_pods(item: Item, nodes: Sequence[Item] | None) -> str:
    """Why a DaemonSet has no pods yet; empty if no node is to run one, or the nodes are unknown."""
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
        if _condition(item, kind) == "True":
            return True, kind.lower()
        message = _condition(item, kind, "message")
        return False, f"not {kind.lower()}: {message}" if message else f"not {kind.lower()}"

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
"""By group and kind; the two above need more than the object."""

_PASSING = (
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/uninitialized",
    "node.cilium.io/agent-not-ready",
)
"""Taints that Kubernetes itself adds and removes: a node that is not ready yet, a cordoned one."""
_HOLD = ("NoSchedule", "NoExecute")


def will_run_on(daemon_set: Item, node: Item) -> bool:
    """Whether the node runs a pod of a DaemonSet once the node is ready.

    The rules are those of Kubernetes' `NodeShouldRunDaemonPod` (pkg/controller/daemon): node name, node selector,
    required node affinity, and taints without a toleration. Free capacity is not considered.
    """
    pod: Item = ((daemon_set.get("spec") or {}).get("template") or {}).get("spec") or {}
    meta = node.get("metadata") or {}
    if pod.get("nodeName") not in (None, "", meta.get("name")):
        return False
    labels: Mapping[str, str] = meta.get("labels") or {}
    if any(labels.get(name) != value for name, value in (pod.get("nodeSelector") or {}).items()):
        return False
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None and not any(
        _term(term, labels, str(meta.get("name"))) for term in required.get("nodeSelectorTerms") or ()
    ):
        return False
    taints: Iterable[Item] = (node.get("spec") or {}).get("taints") or ()
    lasting = [each for each in taints if each.get("effect") in _HOLD and not str(each.get("key")).startswith(_PASSING)]
    return all(any(_tolerates(row, each) for row in pod.get("tolerations") or ()) for each in lasting)


def _term(term: Item, labels: Mapping[str, str], name: str) -> bool:
    """One of the terms, of which one must match; an empty one matches no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_matches(row, labels) for row in expressions) and all(
        _matches(row, {"metadata.name": name}) for row in fields
    )


def _matches(row: Item, labels: Mapping[str, str]) -> bool:
    there, values = labels.get(str(row.get("key"))), list(row.get("values") or ())
    match row.get("operator"):
        case "In":
            return there in values
        case "NotIn":
            return there not in values
        case "Exists":
            return there is not None
        case "DoesNotExist":
            return there is None
        case "Gt" | "Lt" as operator:
            return _compared(there, values, above=operator == "Gt")
    return False


def _compared(there: str | None, values: list[Any], *, above: bool) -> bool:
    try:
        number, limit = int(str(there)), int(values[0])
    except (ValueError, IndexError):
        return False
    return number > limit if above else number < limit


def _tolerates(toleration: Item, taint: Item) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint.get("key")):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


# -- containers without a readiness probe ---------------------------------------------------------------------

_SETTLED, _LONGEST = 2.0, 10.0
"""Seconds that such a container must have run, at least and at most: kubelets look at containers every second, and
times of the API are whole seconds."""


def without_probe(workload: Item) -> tuple[frozenset[str], str]:
    """Names of a workload's containers without a readiness probe, and the label selector of its pods."""
    spec = _part(workload, "spec")
    labels = _part(_part(spec, "selector"), "matchLabels")
    containers = _part(_part(spec, "template"), "spec").get("containers") or ()
    names = frozenset(str(each.get("name")) for each in containers if not each.get("readinessProbe"))
    return names if labels else frozenset(), ",".join(f"{name}={value}" for name, value in labels.items())


def just_started(pods: Iterable[Item], unprobed: Collection[str], now: datetime) -> str:
    """One of these containers that has only just started, or has ended; empty if there is none, or it is unknown.

    Without a readiness probe its pod counts as ready at once, and until its kubelet notices that it has ended. One that
    has ended before must run longer than it did then. `pods`: those that are deleted or evicted do not count.
    """
    there = [pod for pod in pods if not _part(pod, "metadata").get("deletionTimestamp")]
    for pod in there:
        for row in _part(pod, "status").get("containerStatuses") or ():
            if _part(pod, "status").get("phase") != "Running" or row.get("name") not in unprobed:
                continue
            last = _part(_part(row, "lastState"), "terminated")
            lived = _seconds(last.get("startedAt"), last.get("finishedAt")) or 0.0
            running = _part(_part(row, "state"), "running")
            if not running:
                return f"its container {row['name']} has ended"
            age = _seconds(running.get("startedAt"), now.isoformat())
            if age is not None and -_LONGEST < age < min(max(_SETTLED, lived + 1.0), _LONGEST):
                return f"its container {row['name']} has just started, and has no readiness probe"
    return ""


def _seconds(begin: object, end: object) -> float | None:
    try:
        return (datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(begin))).total_seconds()
    except (ValueError, TypeError):  # unknown, or without a time zone
        return None
