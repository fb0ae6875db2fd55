"""Edits a YAML text with few changed lines: everything else stays as written, including comments."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any, NamedTuple

import yaml as pyyaml

from tasks.core import yaml


class _Change(NamedTuple):
    """Lines that replace others, counted from 0; an insertion if `begin` is `end`."""

    begin: int
    end: int
    lines: Sequence[str]


class _OtherForm(Exception):
    """The text is not in block style: its values do not have lines of their own."""


def edited(text: str, wanted: Mapping[str, Any]) -> str:
    """The text, edited so that its value is `wanted`, which has all keys of its only document, a mapping.

    Lists are edited by item, everything else by key of the document. If that is impossible (JSON, a mapping in braces,
    an alias of a changed value) the whole text is rewritten; then only comments before its first key stay.
    """
    with contextlib.suppress(_OtherForm, yaml.YamlError):
        made = _changed(text, wanted)
        if yaml.load(made) == wanted:
            return made
    comments = takewhile(lambda line: not line or line.startswith("#"), text.splitlines())
    return "".join([*(f"{line}\n" for line in comments if line), yaml.dump(wanted)])


def _changed(text: str, wanted: Mapping[str, Any]) -> str:
    before = yaml.load(text)
    root = pyyaml.compose(text, Loader=yaml.Parser)
    if not isinstance(root, pyyaml.MappingNode) or root.flow_style:
        raise _OtherForm
    if any(key.value not in before or key.value not in wanted for key, _ in root.value):
        raise _OtherForm
    lines = text.removesuffix("\n").split("\n")
    changes: list[_Change] = []
    for key, node in root.value:
        if before[key.value] == wanted[key.value]:
            continue
        if isinstance(wanted[key.value], list) and isinstance(node, pyyaml.SequenceNode) and not node.flow_style:
            changes += _items(lines, node, before[key.value], wanted[key.value])
            if not wanted[key.value]:
                at = key.end_mark
                line = lines[at.line]
                changes.append(_Change(at.line, at.line + 1, [f"{line[: at.column]}: []{line[at.column + 1 :]}"]))
        else:
            last = _last(lines, node)
            rest = lines[last][node.end_mark.column :] if last == node.end_mark.line else ""
            head, *more = _dumped({key.value: wanted[key.value]})
            changes.append(_Change(key.start_mark.line, last + 1, [head + rest, *more]))
    missing = {key: value for key, value in wanted.items() if key not in before}
    if missing:
        changes.append(_Change(len(lines), len(lines), _dumped(missing)))
    for change in sorted(changes, reverse=True):
        lines[change.begin : change.end] = change.lines
    return "\n".join([*lines, ""])


def _items(lines: Sequence[str], node: Any, old: Sequence[Any], new: Sequence[Any]) -> Iterator[_Change]:  # noqa: ANN401
    """The changes that turn a list in block style into another one; each item has lines of its own."""
    dash = node.start_mark.column
    spans = [_span(lines, item, dash) for item in node.value]
    one, other = ([json.dumps(each, sort_keys=True) for each in items] for items in (old, new))
    for kind, begin, end, first, last in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        made = [" " * dash + line for line in _dumped(list(new[first:last]))] if first < last else []
        if begin == end:
            at = spans[begin - 1][1] if begin else spans[0][0]
            yield _Change(at, at, made)
        for number in range(begin, end):
            yield _Change(*spans[number], made if number == begin else [])


def _span(lines: Sequence[str], item: Any, dash: int) -> tuple[int, int]:  # noqa: ANN401
    """The lines of a list item, from its dash on, and comments below it with the same indentation."""
    begin, end = item.start_mark.line, _last(lines, item) + 1
    while begin and lines[begin][: dash + 1].strip() != "-":
        begin -= 1
    while end < len(lines) and lines[end].lstrip().startswith("#") and not lines[end][: dash + 1].strip():
        end += 1
    return begin, end


def _last(lines: Sequence[str], node: Any) -> int:  # noqa: ANN401 - a node of PyYAML's
    """The line on which a node ends, without the blank lines and comments that PyYAML includes."""
    if isinstance(node, pyyaml.MappingNode) and not node.flow_style:
        return max(_last(lines, each) for pair in node.value for each in pair)
    if isinstance(node, pyyaml.SequenceNode) and not node.flow_style:
        return max(_last(lines, each) for each in node.value)
    end, begin = node.end_mark, int(node.start_mark.line)
    last = int(end.line if end.column or end.line == begin else end.line - 1)
    while last > begin and not lines[last].strip():  # behind a text in block style
        last -= 1
    return last


def _dumped(value: Any) -> list[str]:  # noqa: ANN401
    return yaml.dump(value).splitlines()
