"""The layers above the defaults (files, variables, options), read once, and the resulting frozen tree.

pydantic's errors are reported with the layer, the value and what is valid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tasks.core.errors import BadInput
from tasks.core.files import sha256
from tasks.core.redact import conceal_logins, conceal_proxy
from tasks.settings.files import Report, look, refuse_variables
from tasks.settings.layers import of_environment, of_options, of_profile
from tasks.settings.merge import Leaf, Merging, Node, child, leaves, named, origin_at, plain, positions, text_at
from tasks.settings.origin import (
    BUILT_IN,
    DEFAULT,
    ENVIRONMENT,
    OPTION,
    Layer,
    Origin,
    Problem,
    conceal_values,
    dotted,
    masked,
    nearest,
    parts,
    quoted,
    refusal,
    unknown,
)
from tasks.settings.rules import problems as broken_rules
from tasks.settings.schema import Settings
from tasks.settings.types import Kind, SecretSource, Spec, below, fields, place_of
from tasks.settings.valid import folder

FOLDER = "config"
_ENDINGS = (".yaml", ".yml")
_OTHERS = frozenset({"pins"})
"""Files under config/ that are not profiles."""
_PROFILE_LONGEST = 4095
"""Maximum bytes of a path on Linux, the lowest limit (limits.h, PATH_MAX)."""
NO_PROFILE = "none"
"""Disables a profile that a lower layer has chosen."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A profile to be read."""

    name: str
    path: Path
    shown: str
    origin: Origin


def choose_profile(
    root: Path, environ: Mapping[str, str], option: tuple[str, Origin] | None, file: tuple[str, Origin] | None
) -> Chosen | None:
    """The option's, else OPENFRAME_PROFILE's, else that of invoke.yaml. Raises `BadInput` if it does not exist.

    A name is looked up under config/; a value with a slash is a path: relative to the current folder, in
    invoke.yaml to the project's.
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
    if name == NO_PROFILE and not (root / FOLDER / f"{NO_PROFILE}.yaml").exists():
        return None
    if not name.isprintable() or len(name) > _PROFILE_LONGEST:
        raise _absent(root, name, origin, "it is not a file name")
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
        why += f"; a file of that name is in the current folder: write ./{name}"
    raise _absent(root, name, origin, why)


def _is_file(path: Path) -> bool:
    """Whether it can be read as a file; false for a name that the file system does not allow."""
    try:
        return path.is_file()
    except OSError:
        return False


def profile_names(root: Path) -> list[str]:
    """Names of the profiles under config/."""
    inside = root / FOLDER
    files = inside.iterdir() if inside.is_dir() else ()
    found = {path.stem for path in files if path.suffix in _ENDINGS and path.is_file()}
    return sorted(found - _OTHERS)


def _absent(root: Path, name: str, origin: Origin, why: str) -> BadInput:
    names = profile_names(root)
    meant = nearest(name, names)
    there = f"there are {', '.join(names)}" if names else f"{FOLDER}/ has none"
    return BadInput(
        f"{origin.place}: the profile {quoted((), name)} cannot be found",
        why=f"{why}; {there}",
        fix=f"did you mean {meant}?"
        if meant
        else f"use one of these, or a path with a slash such as ./{FOLDER}/my.yaml",
    )


_NO_MATTER = ("profile", "log_dir", "silent")
"""Settings without effect on what is launched: not part of `settings_hash`."""
_KEY = "[key]"
"""pydantic's mark of an error in a mapping's key."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The effective settings."""

    settings: Settings
    merged: Node
    """The values of the layers, each with its origin."""

    @property
    def settings_hash(self) -> str:
        """16 digits, equal for equal settings in any order and from any layer.

        Values that `invoke config` masks are not included: a short secret could be guessed from the hash.
        """
        values = masked((), self.settings.model_dump(mode="json", exclude=set(_NO_MATTER)))
        return sha256(json.dumps(values, sort_keys=True), 16)

    def with_log_dir(self, path: str) -> Resolved:
        """The same with another log folder: the default one depends on its owner."""
        return replace(self, settings=self.settings.model_copy(update={"log_dir": path}))

    def above_default(self, path: str) -> bool:
        """Whether a layer above the built-in defaults has set this, or something below it. KeyError: no such path."""
        here: Any = self.merged
        for name in parts(path):
            if isinstance(here, list):
                found = positions(here, name, "name") or positions(here, name, "upstream")
                here = here[found[0]] if found else None
            else:
                here = here.get(name) if isinstance(here, dict) else None
            if here is None:
                raise KeyError(path)
        below = [here] if isinstance(here, Leaf) else list(leaves(here))
        return any(leaf.origin.layer != DEFAULT for leaf in below)


