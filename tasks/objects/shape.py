"""What every Kubernetes object has, asked before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.errors import BadInput


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
