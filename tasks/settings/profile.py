"""Which profile is in force, and which file it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import BadInput
from tasks.settings.names import folder
from tasks.settings.origin import ENVIRONMENT, OPTION, Origin
from tasks.settings.private import told
from tasks.settings.problems import nearest

FOLDER = "config"
_ENDINGS = (".yaml", ".yml")
_OTHERS = frozenset({"pins"})
"""Files under config/ that are no profiles."""
_LONGEST = 4095
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
    if not name.isprintable() or len(name) > _LONGEST:
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
        f"{origin.place}: the profile {told((), name)} cannot be found",
        why=f"{why}; {there}",
        fix=f"did you mean {meant}?"
        if meant
        else f"name one of these, or a path with a slash such as ./{FOLDER}/my.yaml",
    )
