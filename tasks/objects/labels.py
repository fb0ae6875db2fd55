"""What every object of this project carries, and how an object is found again."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tasks.tools.kubectl import FIELD_MANAGER
from tasks.tools.kuberesources import Key

__all__ = [
    "FIELD_MANAGER",
    "FINGERPRINT",
    "MANAGED_BY",
    "Key",
    "digest",
    "finish",
    "is_namespace",
    "is_secret",
    "key",
    "unmarked",
]

MANAGED_BY = "app.kubernetes.io/managed-by"
"""The well-known label (Kubernetes: recommended labels); its value is `FIELD_MANAGER`."""
FINGERPRINT = "openframe.dev/fingerprint"
"""Annotation: what an object was applied as. Secrets have none: a digest of a short password gives it away."""


def key(obj: Mapping[str, Any]) -> Key:
    """The key of an object that has `apiVersion`, `kind` and `metadata.name`."""
    metadata = obj["metadata"]
    return Key(obj["apiVersion"], obj["kind"], metadata.get("namespace") or None, metadata["name"])


def is_secret(obj: Mapping[str, Any]) -> bool:
    """Whether an object is a Secret of Kubernetes itself, not a resource of that name of someone else."""
    return obj.get("kind") == "Secret" and obj.get("apiVersion") == "v1"


def is_namespace(obj: Mapping[str, Any]) -> bool:
    """Whether an object is a Namespace of Kubernetes itself."""
    return obj.get("kind") == "Namespace" and obj.get("apiVersion") == "v1"


def digest(value: object) -> str:
    """16 hexadecimal digits, the same for equal JSON values whatever their order. Fit for a label's value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def finish(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the label, unless another manager is named there, and with the fingerprint."""
    done = copy.deepcopy(dict(obj))
    metadata = done["metadata"]
    metadata["labels"] = {MANAGED_BY: FIELD_MANAGER, **(metadata.get("labels") or {})}
    annotations = {
        name: text for name, text in (metadata.pop("annotations", None) or {}).items() if name != FINGERPRINT
    }
    if annotations:
        metadata["annotations"] = annotations
    if not is_secret(done):
        metadata["annotations"] = {**annotations, FINGERPRINT: digest(done)}
    return done


def unmarked(obj: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without what `finish` has put into it: what the user's file says of the object."""
    metadata = dict(obj["metadata"])
    for part, name, own in (("labels", MANAGED_BY, FIELD_MANAGER), ("annotations", FINGERPRINT, None)):
        texts = metadata.pop(part, None) or {}
        rest = {key: text for key, text in texts.items() if key != name or own not in (None, text)}
        if rest:
            metadata[part] = rest
    return {**obj, "metadata": metadata}
