"""PyYAML's safe loader, made to read as kubectl and Helm do.

Both take YAML as JSON written in another way (source: sigs.k8s.io/yaml): a date is a text, and so is
10:30, which PyYAML alone would take for the number 630. A key that stands twice is an error here, where
PyYAML would silently take the last one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as Base  # libyaml reads large CRDs ten times as fast
except ImportError:
    from yaml import SafeLoader as Base  # type: ignore[assignment]

_NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)\Z"),
    "tag:yaml.org,2002:float": re.compile(
        r"(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
}
"""YAML 1.1's numbers without those to the base of 60."""
_TEXTS = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"})
"""Dates, and a single `=`, which stands in well-known CRDs and for which PyYAML has no constructor."""
_TEXT = "tag:yaml.org,2002:str"
_KEYS = frozenset({"tag:yaml.org,2002:bool", *_NUMBERS})
"""What may be a key though it is no text."""
_MERGE = "tag:yaml.org,2002:merge"


class Loader(Base):
    """Only plain values: safe as its base."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own table, replaced and not shared
        first: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in rows if tag not in _TEXTS]
        for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def events(text: str) -> Iterator[Any]:
    """The parser's events up to the first fault: whoever builds values next tells of that."""
    try:
        loader = Loader(text)
        try:
            while loader.check_event():
                yield loader.get_event()
        finally:
            loader.dispose()
    except yaml.YAMLError:
        return


def settle_keys(loader: Loader, root: yaml.Node) -> None:
    """Make every key a text, true and 1 as JSON writes them; raise `ConstructorError` for one that stands twice.

    Done before anything is constructed: to Python 1 and true are the same key, and `<<` brings in keys
    that may be there already.
    """
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            waiting += [value for _, value in node.value]
            names: set[str] = set()
            for name, _ in node.value:
                if name.tag == _MERGE:
                    continue
                _settle(loader, name)
                if name.value in names:
                    raise _error(f"the key '{name.value}' stands twice in one mapping", name)
                names.add(name.value)


def _settle(loader: Loader, name: yaml.Node) -> None:
    if name.tag in _KEYS:
        name.value = json.dumps(loader.yaml_constructors[name.tag](loader, name))
    elif name.tag != _TEXT:
        raise _error("a key is no text", name)
    name.tag = _TEXT


def _error(text: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, text, node.start_mark)
