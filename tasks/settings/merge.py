"""Merging of layers: what merges, what is replaced, the origin of each value, and all values as rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.settings.origin import (
    BUILT_IN,
    DEFAULT,
    OPTION,
    Layer,
    Origin,
    Path,
    Problem,
    as_text,
    dotted,
    masked,
    nearest,
    quoted,
    unknown,
)
from tasks.settings.types import Kind, Spec, Tree, below, fields, place_of, places

if TYPE_CHECKING:
    from tasks.settings.resolve import Resolved


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value and its origin."""

    value: Any
    origin: Origin


Node = Leaf | dict[str, Any] | list[Any]
"""A leaf, or names or numbers with nodes below them."""


@dataclass(frozen=True, kw_only=True)
class Merging:
    """Merges one layer over the lower ones. What cannot be merged is reported, and left unchanged."""

    layer: Layer
    root: Spec
    report: Callable[[Problem], None]

    def over(self, lower: Node | None) -> Node:
        """All layers up to this one."""
        return self._merged(lower, self.layer.data, self.root, ()) or {}

    def _merged(self, lower: Node | None, value: Any, spec: Spec, path: Path) -> Node | None:  # noqa: ANN401 - any JSON value
        if spec.kind is Kind.LEAF or (value is None and spec.nullable):
            return Leaf(value, self.layer.at(path))
        if value is None:
            return lower  # a name without a value, such as with everything below it commented out
        if spec.kind is Kind.ITEMS and isinstance(value, list | tuple):
            return self._list(value, spec, path)
        if not isinstance(value, dict):
            self._mismatch(path, value, spec)
            return lower
        if spec.kind is Kind.ITEMS:
            return self._named(lower, value, spec, path)
        if spec.kind is Kind.FREE:
            return self._free(lower, value, path)
        if spec.kind is Kind.TABLE:
            return self._table(lower, value, path)
        return self._section(lower, value, spec, path)

    def _section(self, lower: Node | None, value: dict[str, Any], spec: Spec, path: Path) -> Node:
        done: dict[str, Node] = dict(lower) if isinstance(lower, dict) else {}
        for name, each in value.items():
            inner = below(spec, name)
            if inner is None:
                self._unknown((*path, name), spec)
                continue
            node = self._merged(done.get(name), each, inner, (*path, name))
            if node is not None:
                done[name] = node
        return done

    def _list(self, value: Any, spec: Spec, path: Path) -> Node:  # noqa: ANN401 - a list or tuple
        items: list[Node] = []
        for number, each in enumerate(value):
            place = (*path, str(number))
            if isinstance(each, str) and spec.model is not None and spec.model.SHORT:
                items.append({spec.model.KEY: Leaf(each, self.layer.at(place))})
                continue
            if isinstance(each, dict) and each:
                items.append(self._section(None, each, below(spec, "") or spec, place))
            else:
                self._mismatch(place, each, place_of(spec.model) if spec.model else spec)
        return items or Leaf((), self.layer.at(path))

    def _named(self, lower: Node | None, value: dict[str, Any], spec: Spec, path: Path) -> Node:
        assert spec.model is not None
        items: list[Node] = list(lower) if isinstance(lower, list) else []
        option = self.layer.origin.layer == OPTION
        for given in value.items():
            name, change = _whole_name(items, *given, spec.model.KEY) if option else given
            place = (*path, name)
            found = positions(items, name, spec.model.KEY)
            if len(found) > 1:
                full = " or ".join(f"{text_at(items[each], 'namespace')}/{name}" for each in found)
                self._report(
                    place, f"'{dotted(place)}' are {len(found)} entries", "they share the name", f"write {full}"
                )
            elif change is None and found:
                del items[found[0]]
            elif not isinstance(change, dict):
                self._absent(place, change, [text_at(each, spec.model.KEY) for each in items], place_of(spec.model))
            elif found:
                items[found[0]] = self._section(items[found[0]], change, place_of(spec.model), place)
            else:
                whole = {**_identity(name, spec), **change}
                items.append(self._section(None, whole, place_of(spec.model), place))
        return items or Leaf((), self.layer.at(path))

    def _table(self, lower: Node | None, value: dict[str, Any], path: Path) -> Node:
        done: dict[str, Node] = dict(lower) if isinstance(lower, dict) else {}
        for name, each in value.items():
            if each is None:
                done.pop(name, None)
            else:
                done[name] = Leaf(each, self.layer.at((*path, name)))
        return done

    def _free(self, lower: Node | None, value: Any, path: Path) -> Node:  # noqa: ANN401 - any JSON value
        if not isinstance(value, dict):
            return Leaf(value, self.layer.at(path))
        if self.layer.origin.layer == OPTION and isinstance(lower, Leaf) and isinstance(lower.value, list | tuple):
            self._report(path, f"'{dotted(path)}' is a list", "a list is set as a whole", f"--set {dotted(path)}='[…]'")
            return lower
        done: dict[str, Node] = dict(lower) if isinstance(lower, dict) else {}
        for name, each in value.items():
            done[name] = self._free(done.get(name), each, (*path, name))
        return done

    def _mismatch(self, path: Path, value: Any, spec: Spec) -> None:  # noqa: ANN401 - any JSON value
        what = f"{dotted(path) or 'all of it'} is {quoted(path, value)}"
        names = f" with {', '.join(fields(spec.model))}" if spec.kind is Kind.SECTION and spec.model else ""
        self._report(path, what, f"it must be {spec.expected}{names}", "")

    def _absent(self, path: Path, value: Any, names: list[str], spec: Spec) -> None:  # noqa: ANN401 - any JSON value
        if value is not None:
            self._mismatch(path, value, spec)
            return
        meant = nearest(path[-1], names)
        fix = f"did you mean {dotted((*path[:-1], meant))}?" if meant else ""
        why = f"null removes one; there are {', '.join(names)}" if names else "null removes one, and there is none"
        self._report(path, f"there is no '{dotted(path)}'", why, fix)

    def _unknown(self, path: Path, spec: Spec) -> None:
        assert spec.model is not None
        everywhere = [(place, each.env) for place, each in places(self.root.model)] if self.root.model else []
        self.report(unknown(self.layer.at(path), path, tuple(fields(spec.model)), everywhere))

    def _report(self, path: Path, what: str, why: str, fix: str) -> None:
        self.report(Problem(origin=self.layer.at(path), what=what, why=why, fix=fix))


