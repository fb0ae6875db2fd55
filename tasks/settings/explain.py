"""The settings in force as rows and as JSON: each value with the layer that has set it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.settings.merge import named, set_by
from tasks.settings.origin import Origin, as_text, dotted, masked
from tasks.settings.types import fields, place_of

if TYPE_CHECKING:
    from tasks.settings.resolve import Resolved
    from tasks.settings.types import Tree


class Row(NamedTuple):
    """One value."""

    path: str
    value: Any
    origin: Origin


def rows(resolved: Resolved, only: str = "") -> Iterator[Row]:
    """Every value whose path begins with `only`, in the tree's order; what may be secret is masked."""
    for path, value in _values(resolved.settings, ()):
        names = named(resolved.merged, path, place_of(type(resolved.settings)))
        shown = dotted(names)
        if shown.startswith(only):
            yield Row(shown, masked(names, value), set_by(resolved.merged, path))


def as_rows(resolved: Resolved, only: str) -> list[list[str]]:
    """Path, value and what has set it, for a table."""
    return [[row.path, as_text(row.value), row.origin.short] for row in rows(resolved, only)]


def as_json(resolved: Resolved, only: str) -> str:
    """One mapping by path: `{"settings_hash": …, "settings": {path: {"value", "layer", "source", "line"}}}`."""
    found = {
        row.path: {"value": row.value, "layer": row.origin.layer, "source": row.origin.name, "line": row.origin.line}
        for row in rows(resolved, only)
    }
    return json.dumps({"settings_hash": resolved.settings_hash, "settings": found}, indent=2, ensure_ascii=False)


def _values(part: Tree, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    from tasks.settings.types import Tree

    for name in fields(type(part)):
        value = getattr(part, name)
        if isinstance(value, Tree):
            yield from _values(value, (*path, name))
        elif isinstance(value, tuple) and value and isinstance(value[0], Tree):
            for number, each in enumerate(value):
                yield from _values(each, (*path, name, number))
        elif isinstance(value, dict):
            yield from _below(value, (*path, name))
        else:
            yield (*path, name), list(value) if isinstance(value, tuple) else value


def _below(value: dict[str, Any], path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    from tasks.settings.types import Tree

    if not value:
        yield path, {}
    for name, each in value.items():
        if isinstance(each, Tree):  # the source of a secret: only what is given
            given = each.model_dump(mode="json", exclude_none=True)
            yield from (((*path, name, key), inner) for key, inner in given.items())
        elif isinstance(each, dict) and each:
            yield from _below(each, (*path, name))
        else:
            yield (*path, name), each
