"""Whether the controller of a DaemonSet will place a pod on a node.

The rules are those of Kubernetes' `NodeShouldRunDaemonPod` (pkg/controller/daemon): node name, node selector, required
node affinity, and taints without a toleration. Free capacity is not among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Item = Mapping[str, Any]

_PASSING = (
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/uninitialized",
    "node.cilium.io/agent-not-ready",
)
"""Taints that Kubernetes itself puts on a node and takes off again: a node that is not ready yet, a cordoned one."""
_HOLD = ("NoSchedule", "NoExecute")


def will_run_on(daemon_set: Item, node: Item) -> bool:
    """Whether the node runs a pod of it as soon as the node is ready."""
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
