"""What every Kubernetes object has, asked before anything is made of it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.clients.kubectl import FIELD_MANAGER
from tasks.core.digest import sha256
from tasks.core.errors import BadInput
from tasks.kube.resources import Key


def opened(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: ANN401 - what a file held
    """A document's object, or those of its list, each with its place. Raises `BadInput` for what is none."""
    if _is_list(value):
        for number, item in enumerate(value["items"], 1):
            yield from opened(item, f"{place}, item {number}")
    else:
        yield place, _checked(value, place)


def refused(place: str, why: str) -> BadInput:
    """The error for what cannot be applied."""
    return BadInput(f"{place} is no object that can be applied", why=why, fix="correct it there, then run it again")


def _is_list(value: Any) -> bool:  # noqa: ANN401
    """Whether it is `kind: List` or a typed list: an object that merely is called so has a name."""
    if not isinstance(value, dict) or not isinstance(value.get("items"), list):
        return False
    metadata = value.get("metadata")
    named = isinstance(metadata, dict) and bool(metadata.get("name"))
    return str(value.get("kind", "")).endswith("List") and not named


def _checked(obj: Any, place: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(obj, dict):
        raise refused(place, f"it is a {type(obj).__name__}, not an object with apiVersion, kind and metadata")
    for field in ("apiVersion", "kind"):
        if not isinstance(obj.get(field), str) or not obj[field]:
            raise refused(place, f"it has no {field}")
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise refused(place, "it has no metadata")
    if not isinstance(metadata.get("name"), str) or not metadata["name"]:
        more = "; generateName would make another object at every run" if "generateName" in metadata else ""
        raise refused(place, f"it has no metadata.name{more}")
    if not isinstance(metadata.get("namespace") or "", str):
        raise refused(place, "metadata.namespace is no text")
    for field in ("labels", "annotations"):
        texts = metadata.get(field) or {}
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise refused(place, f"metadata.{field} holds a value that is no text; put it in quotes")
    return obj


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


def deletion_blockers(namespace: Mapping[str, Any]) -> str:
    """What an object that is being deleted still waits for (Kubernetes: conditions of a namespace)."""
    rows = (namespace.get("status") or {}).get("conditions") or ()
    told = [str(row.get("message", "")) for row in rows if row.get("status") == "True" and row.get("message")]
    return "; ".join(told) or "it is being deleted"


def digest(value: object) -> str:
    """16 hexadecimal digits, the same for equal JSON values whatever their order. Fit for a label's value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text, 16)


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


def fill(value: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON value, and the same kind comes back
    """A copy with `${NAME}` replaced in every text, for the names given; `$${NAME}` becomes the text `${NAME}`.

    Keys, other names (with one `$` or two) and every other `$` stay as they are; what was filled in is not looked at
    again.
    """
    if not values:
        return value
    pattern = re.compile(r"\$(\$?)\{(" + "|".join(map(re.escape, values)) + r")\}")

    def filled(part: Any) -> Any:  # noqa: ANN401
        if isinstance(part, str):
            return pattern.sub(lambda found: found[0][1:] if found[1] else values[found[2]], part)
        if isinstance(part, dict):
            return {name: filled(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [filled(inner) for inner in part]
        return part

    return filled(value)


def repeat(value: Any, name: str, texts: Sequence[str]) -> Any:  # noqa: ANN401
    """A copy in which an item of a list that holds `${NAME}` comes once for each text, with it filled in.

    Of lists within each other the innermost repeats. Where no list is around it, `${NAME}` stays; so does `$${NAME}`.
    """
    if isinstance(value, dict):
        return {key: repeat(inner, name, texts) for key, inner in value.items()}
    if not isinstance(value, list):
        return value
    done: list[Any] = []
    for item in (repeat(inner, name, texts) for inner in value):
        copies = [fill(item, {name: text}) for text in texts]
        named = fill(item, {name: ""}) != fill(item, {name: "x"})  # but for `$${NAME}`, which is a text
        done += copies if named else [item]
    return done
