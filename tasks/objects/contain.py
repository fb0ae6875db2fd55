"""Whether one JSON value is contained in another, as the API server changes and completes what it is given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from tasks.objects.quantity import quantity

Path = tuple[str | int, ...]
"""Names of fields and numbers of items, from the top."""

_ATOMIC = frozenset({"ingress", "egress", "from", "to", "rules", "subjects", "limits"})
"""Lists that server-side apply replaces whole: an item more is a change, and applying again takes it away.

In others it would stay: it is admission's, or someone else's (Kubernetes: server-side apply, merge strategy).
"""
_AMOUNTS = frozenset({"requests", "limits", "hard", "capacity", "default", "defaultRequest", "max", "min", "podFixed"})
"""Mappings whose values are quantities."""
_AMOUNT = frozenset({"sizeLimit", "divisor", "averageValue"})
_LITERAL = frozenset({"metadata", "labels", "annotations", "matchLabels", "nodeSelector", "data", "parameters"})
"""Below these a text is a text, though it may look like a quantity."""
_IDENTITY = ("name", "key", "ip", "mountPath", "containerPort", "port", "type")
"""What tells the items of a list apart: the first of these that an item has."""
_ABSENT = object()


def differences(wanted: Mapping[str, Any], live: Mapping[str, Any], path: Path = ()) -> list[str]:
    """Fields of `wanted` that `live` has not, or has otherwise, as `spec.ports[0].port`. Empty: it is contained.

    Contained too are a field without a value that was left out, a quantity in another spelling, base64
    with other line breaks, mappings with more fields, and lists with other items between ours.
    """
    return [each for name, value in wanted.items() for each in _value(value, live.get(name, _ABSENT), (*path, name))]


def shown(path: Path) -> str:
    """A path as text."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _value(wanted: Any, live: Any, path: Path) -> list[str]:  # noqa: ANN401
    if wanted is None or (live is _ABSENT and _says_nothing(wanted)):
        return []
    if isinstance(wanted, dict) and isinstance(live, dict):
        return differences(wanted, live, path)
    if isinstance(wanted, list) and isinstance(live, list):
        return _list(wanted, live, path)
    return [] if _equal(wanted, live, path) else [shown(path)]


def _says_nothing(value: Any) -> bool:  # noqa: ANN401
    """The server leaves out "", 0, false and empty collections in many fields."""
    return not value or (isinstance(value, dict) and all(_says_nothing(inner) for inner in value.values()))


def _equal(wanted: Any, live: Any, path: Path) -> bool:  # noqa: ANN401
    if isinstance(wanted, bool) or isinstance(live, bool):
        return wanted is live
    if wanted == live:
        return True
    *above, last = [part for part in path if isinstance(part, str)]
    if above[-1:] == ["binaryData"]:
        return _bytes(wanted) == _bytes(live)
    amount = last in _AMOUNT or not _AMOUNTS.isdisjoint(above[-1:])
    if not amount or not _LITERAL.isdisjoint(above):
        return False
    number = quantity(wanted)
    return number is not None and number == quantity(live)


def _list(wanted: list[Any], live: list[Any], path: Path) -> list[str]:
    whole = not _ATOMIC.isdisjoint(path)  # what is within an atomic list is atomic
    if not wanted:
        return [shown(path)] if whole and live else []
    if not any(isinstance(item, dict) for item in wanted):
        # lists of texts are replaced whole too, but for finalizers: others add theirs
        kept = [item for item in live if item in wanted] if path[-1] == "finalizers" else live
        same = len(wanted) == len(kept) and all(not _value(*pair, path) for pair in zip(wanted, kept, strict=True))
        return [] if same else [shown(path)]
    if whole:
        if len(wanted) != len(live):
            return [shown(path)]
        pairs = enumerate(zip(wanted, live, strict=True))
        return [each for number, pair in pairs for each in _value(*pair, (*path, number))]
    found: list[str] = []
    start = 0
    for number, item in enumerate(wanted):
        where = (*path, number)
        at = next((n for n in range(start, len(live)) if not _value(item, live[n], where)), None)
        if at is None:
            near = _counterpart(item, live)
            found += (_value(item, near, where) if near is not None else []) or [shown(where)]
        else:
            start = at + 1
    return found


def _counterpart(item: Any, live: list[Any]) -> dict[str, Any] | None:  # noqa: ANN401
    """The item of the same name, to say which of its fields differs."""
    if not isinstance(item, dict):
        return None
    name = next((each for each in _IDENTITY if each in item), None)
    return next((each for each in live if isinstance(each, dict) and name and each.get(name) == item[name]), None)


def _bytes(value: Any) -> bytes | None:  # noqa: ANN401
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return value.encode()
