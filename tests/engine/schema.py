"""Validates a JSON document by the few keywords that our schemas use; an unknown keyword is an error."""

import re
from collections.abc import Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "null": (type(None),),
    "boolean": (bool,),
}
_KNOWN = frozenset(
    {"$schema", "title", "description", "type", "additionalProperties", "required", "properties", "items"}
    | {"enum", "const", "minimum", "minLength", "pattern"}
)


def problems(value: Any, schema: Mapping[str, Any], at: str = "$") -> list[str]:
    """What is wrong with a document, each with its place; nothing for a valid one."""
    assert set(schema) <= _KNOWN, set(schema) - _KNOWN
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(isinstance(value, _TYPES[n]) and isinstance(value, bool) == (n == "boolean") for n in names):
        return [f"{at}: {value!r} is not {' or '.join(names)}"]
    found = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{at}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is not one of {schema['enum']}")
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        found.append(f"{at}: {value} is less than {schema['minimum']}")
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        found.append(f"{at}: too short")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{at}: {value!r} does not match {schema['pattern']}")
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        found += [f"{at}: lacks {name}" for name in schema.get("required", []) if name not in value]
        if schema.get("additionalProperties") is False:
            found += [f"{at}: unknown {name}" for name in value if name not in fields]
        for name, part in fields.items():
            if name in value:
                found += problems(value[name], part, f"{at}.{name}")
    if isinstance(value, list):
        for index, part in enumerate(value):
            found += problems(part, schema.get("items", {}), f"{at}[{index}]")
    return found