def positions(items: list[Node], name: str, key: str) -> list[int]:
    """Positions of list items with that name: by the name, else by `namespace/name`, else by the number."""
    found = [number for number, each in enumerate(items) if text_at(each, key) == name]
    if not found and "/" in name:
        space, _, own = name.partition("/")
        found = [n for n, each in enumerate(items) if (text_at(each, "namespace"), text_at(each, key)) == (space, own)]
    if not found and name.isascii() and name.isdigit() and len(name) < 5 and int(name) < len(items):
        found = [int(name)]
    return found


def _whole_name(items: list[Node], name: str, change: Any, key: str) -> tuple[str, Any]:  # noqa: ANN401 - any JSON value
    """The name that exists with the dots of an option's path, `docker.io`, and what is below it; else as given."""
    whole, inner = name, change
    while not positions(items, whole, key):
        if not isinstance(inner, dict) or len(inner) != 1:
            return name, change
        ((more, inner),) = inner.items()
        whole = f"{whole}.{more}"
    return whole, inner


def _identity(name: str, spec: Spec) -> dict[str, str]:
    """Fields of a new item that follow from its name."""
    assert spec.model is not None
    space, slash, own = name.partition("/")
    if slash and "namespace" in fields(spec.model):
        return {spec.model.KEY: own, "namespace": space}
    return {spec.model.KEY: name}


def plain(node: Node) -> Any:  # noqa: ANN401 - any JSON value
    """Only the values."""
    if isinstance(node, Leaf):
        return node.value
    if isinstance(node, dict):
        return {name: plain(each) for name, each in node.items()}
    return [plain(each) for each in node]


def leaves(node: Node) -> Iterator[Leaf]:
    """All leaves below."""
    if isinstance(node, Leaf):
        yield node
    else:
        for each in node.values() if isinstance(node, dict) else node:
            yield from leaves(each)