def resolve(root: Path, environ: Mapping[str, str], profile: str | None, sets: Sequence[str]) -> Resolved:
    """Defaults, invoke.yaml, profile, environment and `--set`, each overriding the previous. Raises `BadInput`."""
    problems: list[Problem] = []
    _conceal_environment(environ)
    refuse_variables(environ)
    file = look(root, fields(Settings), problems.append)
    options = of_options(tuple(sets), problems.append)
    option = (profile, Origin(layer=OPTION, name="--profile")) if profile is not None else _profile_option(options)
    chosen = choose_profile(root, environ, option, file.profile)
    stages: list[list[Layer]] = [[file.layer]]
    if chosen is not None:
        stages.append([of_profile(chosen.path, chosen.shown, problems.append)])
    stages.append(of_environment(environ))
    stages.append([layer for layer in options if "profile" not in layer.data])
    if chosen is not None:
        stages.append([Layer(data={"profile": chosen.name}, origin=chosen.origin)])
    defaults = Settings()
    merged = _over(None, [Layer(data=defaults.model_dump(), origin=BUILT_IN)], problems.append)
    found: Settings | None = defaults
    for stage in stages:
        if any(layer.data is not None for layer in stage):
            merged = _over(merged, stage, problems.append)
            found = checked(merged, problems.append)  # after each: a higher layer does not hide faults of lower ones
    if found is not None:
        conceal_values(found)
    if found is not None and not problems:
        problems += broken_rules(found, merged)
    if problems or found is None:
        raise refusal(problems)
    return Resolved(settings=found, merged=merged)


def _conceal_environment(environ: Mapping[str, str]) -> None:
    """Conceal logins in addresses, whatever the variable: programs repeat their environment in errors."""
    for name, value in environ.items():
        conceal_logins(value)
        if name.lower().endswith("_proxy"):
            conceal_proxy(value)


def _profile_option(options: Sequence[Layer]) -> tuple[str, Origin] | None:
    """The profile of `--set profile=…`, the last one if there are several."""
    given = [layer for layer in options if "profile" in layer.data]
    if not given:
        return None
    value = given[-1].data["profile"]
    return ("none" if value is None else str(value)), given[-1].origin


def _over(merged: Node | None, stage: Sequence[Layer], report: Report) -> Node:
    for layer in stage:
        if layer.data is not None:
            merged = Merging(layer=layer, root=place_of(Settings), report=report).over(merged)
    return merged or {}


def checked(node: Node, report: Report) -> Settings | None:
    """The tree of these values; None, with every fault reported, if they are invalid."""
    try:
        return Settings.model_validate(plain(node))
    except ValidationError as error:
        found = error.errors(include_url=False)
        lacking: dict[tuple[str | int, ...], list[str]] = {}
        for each in found:
            if each["type"] == "missing":
                lacking.setdefault(each["loc"][:-1], []).append(str(each["loc"][-1]))
            else:
                report(_problem(each, node))
        for loc, names in lacking.items():
            report(_missing(loc, names, node))
        return None


def _problem(error: ErrorDetails, node: Node) -> Problem:
    loc = tuple(part for part in error["loc"] if part != _KEY)
    path, origin, kind = named(node, loc, place_of(Settings)), origin_at(node, loc), error["type"]
    spec = _spec(loc)
    if kind == "extra_forbidden":
        return unknown(origin, path, _siblings(loc))
    if error["loc"][-1:] == (_KEY,):
        return Problem(
            origin=origin,
            what=f"{dotted(path[:-1])} has the name {quoted((), path[-1])}",
            why=f"it {_must(error, spec)}",
        )
    value = error["input"]
    fix = ""
    if kind == "string_type" and isinstance(value, int | float):
        fix = "put it in quotes"
    elif spec.model is SecretSource:
        fix = "name its source: {env: NAME}, {file: PATH} or {command: [PROGRAM]}; settings never contain the value"
    elif spec.choices and isinstance(value, str) and (meant := nearest(value, spec.choices)):
        fix = f"did you mean {meant}?"
    return Problem(
        origin=origin, what=f"{dotted(path)} is {quoted(path, value)}", why=f"it {_must(error, spec)}", fix=fix
    )


def _must(error: ErrorDetails, spec: Spec) -> str:
    """`must be …`: a validator's own words, else the description of the place."""
    context: Mapping[str, Any] = error.get("ctx") or {}
    if error["type"] == "value_error" and str(context.get("error", "")):
        return str(context["error"])
    if error["type"] == "string_too_long":
        return f"must have at most {context['max_length']} characters"
    if error["type"] == "too_short":
        return "must not be empty"
    return f"must be {spec.expected}"


def _missing(loc: tuple[str | int, ...], names: Sequence[str], node: Node) -> Problem:
    """A list item without a required field; often the name of another one was intended."""
    path, spec, beside = named(node, loc, place_of(Settings)), _spec(loc), node
    for name in loc[:-1]:
        beside = child(beside, name) or {}
    key = spec.model.KEY if spec.model is not None else "name"
    others = [text_at(each, key) for each in beside] if isinstance(beside, list) else []
    meant = nearest(path[-1], [each for each in others if each and each != path[-1]])
    needed = [name for name, each in fields(spec.model).items() if each.required] if spec.model is not None else []
    return Problem(
        origin=origin_at(node, loc),
        what=f"{dotted(path)} has no {' and no '.join(names)}",
        why=f"a new one needs {', '.join(needed)}",
        fix=f"did you mean {dotted((*path[:-1], meant))}?" if meant else "",
    )


def _spec(loc: Sequence[str | int]) -> Spec:
    """The place of an error; a string inside a list of strings has no place of its own in the tree."""
    spec = place_of(Settings)
    for name in loc:
        if spec.kind is Kind.LEAF:
            return Spec(kind=Kind.LEAF, text=True, says="a text")
        spec = below(spec, str(name)) or Spec(kind=Kind.LEAF, says="left out")
    return spec


def _siblings(loc: Sequence[str | int]) -> tuple[str, ...]:
    spec = _spec(loc[:-1])
    return tuple(fields(spec.model)) if spec.model is not None else ()
