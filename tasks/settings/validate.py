"""From merged values to the tree: pydantic's findings in words that name the layer, the value and what is valid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tasks.settings import words
from tasks.settings.merge import Leaf, Node, leaves, plain
from tasks.settings.origin import BUILT_IN, DEFAULT, Finding, Origin, Path, Problem, dotted, nearest, quoted, unknown
from tasks.settings.schema import OwnStep, Quota, Secret, SecretSource, Settings
from tasks.settings.shape import Kind, Shape, below, fields, section
from tasks.settings.words import amount

_KEY = "[key]"
"""pydantic's mark of an error in a mapping's key."""


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


def origin_at(node: Node, path: Sequence[str | int]) -> Origin:
    """What has set the value there, or, if nothing has, what is around it."""
    here: Node = node
    for name in path:
        inner = _step(here, name)
        if inner is None:
            break
        here = inner
    if isinstance(here, Leaf):
        return here.origin
    given = [leaf.origin for leaf in leaves(here)]
    return next((origin for origin in given if origin.layer != DEFAULT), BUILT_IN)


def set_by(node: Node, path: Sequence[str | int]) -> Origin:
    """What has set exactly this value; the default, where a part that a layer has made leaves it out."""
    here: Node | None = node
    for name in path:
        if isinstance(here, Leaf):
            break
        here = _step(here, name) if here is not None else None
    return here.origin if isinstance(here, Leaf) else BUILT_IN


def named(node: Node, path: Sequence[str | int]) -> Path:
    """The path with parts of lists by their names, where they have one that is theirs alone."""
    shape, here, found = section(Settings), node, list[str]()
    for name in path:
        text = str(name)
        if shape.kind is Kind.ITEMS and shape.model is not None and isinstance(here, list) and isinstance(name, int):
            names = [_value(each, shape.model.KEY) for each in here]
            if name < len(names) and names[name] and names.count(names[name]) == 1:
                text = names[name]
        found.append(text)
        here = _step(here, name) or {}
        shape = below(shape, str(name)) or shape
    return tuple(found)


def _step(node: Node, name: str | int) -> Node | None:
    if isinstance(node, dict):
        return node.get(str(name))
    if isinstance(node, list) and isinstance(name, int) and name < len(node):
        inner: Node = node[name]
        return inner
    return None


def _value(node: Node, name: str) -> str:
    leaf = node.get(name) if isinstance(node, dict) else None
    return leaf.value if isinstance(leaf, Leaf) and isinstance(leaf.value, str) else ""


def _problem(error: ErrorDetails, node: Node) -> Problem:
    loc = tuple(part for part in error["loc"] if part != _KEY)
    path, origin, kind = named(node, loc), origin_at(node, loc), error["type"]
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
    path, shape, beside = named(node, loc), _shape(loc), node
    for name in loc[:-1]:
        beside = _step(beside, name) or {}
    key = shape.model.KEY if shape.model is not None else "name"
    others = [_value(each, key) for each in beside] if isinstance(beside, list) else []
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
    shape = section(Settings)
    for name in loc:
        if shape.kind is Kind.LEAF:
            return Shape(kind=Kind.LEAF, text=True, says="a text")
        shape = below(shape, str(name)) or Shape(kind=Kind.LEAF, says="left out")
    return shape


def _siblings(loc: Sequence[str | int]) -> tuple[str, ...]:
    shape = _shape(loc[:-1])
    return tuple(fields(shape.model)) if shape.model is not None else ()


Place = tuple[str | int, ...]


def findings(settings: Settings) -> Iterator[Finding]:
    """Texts that cannot be what they are for."""
    yield from _checked(("cluster", "domain"), settings.cluster.domain, words.host)
    quota = settings.manifests.quota
    for name in Quota.model_fields:
        if isinstance(text := getattr(quota, name), str):
            yield from _checked(("manifests", "quota", name), text, amount)
    for number, secret in enumerate(settings.secrets):
        yield from _of_secret(("secrets", number), secret)
    for number, build in enumerate(settings.builds):
        yield from _of_sources(("builds", number, "secrets"), build.secrets)
        for name in build.secrets:
            yield from _checked(("builds", number, "secrets", name), name, words.secret_id)
    for number, step in enumerate(settings.steps):
        yield from _of_step(("steps", number), step)


def _of_secret(path: Place, secret: Secret) -> Iterator[Finding]:
    yield from _checked((*path, "name"), secret.name, words.host)
    yield from _checked((*path, "registry"), secret.registry, words.one_line)
    yield from _checked((*path, "username"), secret.username, words.one_line)
    yield from _of_sources((*path, "values"), secret.values)


def _of_step(path: Place, step: OwnStep) -> Iterator[Finding]:
    yield from _of_sources((*path, "secrets"), step.secrets)
    for name in step.secrets:
        yield from _checked((*path, "secrets", name), name, words.variable)
        if name in step.env:
            yield Finding(path=(*path, "env", name), text="is a secret, too", why="a variable has one value")
    if step.when == "down" and step.inputs is not None:
        why = "what has run before does not matter when the cluster goes"
        yield Finding(path=(*path, "inputs"), text="and `when: down` have no meaning together", why=why)


def _of_sources(path: Place, values: Mapping[str, SecretSource]) -> Iterator[Finding]:
    """Sources of secrets, by key."""
    for key, source in values.items():
        place = (*path, key)
        given = [name for name in type(source).model_fields if getattr(source, name) is not None]
        if len(given) != 1:
            text = f"has {len(given)} sources" + (f" ({', '.join(given)})" if given else "")
            yield Finding(path=place, text=text, why="a value comes from exactly one: env, file or command")
        if source.env is not None:
            yield from _checked((*place, "env"), source.env, words.variable)
        if source.file is not None:
            yield from _checked((*place, "file"), source.file, words.one_line)
        if source.command is not None:
            for number, each in enumerate(source.command):
                yield from _checked((*place, "command", number), each, words.argument)
            if not source.command:
                yield Finding(
                    path=(*place, "command"), text="is an empty list", why="it names a program, then its arguments"
                )


def _checked(path: Place, text: str, check: Callable[[str], str]) -> Iterator[Finding]:
    try:
        check(text)
    except ValueError as error:
        yield Finding(path=path, text=f"is {quoted(tuple(map(str, path)), text)}", why=f"it {error}")
