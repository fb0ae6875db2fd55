"""The kind of value at each place of the tree: how it merges, and what it must be."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache, partial
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.settings.types import Says, Tree


class Kind(Enum):
    """How a layer's value goes over the one below."""

    SECTION = "section"
    """Names are fixed; each is merged."""
    ITEMS = "items"
    """A list of parts: a list replaces it, a mapping by their names changes some of them."""
    TABLE = "table"
    """Names are free; each value is replaced, null takes it out."""
    FREE = "free"
    """Anything below: mappings merge, everything else is replaced, null is a value."""
    LEAF = "leaf"
    """One value, or a list of texts: replaced."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One place of the tree."""

    kind: Kind
    nullable: bool = False
    model: type[Tree] | None = None
    """Of a section, of the parts of a list, and of a table's values where they are parts."""
    text: bool = False
    """A text is wanted: 1.32 on the command line is not taken for a number."""
    says: str = ""
    choices: tuple[str, ...] = ()
    low: str = ""
    high: str = ""
    default: Any = None
    required: bool = False
    env: str | None = None
    unit: str | None = None
    meaning: str = ""

    @property
    def expected(self) -> str:
        """What a value must be, for people: `a whole number from 1 to 9, or null`."""
        text = " or ".join(self.choices) if self.choices else self.says
        ends = [f"{self.low}" if self.low else "", f"{self.high}" if self.high else ""]
        if all(ends) and not self.low.startswith("more"):
            text += f" from {self.low} to {self.high}"
        elif any(ends):
            text += " of " + " and ".join(end if end.startswith("more") else f"at most {end}" for end in ends if end)
        return f"{text}, or null" if self.nullable else text


@cache
def fields(model: type[Tree]) -> Mapping[str, Shape]:
    """The places below a part, in their order."""
    return {name: _field(info) for name, info in model.model_fields.items()}


def section(model: type[Tree]) -> Shape:
    """The place of a part itself."""
    return Shape(kind=Kind.SECTION, model=model, says="a mapping")


def below(shape: Shape, name: str) -> Shape | None:
    """The place under a name; None where the tree has no such name. In a list of parts every name is one's."""
    if shape.kind is Kind.FREE:
        return shape
    if shape.kind is Kind.ITEMS:
        assert shape.model is not None
        return section(shape.model)
    if shape.kind is Kind.TABLE:
        return section(shape.model) if shape.model is not None else Shape(kind=Kind.LEAF, text=True, says="a text")
    return fields(shape.model).get(name) if shape.kind is Kind.SECTION and shape.model is not None else None


def places(model: type[Tree], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Shape]]:
    """Every place that has a value of its own, with its path; parts of lists are not entered."""
    for name, shape in fields(model).items():
        if shape.kind is Kind.SECTION and shape.model is not None:
            yield from places(shape.model, (*path, name))
        else:
            yield (*path, name), shape


def _field(info: FieldInfo) -> Shape:
    shape = _annotated(info.annotation, list(info.metadata))
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    env, unit = extra.get("env"), extra.get("unit")
    return replace(
        shape,
        default=None if info.is_required() else info.default,
        required=info.is_required(),
        env=str(env) if env else None,
        unit=str(unit) if unit else None,
        meaning=info.description or "",
    )


def _annotated(annotation: Any, metadata: list[Any]) -> Shape:  # noqa: ANN401 - any type
    nullable = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            metadata = [*more, *metadata]
        elif origin in (Union, types.UnionType):
            (annotation,) = (each for each in get_args(annotation) if each is not type(None))
            nullable = True
        else:
            break
    return _plain(annotation, origin, nullable, metadata)


def _plain(annotation: Any, origin: Any, nullable: bool, metadata: list[Any]) -> Shape:  # noqa: ANN401 - any type
    says = next((each.text for each in reversed(metadata) if isinstance(each, Says)), "a mapping")
    made, inside = partial(Shape, nullable=nullable, says=says), get_args(annotation)
    if _is_tree(annotation):
        return made(kind=Kind.SECTION, model=annotation)
    if origin is dict:
        if inside[1] is Any:
            return made(kind=Kind.FREE)
        return made(kind=Kind.TABLE, model=inside[1] if _is_tree(inside[1]) else None)
    if origin is tuple and _is_tree(inside[0]):
        return made(kind=Kind.ITEMS, model=inside[0], says="a list, or a mapping by name")
    if origin is Literal:
        return made(kind=Kind.LEAF, choices=tuple(map(str, inside)), text=True)
    low, high = _range(metadata)
    text = annotation is str or (origin is tuple and "one text" in says)
    return made(kind=Kind.LEAF, text=text, low=low, high=high)


def _range(metadata: list[Any]) -> tuple[str, str]:
    flat = [part for each in metadata for part in (each.metadata if isinstance(each, FieldInfo) else [each])]
    low = high = ""
    for each in flat:
        if (value := getattr(each, "ge", None)) is not None:
            low = f"{value:g}"
        if (value := getattr(each, "gt", None)) is not None:
            low = f"more than {value:g}"
        if (value := getattr(each, "le", None)) is not None:
            high = f"{value:g}" if value < 1_000_000 else str(value)
    return low, high


def _is_tree(annotation: Any) -> bool:  # noqa: ANN401 - any type
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
