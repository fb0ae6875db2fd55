"""The layers above the built-in defaults, as they are written: files, variables, options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pathlib import Path as File
from typing import Any

from tasks.core.errors import BadInput
from tasks.settings.files import parsed, read
from tasks.settings.origin import ENVIRONMENT, OPTION, PROFILE, Layer, Origin, Problem, nearest, parts, quoted
from tasks.settings.schema import Settings
from tasks.settings.types import Kind, Shape, below, place_of, places
from tasks.settings.words import folder

Report = Callable[[Problem], None]
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_PATHS = "its names are joined by dots; `invoke config` shows all"
_LONGEST = 40
"""Names in a path."""


def of_profile(path: File, shown: str, report: Report) -> Layer:
    """A profile's file. Settings stand at its top. Raises `BadInput` where it cannot be read."""
    found = read(path, shown, "a profile")
    origin = Origin(layer=PROFILE, name=shown)
    layer = Layer(data=found.data, origin=origin, lines=found.lines)
    if not isinstance(found.data, dict):
        return layer
    data = dict(found.data)
    if data.pop("profile", None) is not None:
        why = "a profile cannot choose another one"
        report(Problem(origin=layer.at(("profile",)), what="profile is set", why=why, fix="take it out"))
    if "openframe" in data:
        data.pop("openframe")
        why = "in a profile the settings stand at the top; only invoke.yaml has them below a name of their own"
        report(Problem(origin=layer.at(("openframe",)), what="there is no setting 'openframe'", why=why))
    return Layer(data=data, origin=origin, lines=found.lines)


def of_environment(environ: Mapping[str, str]) -> list[Layer]:
    """One layer for each variable that is set; an empty one counts as not set."""
    return [
        Layer(data=_nested(path, environ[shape.env]), origin=Origin(layer=ENVIRONMENT, name=shape.env))
        for path, shape in places(Settings)
        if shape.env is not None and path != ("profile",) and environ.get(shape.env, "").strip()
    ]


def of_options(sets: tuple[str, ...], report: Report) -> list[Layer]:
    """One layer for each `--set path=value`."""
    found = []
    for text in sets:
        layer = _of_option(text, report)
        if layer is not None:
            found.append(layer)
    return found


def _of_option(text: str, report: Report) -> Layer | None:
    name, equals, value = text.partition("=")
    path = parts(name.strip())
    origin, shown = Origin(layer=OPTION, name="--set"), quoted((), name.strip())

    if not equals:
        what, why, fix = f"{shown} has no value", "it is written --set path=value", _PATHS
    elif not all(path) or len(path) > _LONGEST or not name.isprintable():
        what, why, fix = f"{shown} is no setting", "its path is too long, or has an empty name in it", _PATHS
    else:
        try:
            return Layer(data=_nested(path, _value(value, shape_of(path))), origin=origin)
        except BadInput as error:
            what, why, fix = f"the value of {shown} cannot be read", error.why, "put it in quotes"
    report(Problem(origin=origin, what=what, why=why, fix=fix))
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


def shape_of(path: tuple[str, ...]) -> Shape | None:
    """The place of the tree that a path names; None: there is none."""
    shape: Shape | None = place_of(Settings)
    for name in path:
        if shape is None or shape.kind is Kind.LEAF:
            return None
        shape = below(shape, name)
    return shape


def _nested(path: tuple[str, ...], value: Any) -> Any:  # noqa: ANN401 - any JSON value
    for name in reversed(path):
        value = {name: value}
    return value


FOLDER = "config"
_ENDINGS = (".yaml", ".yml")
_OTHERS = frozenset({"pins"})
"""Files under config/ that are no profiles."""
_PROFILE_LONGEST = 4095
"""Bytes of a path on Linux, where they are as few as anywhere (limits.h, PATH_MAX)."""
NONE = "none"
"""Says that no profile is wanted, over what a layer below has chosen."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A profile that is to be read."""

    name: str
    path: Path
    shown: str
    origin: Origin


def choose(
    root: Path, environ: Mapping[str, str], option: tuple[str, Origin] | None, file: tuple[str, Origin] | None
) -> Chosen | None:
    """The option's, else OPENFRAME_PROFILE's, else the one of invoke.yaml. Raises `BadInput` for one that is not there.

    A name is looked for under config/; what has a slash is a path: seen from the current folder, in
    invoke.yaml from the project's.
    """
    variable = environ.get("OPENFRAME_PROFILE", "").strip()
    if option is not None and option[0].strip():
        name, origin, base = option[0].strip(), option[1], Path()
    elif variable:
        name, origin, base = variable, Origin(layer=ENVIRONMENT, name="OPENFRAME_PROFILE"), Path()
    elif file is not None and file[0].strip():
        name, origin, base = file[0].strip(), file[1], root
    else:
        return None
    if name == NONE and not (root / FOLDER / f"{NONE}.yaml").exists():
        return None
    if not name.isprintable() or len(name) > _PROFILE_LONGEST:
        raise _absent(root, name, origin, "it is no file's name")
    if "/" in name:
        try:
            path = base / folder(name)
        except ValueError as error:
            raise _absent(root, name, origin, f"it {error}") from None
        if not _is_file(path):
            raise _absent(root, name, origin, f"there is no file {path.absolute()}")
        return Chosen(name=name, path=path, shown=name, origin=origin)
    for ending in ("", *_ENDINGS):
        path = root / FOLDER / f"{name}{ending}"
        if path.suffix in _ENDINGS and _is_file(path) and path.stem not in _OTHERS:
            return Chosen(name=name, path=path, shown=f"{FOLDER}/{path.name}", origin=origin)
    why = f"there is no {FOLDER}/{name}.yaml"
    if _is_file(base / name):
        why += f"; a file of that name is in the current folder: write it ./{name}"
    raise _absent(root, name, origin, why)


def _is_file(path: Path) -> bool:
    """Whether it can be read as a file; a name that no file system allows is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def existing(root: Path) -> list[str]:
    """Names of the profiles under config/."""
    folder = root / FOLDER
    if not folder.is_dir():
        return []
    found = {path.stem for path in folder.iterdir() if path.suffix in _ENDINGS and path.is_file()}
    return sorted(found - _OTHERS)


def of_option(value: str | None) -> tuple[str, Origin] | None:
    """What `--profile` says."""
    return None if value is None else (value, Origin(layer=OPTION, name="--profile"))


def _absent(root: Path, name: str, origin: Origin, why: str) -> BadInput:
    names = existing(root)
    meant = nearest(name, names)
    there = f"there are {', '.join(names)}" if names else f"{FOLDER}/ has none"
    return BadInput(
        f"{origin.place}: the profile {quoted((), name)} cannot be found",
        why=f"{why}; {there}",
        fix=f"did you mean {meant}?"
        if meant
        else f"name one of these, or a path with a slash such as ./{FOLDER}/my.yaml",
    )
