"""The members of a JSON object, edited in its text: what is not asked for stays as it was written, byte for byte.

Docker reads the file with Go's encoding/json (moby: `daemon/config/config.go`): no comments, no NaN, and a byte order
mark or nothing at all are fine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
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


DOWNLOADS, UPLOADS, MIRRORS = "max-concurrent-downloads", "max-concurrent-uploads", "registry-mirrors"
DEFAULTS: Mapping[str, int] = {DOWNLOADS: 3, UPLOADS: 5}
"""Docker's own (moby: `daemon/config/config.go`); 0 means the same."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What shall stand in the file; None: nothing of ours."""

    downloads: int | None = None
    uploads: int | None = None
    mirror: str | None = None
    """Address of a cache of Docker Hub, the only registry that Docker takes mirrors for."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was done to one key."""

    set: Any
    """Our value; of the mirrors our one."""
    there: bool
    """Whether the key stood in the file before."""
    was: Any = None
    """Its value then; of the mirrors nothing: those of others are never touched."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The text, and what became of each key."""

    text: str
    changes: Mapping[str, Change] = field(default_factory=dict)
    """All that is ours in the text, that of earlier calls among it."""
    told: tuple[str, ...] = ()
    """What is different now, in words."""
    left: tuple[str, ...] = ()
    """What was left as it is, and why."""


def merged(
    text: str, wishes: Wishes, earlier: Mapping[str, Change] | None = None, given: Collection[str] = ()
) -> Merged:
    """Merge the wishes. `earlier`: what is ours already; `given`: keys that dockerd has as arguments.

    Docker refuses to start with a key that is an argument too. Raises `NotPlain`.
    """
    work = _Work(text, dict(earlier or {}))
    get(text, "")  # a text that cannot be read is refused, also where nothing has to be changed in it
    for key, wish in ((DOWNLOADS, wishes.downloads), (UPLOADS, wishes.uploads)):
        if wish is not None and key in given:
            work.left.append(f"{key} is an argument of dockerd")
        else:
            work.number(key, wish)
    if wishes.mirror is not None and MIRRORS in given:
        work.left.append("dockerd has mirrors as arguments")
    else:
        work.mirror(wishes.mirror)
    return Merged(text=work.text, changes=work.ours, told=tuple(work.told), left=tuple(work.left))


def number(text: str, key: str) -> int:
    """The number in force. Raises `NotPlain`."""
    return _number(text, key) or DEFAULTS[key]


def mirrors(text: str) -> list[str]:
    """The mirrors in the text. Raises `NotPlain`."""
    member = get(text, MIRRORS)
    if member is None or member.value is None:
        return []
    if not isinstance(member.value, list) or not all(isinstance(each, str) for each in member.value):
        raise NotPlain(f"'{MIRRORS}' is not a list of addresses")
    return list(member.value)


def plain(url: str) -> str:
    """An address as Docker compares it: with or without the slash at its end."""
    return url.rstrip("/")


def _number(text: str, key: str) -> int | None:
    member = get(text, key)
    if member is None or member.value is None:
        return None
    if isinstance(member.value, bool) or not isinstance(member.value, int):
        raise NotPlain(f"'{key}' is not a whole number")
    return member.value


class _Work:
    """A text on its way."""

    def __init__(self, text: str, ours: dict[str, Change]) -> None:
        self.text, self.ours = text, ours
        self.told: list[str] = []
        self.left: list[str] = []

    def number(self, key: str, wish: int | None) -> None:
        """Raise a number to the wish, or give it back."""
        now, change = _number(self.text, key), self.ours.get(key)
        if change is not None and now != change.set:
            self.left.append(f"{key} was changed by hand to {'nothing' if now is None else now}")
            del self.ours[key]
            change = None
        base = now if change is None else change.was
        if wish is not None and base is not None and base >= wish:
            if base > wish:
                self.left.append(f"{key} is {base}, which is more than {wish}")
            wish = None
        if wish is None:
            if change is not None:
                self.text = put(self.text, key, change.was) if change.there else drop(self.text, key)
                del self.ours[key]
                self.told.append(f"{key}: {now} → {change.was or DEFAULTS[key]}")
        elif wish != now:
            there = get(self.text, key) is not None if change is None else change.there
            self.text = put(self.text, key, wish)
            self.ours[key] = Change(set=wish, there=there, was=base)
            self.told.append(f"{key}: {now or DEFAULTS[key]} → {wish}")

    def mirror(self, wish: str | None) -> None:
        """Add the mirror behind those of others, in the place of an earlier one of ours; or take that out."""
        listed, change = mirrors(self.text), self.ours.pop(MIRRORS, None)
        if change is not None and not _within(change.set, listed):
            self.left.append(f"the mirror {change.set} was taken out by hand")
            change = None
        there = get(self.text, MIRRORS) is not None if change is None else change.there
        wanted = listed
        if change is not None and (wish is None or plain(wish) != plain(change.set)):
            wanted = [each for each in wanted if plain(each) != plain(change.set)]
            self.told.append(f"{MIRRORS}: without {change.set}")
            change = None
        if wish is not None and not _within(wish, wanted):
            wanted = [*wanted, wish]
            self.told.append(f"{MIRRORS}: with {wish}")
            change = Change(set=wish, there=there)
        if change is not None:
            self.ours[MIRRORS] = change
        if wanted != listed:
            self.text = put(self.text, MIRRORS, wanted) if wanted or there else drop(self.text, MIRRORS)


def _within(url: str, listed: Collection[str]) -> bool:
    return plain(url) in {plain(each) for each in listed}
