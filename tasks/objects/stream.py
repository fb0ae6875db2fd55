"""Objects as one text for `kubectl apply --filename -`, in an order in which each finds what it needs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_ORDER = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "StorageClass",
    "IngressClass",
    "LimitRange",
    "ResourceQuota",
    "NetworkPolicy",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "HorizontalPodAutoscaler",
    "Job",
    "CronJob",
    "Ingress",
    "APIService",
)
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicyBinding")
"""After custom resources: a webhook refuses everything while its own pods still start."""
_RANK = {kind: rank for rank, kind in enumerate(_ORDER)} | {kind: 1000 + rank for rank, kind in enumerate(_LAST)}
_CUSTOM = 500

_UNLIKE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
"""JSON leaves these signs as they are; to YAML they are line breaks, or not allowed."""


def ordered(objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Namespaces and CRDs first, webhooks last, as Helm installs; those of one kind in the order given."""
    return sorted((dict(each) for each in objects), key=lambda each: _RANK.get(each["kind"], _CUSTOM))


def split(objects: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """CRDs, which must be served before the rest can be sent, and the rest; both ordered."""
    crds: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for each in ordered(objects):
        (crds if _is_crd(each) else rest).append(each)
    return crds, rest


def _is_crd(obj: Mapping[str, Any]) -> bool:
    group = str(obj["apiVersion"]).partition("/")[0]
    return obj["kind"] == "CustomResourceDefinition" and group == "apiextensions.k8s.io"


def stream(objects: Sequence[Mapping[str, Any]]) -> str:
    """Each object as JSON on one line, after a line `---`: YAML and JSON readers see the same values."""
    return "".join(f"---\n{line(each)}\n" for each in ordered(objects))


def line(obj: Mapping[str, Any]) -> str:
    """Any JSON value on one line, as YAML and JSON readers both see it."""
    # as they are and not as \ud83d\ude00: YAML knows no pairs of escapes
    text = json.dumps(obj, ensure_ascii=False, allow_nan=False)
    return _UNLIKE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
