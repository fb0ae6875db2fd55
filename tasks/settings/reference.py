"""The list of all settings and their JSON schema, written from the tree: `python -m tasks.settings.reference`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.settings.fields import Tree
from tasks.settings.origin import dotted
from tasks.settings.private import as_text
from tasks.settings.schema import schema
from tasks.settings.shape import Kind, Shape, fields, places
from tasks.settings.tree import Settings

COMMAND = "python -m tasks.settings.reference"
LIST, SCHEMA = Path("docs/reference/settings.md"), Path("docs/reference/settings.schema.json")
_BEGIN, _END = f"<!-- from here on written by `{COMMAND}` -->", "<!-- up to here -->"


def texts(root: Path) -> dict[Path, str]:
    """Both files as they should be, by their paths in the project. What people write of settings stays as it is."""
    before, _, rest = (root / LIST).read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    return {
        LIST: "\n".join([before + _BEGIN, "", *_tables(), _END]) + after,
        SCHEMA: json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
    }


def _tables() -> Iterator[str]:
    yield from ("## Variables", "", *_variables(), "")
    yield from ("## All settings", "", *_table(places(Settings)), "", "## Parts of lists", "")
    for path, shape in places(Settings):
        if shape.kind is Kind.ITEMS and shape.model is not None:
            yield from _part(dotted(path), shape.model)


def _part(path: str, model: type[Tree]) -> Iterator[str]:
    yield from (f"### {path}", "", f"{model.__doc__} Its name in paths is its `{model.KEY}`.", "")
    yield from (*_table(((name,), shape) for name, shape in fields(model).items()), "")
    for name, shape in fields(model).items():
        if shape.kind is Kind.TABLE and shape.model is not None:
            yield from (f"### {path}.*.{name}.*", "", f"{shape.model.__doc__}", "")
            yield from (*_table(((key,), each) for key, each in fields(shape.model).items()), "")


def _variables() -> Iterator[str]:
    yield "| variable | default | setting |"
    yield "| --- | --- | --- |"
    for path, shape in places(Settings):
        if shape.env is not None:
            yield f"| {shape.env} | {_default(shape)} | `{dotted(path)}` |"
    for secret in Settings().secrets:
        for key, source in secret.values.items():
            if source.env is not None:
                yield f"| {source.env} | | the value `{key}` of the secret `{secret.name}`; empty: it is skipped |"


def _table(rows: Any) -> Iterator[str]:  # noqa: ANN401 - pairs of a path and its Shape
    yield "| setting | must be | default | variable | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for path, shape in rows:
        unit = f" ({shape.unit})" if shape.unit not in (None, "CPUs") else ""
        cells = [f"`{dotted(path)}`", f"{shape.expected}{unit}", _default(shape), shape.env or "", shape.meaning]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(shape: Shape) -> str:
    if shape.required:
        return "*required*"
    if shape.kind is Kind.ITEMS and shape.model is not None:
        return ", ".join(str(each[shape.model.KEY]) for each in shape.default) or "none"
    value = shape.default
    if isinstance(value, tuple):
        return " ".join(value) or "none"
    if isinstance(value, dict):
        return "<br>".join(f"{name}: {each}" for name, each in value.items()) or "none"
    return f"`{as_text(value)}`"


def write(root: Path) -> None:
    """Write both files."""
    for path, text in texts(root).items():
        (root / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parents[2])
