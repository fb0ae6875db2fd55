"""The list of all settings and their JSON schema, generated from the tree: `python -m tasks.settings.documentation`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.settings.files import INVOKES, OURS, PROFILE
from tasks.settings.origin import as_text, dotted
from tasks.settings.schema import Settings
from tasks.settings.types import Kind, Spec, Tree, fields, places

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MAPPING = ["object", "null"]
_WORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def schema() -> dict[str, Any]:
    """Draft 2020-12. A file with top-level names of invoke, or with ours, is invoke.yaml; any other is a profile."""
    definitions: dict[str, Any] = {}
    settings = {**_section(Settings, definitions), "description": "The settings of this project."}
    top: dict[str, Any] = {name: {"description": "invoke's own"} for name in sorted(INVOKES)}
    top[OURS] = {"$ref": "#/$defs/settings"}
    top[PROFILE] = settings["properties"][PROFILE]
    marks = [name for name in (OURS, PROFILE, *sorted(INVOKES)) if name != "timeouts"]
    return {
        "$schema": DIALECT,
        "title": "Settings: invoke.yaml, and profiles under config/",
        "if": {"type": "object", "anyOf": [{"required": [name]} for name in marks]},
        "then": {"$ref": "#/$defs/invoke.yaml"},
        "else": {"$ref": "#/$defs/settings"},
        "$defs": {
            "invoke.yaml": {"type": _MAPPING, "properties": top, "additionalProperties": False},
            "settings": settings,
            **definitions,
        },
    }


def _section(model: type[Tree], definitions: dict[str, Any], *, needed: bool = False) -> dict[str, Any]:
    """A part; `needed`: with the required fields of a new list item."""
    leaves = model.model_json_schema(mode="validation")["properties"]
    made: dict[str, Any] = {
        "type": "object" if needed else _MAPPING,
        "properties": {name: _place(spec, leaves[name], definitions) for name, spec in fields(model).items()},
        "additionalProperties": False,
    }
    required = [name for name, spec in fields(model).items() if spec.required]
    return {**made, "required": required} if needed and required else made


def _place(spec: Spec, leaf: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    described = {"description": description(spec)}
    if spec.kind is Kind.SECTION and spec.model is not None:
        return {**_section(spec.model, definitions), **described}
    if spec.kind is Kind.ITEMS and spec.model is not None:
        name = spec.model.__name__
        definitions[name] = _section(spec.model, definitions, needed=True)
        definitions[f"{name}.change"] = _section(spec.model, definitions)
        part: dict[str, Any] = {"$ref": f"#/$defs/{name}"}
        items = {"anyOf": [{"type": "string"}, part]} if spec.model.SHORT else part
        return {
            **described,
            "anyOf": [
                {"type": "array", "items": items},
                {"type": _MAPPING, "additionalProperties": {"$ref": f"#/$defs/{name}.change"}},
            ],
        }
    if spec.kind is Kind.FREE:
        return {**described, "type": _MAPPING}
    if spec.kind is Kind.TABLE:
        inner = _section(spec.model, definitions) if spec.model is not None else {"type": ["string", "null"]}
        return {**described, "type": _MAPPING, "additionalProperties": inner}
    return {**_standard(leaf), **described}


def _standard(leaf: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Without our own additions. Before a bound, pydantic represents a validator in its own words."""
    if isinstance(leaf, list):
        return [_standard(each) for each in leaf]
    if not isinstance(leaf, dict):
        return leaf
    return {
        _WORDS.get(key, key): _standard(value) for key, value in leaf.items() if key not in ("title", "env", "unit")
    }


def description(spec: Spec) -> str:
    """The meaning of a setting, with its unit and its variable."""
    more = [f"In {spec.unit}." if spec.unit else "", f"Variable: {spec.env}." if spec.env else ""]
    return " ".join(part for part in (spec.meaning, *more) if part)


COMMAND = "python -m tasks.settings.documentation"
LIST, SCHEMA = Path("docs/reference/settings.md"), Path("docs/reference/settings.schema.json")
_BEGIN, _END = f"<!-- from here on written by `{COMMAND}` -->", "<!-- up to here -->"


def texts(root: Path) -> dict[Path, str]:
    """Both generated files, by path in the project. Hand-written text about settings is preserved."""
    before, _, rest = (root / LIST).read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    return {
        LIST: "\n".join([before + _BEGIN, "", *_tables(), _END]) + after,
        SCHEMA: json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
    }


def _tables() -> Iterator[str]:
    yield from ("## Variables", "", *_variables(), "")
    yield from ("## All settings", "", *_table(places(Settings)), "", "## Parts of lists", "")
    for path, spec in places(Settings):
        if spec.kind is Kind.ITEMS and spec.model is not None:
            yield from _part(dotted(path), spec.model)


def _part(path: str, model: type[Tree]) -> Iterator[str]:
    yield from (f"### {path}", "", f"{model.__doc__} Its name in paths is its `{model.KEY}`.", "")
    yield from (*_table(((name,), spec) for name, spec in fields(model).items()), "")
    for name, spec in fields(model).items():
        if spec.kind is Kind.TABLE and spec.model is not None:
            yield from (f"### {path}.*.{name}.*", "", f"{spec.model.__doc__}", "")
            yield from (*_table(((key,), each) for key, each in fields(spec.model).items()), "")


def _variables() -> Iterator[str]:
    yield "| variable | default | setting |"
    yield "| --- | --- | --- |"
    for path, spec in places(Settings):
        if spec.env is not None:
            yield f"| {spec.env} | {_default(spec)} | `{dotted(path)}` |"
    for secret in Settings().secrets:
        for key, source in secret.values.items():
            if source.env is not None:
                yield f"| {source.env} | | the value `{key}` of the secret `{secret.name}`; empty: it is skipped |"


def _table(rows: Any) -> Iterator[str]:  # noqa: ANN401 - pairs of a path and its Shape
    yield "| setting | must be | default | variable | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for path, spec in rows:
        unit = f" ({spec.unit})" if spec.unit not in (None, "CPUs") else ""
        cells = [f"`{dotted(path)}`", f"{spec.expected}{unit}", _default(spec), spec.env or "", spec.meaning]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(spec: Spec) -> str:
    if spec.required:
        return "*required*"
    if spec.kind is Kind.ITEMS and spec.model is not None:
        return ", ".join(str(each[spec.model.KEY]) for each in spec.default) or "none"
    value = spec.default
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
