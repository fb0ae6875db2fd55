"""The JSON schema of invoke.yaml and of profiles, for editors; generated from the tree."""

from __future__ import annotations

from typing import Any

from tasks.settings.fields import Tree
from tasks.settings.invoke_file import INVOKES, OURS, PROFILE
from tasks.settings.shape import Kind, Shape, fields
from tasks.settings.tree import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MAPPING = ["object", "null"]
_WORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def schema() -> dict[str, Any]:
    """Draft 2020-12. A file with a name of invoke's, or with ours, is invoke.yaml; any other is a profile."""
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
    """A part; `needed`: with all that a new one in a list must have."""
    leaves = model.model_json_schema(mode="validation")["properties"]
    made: dict[str, Any] = {
        "type": "object" if needed else _MAPPING,
        "properties": {name: _place(shape, leaves[name], definitions) for name, shape in fields(model).items()},
        "additionalProperties": False,
    }
    required = [name for name, shape in fields(model).items() if shape.required]
    return {**made, "required": required} if needed and required else made


def _place(shape: Shape, leaf: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    told = {"description": description(shape)}
    if shape.kind is Kind.SECTION and shape.model is not None:
        return {**_section(shape.model, definitions), **told}
    if shape.kind is Kind.ITEMS and shape.model is not None:
        name = shape.model.__name__
        definitions[name] = _section(shape.model, definitions, needed=True)
        definitions[f"{name}.change"] = _section(shape.model, definitions)
        part: dict[str, Any] = {"$ref": f"#/$defs/{name}"}
        items = {"anyOf": [{"type": "string"}, part]} if shape.model.SHORT else part
        return {
            **told,
            "anyOf": [
                {"type": "array", "items": items},
                {"type": _MAPPING, "additionalProperties": {"$ref": f"#/$defs/{name}.change"}},
            ],
        }
    if shape.kind is Kind.FREE:
        return {**told, "type": _MAPPING}
    if shape.kind is Kind.TABLE:
        inner = _section(shape.model, definitions) if shape.model is not None else {"type": ["string", "null"]}
        return {**told, "type": _MAPPING, "additionalProperties": inner}
    return {**_standard(leaf), **told}


def _standard(leaf: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Without what is ours alone. Where a validator stands before a bound, pydantic leaves it in words of its own."""
    if isinstance(leaf, list):
        return [_standard(each) for each in leaf]
    if not isinstance(leaf, dict):
        return leaf
    return {
        _WORDS.get(key, key): _standard(value) for key, value in leaf.items() if key not in ("title", "env", "unit")
    }


def description(shape: Shape) -> str:
    """What a setting means, with its unit and its variable."""
    more = [f"In {shape.unit}." if shape.unit else "", f"Variable: {shape.env}." if shape.env else ""]
    return " ".join(part for part in (shape.meaning, *more) if part)
