"""The members of a JSON object, edited in its text: what is not asked for stays as it was written, byte for byte.

Docker reads the file with Go's encoding/json (moby: `daemon/config/config.go`): no comments, no NaN, and a byte order
mark or nothing at all are fine.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

_BLANK = re.compile(r"[ \t\r\n]*")
_INDENT = "  "
_COMMENTS = ("//", "/*", "#")


class NotPlain(ValueError):
    """The text is no JSON object that can be edited; its message says why."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One key with its value, and where they stand."""

    key: str
    value: Any
    begin: int
    """Of the key."""
    at: int
    """Of the value."""
    end: int


@dataclass(frozen=True, kw_only=True)
class _Scan:
    members: tuple[Member, ...]
    inside: tuple[int, int]
    """What stands between the braces; both 0 for a text without any."""


def members(text: str) -> tuple[Member, ...]:
    """All members in their order; none for an empty text. Raises `NotPlain`."""
    return _scan(text).members


def get(text: str, key: str) -> Member | None:
    """The member of that key. Raises `NotPlain`, also for a key that stands twice: which one counts is a guess."""
    found = [each for each in members(text) if each.key == key]
    if len(found) > 1:
        raise NotPlain(f"line {_line(text, found[1].begin)}: '{key}' stands twice")
    return found[0] if found else None


def put(text: str, key: str, value: Any) -> str:  # noqa: ANN401 - any JSON value
    """The text with this value; a key that is new comes last, set off as the one before it. Raises `NotPlain`."""
    written = json.dumps(value)
    there = get(text, key)
    if there is not None:
        return text[: there.at] + written + text[there.end :]
    scan = _scan(text)
    pair = f"{json.dumps(key)}: {written}"
    if scan.inside == (0, 0):
        return f"{text}{{\n{_INDENT}{pair}\n}}\n"
    begin, end = scan.inside
    if not scan.members:
        return f"{text[:begin]}\n{_INDENT}{pair}\n{text[end:]}"
    last = scan.members[-1]
    before = scan.members[-2].end if len(scan.members) > 1 else begin
    gap = text[before : last.begin].rpartition(",")[2]
    return f"{text[: last.end]},{gap or ' '}{pair}{text[last.end :]}"


def drop(text: str, key: str) -> str:
    """The text without this key. Raises `NotPlain`."""
    there = get(text, key)
    if there is None:
        return text
    scan = _scan(text)
    place = scan.members.index(there)
    if len(scan.members) == 1:
        begin, end = scan.inside
        return text[:begin] + text[end:]
    if place + 1 < len(scan.members):
        return text[: there.begin] + text[scan.members[place + 1].begin :]
    return text[: scan.members[place - 1].end] + text[there.end :]


def _scan(text: str) -> _Scan:
    at = _skip(text, 1 if text.startswith("\ufeff") else 0)
    if at == len(text):
        return _Scan(members=(), inside=(0, 0))
    if text[at] != "{":
        _refuse(text, at, "an object in braces is expected")
    begin = at + 1
    found: list[Member] = []
    at = _skip(text, begin)
    while found or text[at : at + 1] != "}":
        key, colon = _value(text, at)
        if not isinstance(key, str):
            _refuse(text, at, "a key in quotes is expected")
        colon = _skip(text, colon)
        if text[colon : colon + 1] != ":":
            _refuse(text, colon, "a colon is expected")
        start = _skip(text, colon + 1)
        value, end = _value(text, start)
        found.append(Member(key=key, value=value, begin=at, at=start, end=end))
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            break
        if text[at : at + 1] != ",":
            _refuse(text, at, "a comma or a closing brace is expected")
        at = _skip(text, at + 1)
    rest = _skip(text, at + 1)
    if rest != len(text):
        _refuse(text, rest, "something stands behind the closing brace")
    return _Scan(members=tuple(found), inside=(begin, at))


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match is not None else at


def _value(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        _refuse(text, error.pos, error.msg)
    except (ValueError, RecursionError):  # a constant that JSON does not have, a number or a depth beyond all sense
        _refuse(text, at, "this value is not JSON")


def _constant(_name: str) -> NoReturn:
    raise ValueError


_DECODER = json.JSONDecoder(parse_constant=_constant)


def _refuse(text: str, at: int, why: str) -> NoReturn:
    if text.startswith(_COMMENTS, at):
        why = "a comment, which Docker does not take: it would not start with this file"
    raise NotPlain(f"line {_line(text, at)}: {why}") from None


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
