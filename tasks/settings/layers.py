"""Layers of settings: a profile, the environment, options of the command line."""

import re
from collections.abc import Mapping
from pathlib import Path as File
from typing import Any

from tasks.core.errors import BadInput
from tasks.settings.files import NAME, OURS, Report, parsed, read
from tasks.settings.origin import ENVIRONMENT, OPTION, PROFILE, Layer, Origin, Path, Problem, dotted, parts, quoted
from tasks.settings.schema import Settings
from tasks.settings.types import Kind, Spec, below, place_of, places

_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_PATHS = "its names are joined by dots; `invoke config` shows all"
_LONGEST = 40
"""Maximum number of names in a path."""
_WHOLE = "give the whole list: --set 'path=[a, b]', or 'path=[{name: a}]'"
_INDEX, _HELM_LIST = re.compile(r"\[\d+\]$"), re.compile(r"\{\s*[^:{}\s][^:{}]*\}")
_OPENING = ('"', "'", "[", "{", "!!")
"""How values begin that are always YAML: quotes, lists, mappings, and tags of YAML's own types."""
_COMMENT = re.compile(r"\s#")


def of_profile(path: File, shown: str, report: Report) -> Layer:
    """A profile's file, with settings at the top level. Raises `BadInput` if it cannot be read."""
    found = read(path, shown, "a profile")
    origin = Origin(layer=PROFILE, name=shown)
    layer = Layer(data=found.data, origin=origin, lines=found.lines)
    if not isinstance(found.data, dict):
        return layer
    data = dict(found.data)
    if data.pop("profile", None) is not None:
        why = "a profile cannot choose another one"
        report(Problem(origin=layer.at(("profile",)), what="profile is set", why=why, fix="remove it"))
    if OURS in data:
        data.pop(OURS)
        why = f"in a profile the settings are at the top level; only {NAME} has them below a name"
        report(Problem(origin=layer.at((OURS,)), what=f"there is no setting '{OURS}'", why=why))
    return Layer(data=data, origin=origin, lines=found.lines)


def of_environment(environ: Mapping[str, str]) -> list[Layer]:
    """One layer for each variable that is set; an empty one counts as unset, and blanks around a value do not count."""
    return [
        Layer(data=_nested(path, environ[spec.env].strip()), origin=Origin(layer=ENVIRONMENT, name=spec.env))
        for path, spec in places(Settings)
        if spec.env is not None and path != ("profile",) and environ.get(spec.env, "").strip()
    ]


def of_options(sets: tuple[str, ...], report: Report) -> list[Layer]:
    """One layer for each `--set path=value`."""
    return [layer for text in sets if (layer := _of_option(text, report)) is not None]


def _of_option(text: str, report: Report) -> Layer | None:
    name, equals, value = text.partition("=")
    path = _joined(parts(name.strip()))
    origin, shown = Origin(layer=OPTION, name="--set"), quoted((), name.strip())

    if not equals:
        what, why, fix = f"{shown} has no value", "it is written --set path=value", _PATHS
    elif not all(path) or len(path) > _LONGEST or not name.isprintable():
        what, why, fix = f"{shown} is not a setting", "its path is too long, or has an empty name in it", _PATHS
    elif path[0] == OURS:
        what, why = f"there is no setting {shown}", f"only {NAME} has the settings below the name '{OURS}'"
        fix = f"write --set {dotted(path[1:]) or 'path'}={'…' if equals else ''}"
    elif any(_INDEX.search(part) for part in path):
        what, why, fix = f"{shown} is not a setting", "a part of a list has no name here, as it has in Helm", _WHOLE
    elif _HELM_LIST.fullmatch(value.strip()):
        what, why, fix = f"the value of {shown} is no list", "braces make a mapping here, not a list as in Helm", _WHOLE
    else:
        try:
            return Layer(data=_nested(path, _value(value, spec_of(path))), origin=origin)
        except BadInput as error:
            what, why, fix = f"the value of {shown} cannot be read", error.why, "put it in quotes"
    report(Problem(origin=origin, what=what, why=why, fix=fix))
    return None


def _value(text: str, spec: Spec | None) -> Any:  # noqa: ANN401 - any JSON value
    """A list, a mapping or quoted text is parsed as YAML, and so are numbers and booleans; other text stays as it is.

    A string setting stays a string: 1.32, on.
    """
    wanted, text = spec is not None and spec.text, text.strip()
    if text in _NOTHING:
        return None
    plain = not text.startswith(_OPENING)
    try:
        value = parsed(text, "the value").data
    except BadInput:
        if wanted or plain:
            return text
        raise
    if isinstance(value, list) or (isinstance(value, dict) and not wanted):
        return value
    if isinstance(value, str):
        return text if plain else value
    return text if wanted or (plain and _COMMENT.search(text)) else value


def _joined(path: Path) -> Path:
    """The path with the names below a table of texts as one: keys of labels have dots, and nothing is below them."""
    for length in range(1, len(path) - 1):
        spec = spec_of(path[:length])
        if spec is not None and spec.kind is Kind.TABLE and spec.model is None:
            return (*path[:length], ".".join(path[length:]))
    return path


def spec_of(path: tuple[str, ...]) -> Spec | None:
    """The place of the tree for a path; None if there is none."""
    spec: Spec | None = place_of(Settings)
    for name in path:
        if spec is None or spec.kind is Kind.LEAF:
            return None
        spec = below(spec, name)
    return spec


def _nested(path: tuple[str, ...], value: Any) -> Any:  # noqa: ANN401 - any JSON value
    for name in reversed(path):
        value = {name: value}
    return value
