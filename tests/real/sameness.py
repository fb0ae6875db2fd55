"""The content of a cluster, in a form in which two launches of the same settings can be compared.

Left out is what no two clusters share: uids, times, versions of objects, addresses, certificates, generated names, the
node that a pod came to lie on, and the revision of a Helm release.
"""

import json
import re
import time
from collections import Counter
from typing import Any

from tests.real.project import Project

_PASSING = ("events", "events.events.k8s.io", "leases.coordination.k8s.io")
"""Kinds that tell what happened, not what is."""
_OWN = ("uid", "creationTimestamp", "resourceVersion", "managedFields", "generation", "selfLink", "generateName")
_NODES_CHOICE = ("nodeName", "clusterIP", "clusterIPs", "podCIDR", "podCIDRs", "providerID")
_RELEASE = re.compile(r"^(sh\.helm\.release\.v1\..+)\.v[0-9]+$")
_POD = re.compile(r"-[a-z0-9]{5}$")
"""What is generated of a pod's name."""
_SCRUBBED = (
    (re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"), "UID"),
    (re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9:]+)"), "TIME"),
    (re.compile(r"\b(?:10|172|192)(?:\.[0-9]{1,3}){3}\b"), "ADDRESS"),
    (re.compile(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----\n?", re.DOTALL), "PEM"),
    (re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]+"), "PEM"),
    (re.compile(r"kube-api-access-[a-z0-9]{5}"), "kube-api-access"),
)


def objects(project: Project) -> Counter[str]:
    """Every object of the cluster as text, and how often it is there."""
    kinds = project.kubectl("api-resources", "--verbs=list", "--output=name").split()
    expected = ",".join(sorted(kind for kind in kinds if kind not in _PASSING and not kind.endswith(".metrics.k8s.io")))
    found = json.loads(project.kubectl("get", expected, "--all-namespaces", "--output=json"))["items"]
    reported = [(json.dumps(_told(item), sort_keys=True), _is_release(item)) for item in found]
    return Counter(text for text, release in reported if not release) + Counter(
        {text for text, release in reported if release}
    )


def settled(project: Project, patience: float = 60.0) -> Counter[str]:
    """The same, once two looks at it agree: controllers go on after a launch has ended. Seconds.

    A workload that is not available yet is waited for: pods of metrics-server are refused until a launch is over, and
    its controller tries again after a pause.
    """
    end, before = time.monotonic() + patience, objects(project)
    while True:
        time.sleep(2.0)
        now = objects(project)
        starting = any('"Available": "False"' in text for text in now)
        if (now == before and not starting) or time.monotonic() > end:
            return now
        before = now


def differences(one: Counter[str], other: Counter[str]) -> list[str]:
    """What only one of them has; `-` the first, `+` the second."""
    return sorted(
        [f"- {text}" for text in (one - other).elements()] + [f"+ {text}" for text in (other - one).elements()]
    )


def _is_release(item: dict[str, Any]) -> bool:
    return item["kind"] == "Secret" and _RELEASE.match(item["metadata"]["name"]) is not None


def _told(item: dict[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in item["metadata"].items() if key not in _OWN}
    if "generateName" in item["metadata"]:
        meta["name"] = item["metadata"]["generateName"] + "*"
    meta["ownerReferences"] = [f"{each['kind']} {each['name']}" for each in meta.get("ownerReferences") or ()]
    reported = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    if _is_release(item):
        meta["name"] = _RELEASE.sub(r"\1", meta["name"])
        meta["labels"] = {key: value for key, value in meta["labels"].items() if key not in ("version", "modifiedAt")}
        reported.pop("data")
    elif item["kind"] == "Secret" and meta["namespace"] == "kube-system":
        reported["data"] = sorted(item.get("data") or ())  # the cluster's own: random
    (meta.get("annotations") or {}).pop("deployment.kubernetes.io/revision", None)
    reported["status"] = _standing(item.get("status") or {})
    return {"metadata": _scrubbed(meta), **{key: _scrubbed(value) for key, value in reported.items()}}


def _standing(status: dict[str, Any]) -> dict[str, Any]:
    """Its status, without counters."""
    remaining: dict[str, Any] = {
        key: status[key] for key in ("phase", "replicas", "readyReplicas", "availableReplicas") if key in status
    }
    for condition in status.get("conditions") or ():
        remaining[str(condition.get("type"))] = condition.get("status")
    return remaining


def _scrubbed(value: Any) -> Any:
    if isinstance(value, dict):
        remaining = {key: _scrubbed(inner) for key, inner in value.items() if key not in _NODES_CHOICE}
        if remaining.get("kind") == "Pod" and "name" in remaining:
            remaining["name"] = _POD.sub("-*", remaining["name"])
        if "NodeHosts" in remaining:
            remaining["NodeHosts"] = sorted(remaining["NodeHosts"].split("\n"))
        return remaining
    if isinstance(value, list):
        rows = [_scrubbed(inner) for inner in value]
        return sorted(rows, key=json.dumps) if rows and isinstance(rows[0], dict) else rows
    if isinstance(value, str):
        for pattern, word in _SCRUBBED:
            value = pattern.sub(word, value)
    return value
