"""Which fields of an object other managers hold with another value than the desired one: by `managedFields`."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.kube.objects import Path, as_stored, index, shown

Item = Mapping[str, Any]

_NOTES = 6
"""Notes about one release or step; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """One field of an object that another manager holds, with another value than the desired one."""

    path: Path
    managers: tuple[str, ...]
    value: Any = field(repr=False)
    """In the cluster; it may be secret."""

    @property
    def shown(self) -> str:
        """For people: `spec.template.spec.containers[0].image`."""
        return shown(self.path)


def conflicts(desired: Item, live: Item, own: Collection[str]) -> list[Conflict]:
    """Fields of `desired` that managers that are not `own` hold with another value, by path."""
    fitted = as_stored(desired)
    found: dict[Path, tuple[set[str], Any]] = {}
    for entry in (live.get("metadata") or {}).get("managedFields") or ():
        part = entry.get("subresource")
        if entry.get("manager") in own or part == "status":
            continue
        name = f"{entry.get('manager') or 'unknown'}" + (f" ({part})" if part else "")
        for path, value in _contested(entry.get("fieldsV1") or {}, fitted, live, ()):
            found.setdefault(path, (set(), value))[0].add(name)
    return [
        Conflict(path=path, managers=tuple(sorted(names)), value=value)
        for path, (names, value) in sorted(found.items(), key=lambda each: shown(each[0]))
    ]


def notes(whose: str, rows: Sequence[tuple[Item, Sequence[Conflict]]], outcome: str) -> tuple[str, ...]:
    """For the end of a run: one for each live object and set of managers. Never a value: it may be secret."""
    made: list[str] = []
    for item, found in rows:
        kind, metadata = str(item["kind"]).lower(), item["metadata"]
        within = f" in {metadata['namespace']}" if metadata.get("namespace") else ""
        for names in dict.fromkeys(each.managers for each in found):
            fields = ", ".join(each.shown for each in found if each.managers == names)
            where = f"{kind}/{metadata['name']}{within}"
            made.append(f"{whose}: {fields} of {where}, held by {' and '.join(names)}, is {outcome}")
    more = len(made) - _NOTES
    return (*made[:_NOTES], *((f"{whose}: the same of {more} more objects",) if more > 0 else ()))


def yielding(desired: Item, found: Sequence[Conflict], *, omit: bool) -> dict[str, Any]:
    """The object without those fields, or, if not `omit`, with the values that the other managers have set."""
    made: dict[str, Any] = copy.deepcopy(dict(desired))
    for each in found:
        *above, last = each.path
        if each.path[0] == "data" and last in (made.get("stringData") or {}):
            del made["stringData"][last]
            if not omit:
                made.setdefault("data", {})[last] = each.value
            continue
        place: Any = made
        for part in above:
            place = place[part]
        if omit:
            del place[last]
        else:
            place[last] = each.value
    return made


def _contested(fields: Item, desired: Any, live: Any, path: Path) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401
    """Path and live value of each field in the set that is desired and differs."""
    for name, inner in fields.items():
        kind, _, text = name.partition(":")
        step: str | int | None = None
        if kind == "f" and isinstance(desired, Mapping) and isinstance(live, Mapping):
            step, mine, theirs = text, desired.get(text), live.get(text)
        elif kind == "k" and isinstance(desired, list) and isinstance(live, list):
            keys = json.loads(text)
            step, there = index(desired, keys), index(live, keys)
            if step is not None:
                mine, theirs = desired[step], None if there is None else live[there]
        # all else has no value of its own: `.` is the existence of a structure, `v:` a member of a set
        if step is None or mine is None or theirs is None:
            continue
        if any(each != "." for each in inner):
            yield from _contested(inner, mine, theirs, (*path, step))
        elif not inner and mine != theirs:
            yield (*path, step), theirs
