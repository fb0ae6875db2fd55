"""The layers above the built-in defaults, as they are written: files, variables, options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as File
from typing import Any

from tasks.errors import BadInput
from tasks.settings.origin import ENVIRONMENT, OPTION, PROFILE, Layer, Origin, parts
from tasks.settings.private import told
from tasks.settings.problems import Problem
from tasks.settings.reading import parsed, read
from tasks.settings.shape import Kind, Shape, below, places, section
from tasks.settings.tree import Settings

Tell = Callable[[Problem], None]
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_PATHS = "its names are joined by dots; `invoke config` shows all"
_LONGEST = 40
"""Names in a path."""


def of_profile(path: File, shown: str, tell: Tell) -> Layer:
    """A profile's file. Settings stand at its top. Raises `BadInput` where it cannot be read."""
    found = read(path, shown, "a profile")
    origin = Origin(layer=PROFILE, name=shown)
    layer = Layer(data=found.data, origin=origin, lines=found.lines)
    if not isinstance(found.data, dict):
        return layer
    data = dict(found.data)
    if data.pop("profile", None) is not None:
        why = "a profile cannot choose another one"
        tell(Problem(origin=layer.at(("profile",)), what="profile is set", why=why, fix="take it out"))
    if "openframe" in data:
        data.pop("openframe")
        why = "in a profile the settings stand at the top; only invoke.yaml has them below a name of their own"
        tell(Problem(origin=layer.at(("openframe",)), what="there is no setting 'openframe'", why=why))
    return Layer(data=data, origin=origin, lines=found.lines)


def of_environment(environ: Mapping[str, str]) -> list[Layer]:
    """One layer for each variable that is set; an empty one counts as not set."""
    return [
        Layer(data=_nested(path, environ[shape.env]), origin=Origin(layer=ENVIRONMENT, name=shape.env))
        for path, shape in places(Settings)
        if shape.env is not None and path != ("profile",) and environ.get(shape.env, "").strip()
    ]


def of_options(sets: tuple[str, ...], tell: Tell) -> list[Layer]:
    """One layer for each `--set path=value`."""
    found = []
    for text in sets:
        layer = _of_option(text, tell)
        if layer is not None:
            found.append(layer)
    return found


def _of_option(text: str, tell: Tell) -> Layer | None:
    name, equals, value = text.partition("=")
    path = parts(name.strip())
    origin, shown = Origin(layer=OPTION, name="--set"), told((), name.strip())

    if not equals:
        what, why, fix = f"{shown} has no value", "it is written --set path=value", _PATHS
    elif not all(path) or len(path) > _LONGEST or not name.isprintable():
        what, why, fix = f"{shown} is no setting", "its path is too long, or has an empty name in it", _PATHS
    else:
        try:
            return Layer(data=_nested(path, _value(value, _shape(path))), origin=origin)
        except BadInput as error:
            what, why, fix = f"the value of {shown} cannot be read", error.why, "put it in quotes"
    tell(Problem(origin=origin, what=what, why=why, fix=fix))
    return None


def _value(text: str, shape: Shape | None) -> Any:  # noqa: ANN401 - any JSON value
    """A value as YAML reads it. Where a text is wanted it stays one: 1.32, on, or what YAML could not read."""
    wanted = shape is not None and shape.text
    if text.strip() in _NOTHING:
        return None
    try:
        value = parsed(text, "the value").data
    except BadInput:
        if wanted:
            return text
        raise
    if wanted and not isinstance(value, str | list):
        return text
    return value


def _shape(path: tuple[str, ...]) -> Shape | None:
    shape: Shape | None = section(Settings)
    for name in path:
        if shape is None or shape.kind is Kind.LEAF:
            return None
        shape = below(shape, name)
    return shape


def _nested(path: tuple[str, ...], value: Any) -> Any:  # noqa: ANN401 - any JSON value
    for name in reversed(path):
        value = {name: value}
    return value
