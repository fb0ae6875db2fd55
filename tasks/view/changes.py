"""What a launch would change: coloured diff lines for display; and as data."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.core.redact import redact
from tasks.core.units import count
from tasks.kube.changes import CHANGE, CREATE, DELETE
from tasks.view.console import UNICODE, Line, Marks, line, wrap

if TYPE_CHECKING:
    from tasks.kube.changes import Change, FieldChange
    from tasks.run.difference import Changes

_SIGNS: Mapping[str, tuple[str, str]] = {CREATE: ("+", "good"), CHANGE: ("~", "warn"), DELETE: ("-", "bad")}
_CREATED: Mapping[str, tuple[str, str, str]] = {
    "absent": ("+", "good", "it would be created"),
    "recreated": ("-/+", "bad", "it would be removed with everything in it, and created again"),
}
_TOTALS = {
    "absent": "cluster to create",
    "recreated": "cluster to recreate",
    "stopped": "cluster to start",
    "paused": "cluster to resume",
}
_SHORT = 100
"""Characters of both values of a field that are shown in one line."""
_LINES = 40
"""Lines of one text's diff that are shown; the rest is counted."""


def text(found: Changes, *, width: int | None = None, marks: Marks = UNICODE) -> list[Line]:
    """Lines of at most `width` columns."""
    if not found.any:
        return [line((marks.ran, "good"), " no differences: everything is as configured")]
    lines = [each for part in (_cluster(found), _objects(found.objects, "objects")) for each in _joined(part)]
    for each in found.releases:
        sign = _SIGNS[each.action]
        head = line((f"{sign[0]} release {each.release}", sign[1]), f": {each.why}")
        rows = list(_changes(each.objects, "  "))
        if each.fault:
            rows = [line("    ", (f"what would change is unknown: {each.fault}", "bad"))]
        elif not rows and each.action == CHANGE:
            rows = [line("    ", ("none of its objects would change", "dim"))]
        lines += _joined([head, *rows]) if rows else [head]
    if lines[-1].text:
        lines.append(line())
    fitted = [each for row in lines for each in _fitted(row, width)]
    return [*fitted, *_fitted(line((_total(found), "strong")), width)]


def _joined(rows: Sequence[Line]) -> list[Line]:
    return [*rows, line()] if rows else []


def _cluster(found: Changes) -> list[Line]:
    if found.presence in _CREATED:
        sign, style, what = _CREATED[found.presence]
        head = line((f"{sign} cluster {found.cluster}", style), f": {what}")
        return [head, *(line("    ", each) for each in found.settings)]
    rows = [line("  ", ("~ ", "warn"), each) for each in found.settings]
    rows += [line("  ", ("~ ", "warn"), f"{name}: {why}" if why else name) for name, why in found.steps]
    if found.presence in ("stopped", "paused"):
        why = f": {found.presence}; its differences are visible only when it runs"
        head = line((f"~ cluster {found.cluster}", "warn"), why)
        return [head, *rows]
    return [line((f"~ cluster {found.cluster}", "warn")), *rows] if rows else []


def _objects(found: Iterable[Change], title: str) -> list[Line]:
    rows = list(_changes(found, ""))
    return [line((title, "strong")), *rows] if rows else []


def _changes(found: Iterable[Change], indent: str) -> Iterator[Line]:
    for each in found:
        sign, style = _SIGNS[each.action]
        yield line(f"{indent}  ", (f"{sign} {each.what}", style))
        for field in each.fields:
            yield from _field(field, f"{indent}      ")
        if each.note:
            yield line(f"{indent}      ", (each.note, "bad" if each.action == CHANGE else "warn"))


def _field(field: FieldChange, indent: str) -> Iterator[Line]:
    """One line for short values, a line diff for long texts."""
    if field.secret:
        yield line(indent, f"{field.path}: ", ("changed (its value is not shown)", "warn"))
        return
    before, after = field.before, field.after
    if "\n" not in (both := f"{before or ''}{after or ''}") and len(both) <= _SHORT:
        yield line(indent, f"{field.path}: ", _value(before, "bad"), " → ", _value(after, "good"))
        return
    yield line(indent, f"{field.path}:")
    rows = difflib.unified_diff((before or "").splitlines(), (after or "").splitlines(), n=1, lineterm="")
    shown = [each for each in list(rows)[2:] if not each.startswith("@@")]
    for each in shown[:_LINES]:
        yield line(f"{indent}  ", (f"{each[0]} {each[1:]}", {"+": "good", "-": "bad"}.get(each[0], "dim")))
    if len(shown) > _LINES:
        yield line(f"{indent}  ", (f"and {count(len(shown) - _LINES, 'more line')}", "dim"))


def _value(value: str | None, style: str) -> tuple[str, str]:
    return ("none", "dim") if value is None else (value or '""', style)


def _fitted(row: Line, width: int | None) -> list[Line]:
    """Wrapped with its own indent; in the colours of its parts if it fits, else in that of its first mark."""
    if width is None or len(row.text) <= width:
        return [row]
    indent = len(row.text) - len(row.text.lstrip())
    style = next((style for part, style in row.parts if part.strip()), "")
    rest = " " * min(indent + 4, width // 2)
    parts = wrap(row.text.strip(), width, first=" " * indent, rest=rest, break_words=True)
    return [line((part, style)) for part in parts]


def _total(found: Changes) -> str:
    objects = [*found.objects, *(each for release in found.releases for each in release.objects)]
    numbers = {word: sum(each.action == word for each in objects) for word in _SIGNS}
    totals = [f"{number} to {word}" for word, number in numbers.items() if number]
    rows = []
    if found.presence != "running":
        rows.append(_TOTALS[found.presence])
    if found.settings and found.presence != "absent":
        rows.append(count(len(found.settings), "cluster setting"))
    if totals:
        rows.append(f"objects: {', '.join(totals)}")
    if found.releases:
        rows.append(count(len(found.releases), "release"))
    if found.steps:
        rows.append(count(len(found.steps), "other step"))
    return f"differences: {'; '.join(rows)}"


def document(found: Changes) -> dict[str, Any]:
    """As a JSON object; values that may be secret are null."""
    return {
        "cluster": found.presence,
        "settings": [redact(each) for each in found.settings],
        "steps": [{"name": name, "why": why} for name, why in found.steps],
        "objects": [_change(each) for each in found.objects],
        "releases": [
            {
                "release": each.release,
                "action": each.action,
                "why": each.why,
                "error": each.fault or None,
                "objects": [_change(one) for one in each.objects],
            }
            for each in found.releases
        ],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "object": change.what,
        "action": change.action,
        "note": change.note or None,
        "fields": [vars(each) for each in change.fields],
    }
