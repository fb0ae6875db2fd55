"""All layers, read once, as one frozen tree that knows where each value came from.

What pydantic finds in it is told in words that name the layer, the value and what is valid.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tasks.core.digest import sha256
from tasks.core.redact import conceal_logins, conceal_proxy
from tasks.settings.files import look, refuse_variables
from tasks.settings.layers import choose, of_environment, of_option, of_options, of_profile
from tasks.settings.merge import Leaf, Merging, Node, child, leaves, named, origin_at, plain, positions, text_at
from tasks.settings.origin import (
    BUILT_IN,
    DEFAULT,
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
from tasks.settings.types import Kind, Shape, below, fields, place_of

_NO_MATTER = ("profile", "log_dir", "silent")
"""What changes nothing that is launched: it is left out of `settings_hash`."""

_KEY = "[key]"
"""pydantic's mark of an error in a mapping's key."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The settings in force."""

    settings: Settings
    merged: Node
    """The values as the layers gave them, each with its origin."""

    @property
    def settings_hash(self) -> str:
        """16 digits, the same for the same settings in whatever order and by whichever layer.

        What `invoke config` masks is left out: a short secret could be guessed from its hash.
        """
        values = masked((), self.settings.model_dump(mode="json", exclude=set(_NO_MATTER)))
        return sha256(json.dumps(values, sort_keys=True), 16)

    def with_log_dir(self, path: str) -> Resolved:
        """The same with another log folder: the default one depends on who has it."""
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
    """Defaults, invoke.yaml, profile, environment and `--set`, each over the one before. Raises `BadInput`."""
    problems: list[Problem] = []
    _conceal_environment(environ)
    refuse_variables(environ)
    file = look(root, fields(Settings), problems.append)
    options = of_options(tuple(sets), problems.append)
    chosen = choose(root, environ, of_option(profile) or _profile_option(options), file.profile)
    stages: list[list[Layer]] = [[file.layer]]
    if chosen is not None:
        stages.append([of_profile(chosen.path, chosen.shown, problems.append)])
    stages.append(of_environment(environ))
    stages.append([layer for layer in options if "profile" not in layer.data])
    if chosen is not None:
        stages.append([Layer(data={"profile": chosen.name}, origin=chosen.origin)])
    merged, settings = _defaults()
    found: Settings | None = settings
    for stage in stages:
        if any(layer.data is not None for layer in stage):
            merged = _over(merged, stage, problems.append)
            found = checked(merged, problems.append)  # after each: a layer above does not hide what is wrong below
    if found is not None:
        conceal_values(found)
    if found is not None and not problems:
        problems += broken_rules(found, merged)
    if problems or found is None:
        raise refusal(problems)
    return Resolved(settings=found, merged=merged)


def _conceal_environment(environ: Mapping[str, str]) -> None:
    """Logins in addresses, whatever variable holds them: programs repeat their environment in errors."""
    for name, value in environ.items():
        conceal_logins(value)
        if name.lower().endswith("_proxy"):
            conceal_proxy(value)


def _profile_option(options: Sequence[Layer]) -> tuple[str, Origin] | None:
    """A profile that `--set profile=…` names, the last one if there are several."""
    given = [layer for layer in options if "profile" in layer.data]
    if not given:
        return None
    value = given[-1].data["profile"]
    return ("none" if value is None else str(value)), given[-1].origin


def _defaults() -> tuple[Node, Settings]:

    settings = Settings()
    layer = Layer(data=settings.model_dump(), origin=BUILT_IN)
    return Merging(layer=layer, root=place_of(Settings), report=lambda _problem: None).over(None), settings


def _over(merged: Node, stage: Sequence[Layer], report: Callable[[Problem], None]) -> Node:

    for layer in stage:
        if layer.data is not None:
            merged = Merging(layer=layer, root=place_of(Settings), report=report).over(merged)
    return merged


def checked(node: Node, report: Callable[[Problem], None]) -> Settings | None:
    """The tree of these values; None, and every fault told, where they do not make one."""
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
    shape = _shape(loc)
    if kind == "extra_forbidden":
        return unknown(origin, path, _siblings(loc))
    if error["loc"][-1:] == (_KEY,):
        return Problem(
            origin=origin,
            what=f"{dotted(path[:-1])} has the name {quoted((), path[-1])}",
            why=f"it {_must(error, shape)}",
        )
    value = error["input"]
    fix = ""
    if kind == "string_type" and isinstance(value, int | float):
        fix = "put it in quotes"
    elif shape.choices and isinstance(value, str) and (meant := nearest(value, shape.choices)):
        fix = f"did you mean {meant}?"
    return Problem(
        origin=origin, what=f"{dotted(path)} is {quoted(path, value)}", why=f"it {_must(error, shape)}", fix=fix
    )


def _must(error: ErrorDetails, shape: Shape) -> str:
    """`must be …`: a validator's own words, else what the place is for."""
    context: Mapping[str, Any] = error.get("ctx") or {}
    if error["type"] == "value_error" and str(context.get("error", "")):
        return str(context["error"])
    if error["type"] == "string_too_long":
        return f"must have at most {context['max_length']} characters"
    if error["type"] == "too_short":
        return "must not be empty"
    return f"must be {shape.expected}"


def _missing(loc: tuple[str | int, ...], names: Sequence[str], node: Node) -> Problem:
    """A part of a list without what every one needs; often a name that was meant to be another's."""
    path, shape, beside = named(node, loc, place_of(Settings)), _shape(loc), node
    for name in loc[:-1]:
        beside = child(beside, name) or {}
    key = shape.model.KEY if shape.model is not None else "name"
    others = [text_at(each, key) for each in beside] if isinstance(beside, list) else []
    meant = nearest(path[-1], [each for each in others if each and each != path[-1]])
    needed = [name for name, each in fields(shape.model).items() if each.required] if shape.model is not None else []
    return Problem(
        origin=origin_at(node, loc),
        what=f"{dotted(path)} has no {' and no '.join(names)}",
        why=f"one that is not there yet needs {', '.join(needed)}",
        fix=f"did you mean {dotted((*path[:-1], meant))}?" if meant else "",
    )


def _shape(loc: Sequence[str | int]) -> Shape:
    """The place of an error; a text inside a list of texts has no place of its own in the tree."""
    shape = place_of(Settings)
    for name in loc:
        if shape.kind is Kind.LEAF:
            return Shape(kind=Kind.LEAF, text=True, says="a text")
        shape = below(shape, str(name)) or Shape(kind=Kind.LEAF, says="left out")
    return shape


def _siblings(loc: Sequence[str | int]) -> tuple[str, ...]:
    shape = _shape(loc[:-1])
    return tuple(fields(shape.model)) if shape.model is not None else ()