def origin_at(node: Node, path: Sequence[str | int]) -> Origin:
    """The origin of the value there, or, if it is unset, of its surroundings."""
    here: Node = node
    for name in path:
        inner = child(here, name)
        if inner is None:
            break
        here = inner
    if isinstance(here, Leaf):
        return here.origin
    given = [leaf.origin for leaf in leaves(here)]
    return next((origin for origin in given if origin.layer != DEFAULT), BUILT_IN)


def set_by(node: Node, path: Sequence[str | int]) -> Origin:
    """The origin of exactly this value; the default, if an item of a layer omits it."""
    here: Node | None = node
    for name in path:
        if isinstance(here, Leaf):
            break
        here = child(here, name) if here is not None else None
    return here.origin if isinstance(here, Leaf) else BUILT_IN


def named(node: Node, path: Sequence[str | int], root: Spec) -> Path:
    """The path with list items by name, if that is unique."""
    spec, here, found = root, node, list[str]()
    for name in path:
        text = str(name)
        if spec.kind is Kind.ITEMS and spec.model is not None and isinstance(here, list) and isinstance(name, int):
            names = [text_at(each, spec.model.KEY) for each in here]
            if name < len(names) and names[name] and names.count(names[name]) == 1:
                text = names[name]
        found.append(text)
        here = child(here, name) or {}
        spec = below(spec, str(name)) or spec
    return tuple(found)


def child(node: Node, name: str | int) -> Node | None:
    """The node under a name or a number; None if there is none."""
    if isinstance(node, dict):
        return node.get(str(name))
    if isinstance(node, list) and isinstance(name, int) and name < len(node):
        inner: Node = node[name]
        return inner
    return None


def text_at(node: Node, name: str) -> str:
    """The string under a name; empty if there is none."""
    leaf = node.get(name) if isinstance(node, dict) else None
    return leaf.value if isinstance(leaf, Leaf) and isinstance(leaf.value, str) else ""


class Row(NamedTuple):
    """One value."""

    path: str
    value: Any
    origin: Origin


def rows(resolved: Resolved, only: str = "") -> Iterator[Row]:
    """Every value whose path starts with `only`, in the tree's order; possible secrets are masked."""
    for path, value in _values(resolved.settings, ()):
        names = named(resolved.merged, path, place_of(type(resolved.settings)))
        shown = dotted(names)
        if shown.startswith(only):
            yield Row(shown, masked(names, value), set_by(resolved.merged, path))


def as_rows(resolved: Resolved, only: str) -> list[list[str]]:
    """Path, value and origin, for a table."""
    return [[row.path, as_text(row.value), row.origin.short] for row in rows(resolved, only)]


def as_json(resolved: Resolved, only: str) -> str:
    """One mapping by path: `{"settings_hash": …, "settings": {path: {"value", "layer", "source", "line"}}}`."""
    found = {
        row.path: {"value": row.value, "layer": row.origin.layer, "source": row.origin.name, "line": row.origin.line}
        for row in rows(resolved, only)
    }
    return json.dumps({"settings_hash": resolved.settings_hash, "settings": found}, indent=2, ensure_ascii=False)


def _values(part: Tree, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    for name in fields(type(part)):
        value = getattr(part, name)
        if isinstance(value, Tree):
            yield from _values(value, (*path, name))
        elif isinstance(value, tuple) and value and isinstance(value[0], Tree):
            for number, each in enumerate(value):
                yield from _values(each, (*path, name, number))
        elif isinstance(value, dict):
            yield from _below(value, (*path, name))
        else:
            yield (*path, name), list(value) if isinstance(value, tuple) else value


def _below(value: dict[str, Any], path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if not value:
        yield path, {}
    for name, each in value.items():
        if isinstance(each, Tree):  # the source of a secret: only the given field
            given = each.model_dump(mode="json", exclude_none=True)
            yield from (((*path, name, key), inner) for key, inner in given.items())
        elif isinstance(each, dict) and each:
            yield from _below(each, (*path, name))
        else:
            yield (*path, name), each
