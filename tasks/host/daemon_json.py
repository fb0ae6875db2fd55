"""Docker's daemon.json: its values, and the result of a merge.

Docker parses the file with Go's encoding/json (moby: `daemon/config/config.go`): no comments, no NaN, and a byte order
mark or an empty file are accepted. White space is not preserved if something changes.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

_COMMENTS = ("//", "/*", "#")
_INDENT = re.compile(r"\n([ \t]+)\"")


class NotPlain(ValueError):
    """The text is not a JSON object that can be changed; the message says why."""


def parse(text: str) -> dict[str, Any]:
    """The values of a file; empty for an empty one. Raises `NotPlain`, also for a duplicate key in an object.

    Which one of two counts would be a guess, and the other one would be lost.
    """
    text = text.removeprefix("\ufeff")
    if not text.strip():
        return {}
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except json.JSONDecodeError as error:
        why = error.msg
        if text.startswith(_COMMENTS, error.pos):
            why = "a comment, which Docker does not accept: it would not start with this file"
        raise NotPlain(f"line {error.lineno}: {why}") from None
    except (ValueError, RecursionError) as error:  # also for excessive numbers or depth
        raise NotPlain(str(error)) from None
    if not isinstance(document, dict):
        raise NotPlain("line 1: an object in braces is expected")
    return document


def dump(document: Mapping[str, Any], like: str = "") -> str:
    """The text of these values, with the indentation of another text."""
    indent = _INDENT.search(like)
    try:
        text = json.dumps(document, indent=indent[1] if indent else 2, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise NotPlain("a number in it is too large to be written") from None
    return f"{text}\n"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise NotPlain(f"'{next(name for name in names if names.count(name) > 1)}' is a duplicate key")
    return found


def _constant(name: str) -> NoReturn:
    raise NotPlain(f"{name} is not JSON")


DOWNLOADS, UPLOADS, MIRRORS = "max-concurrent-downloads", "max-concurrent-uploads", "registry-mirrors"
DEFAULTS: Mapping[str, int] = {DOWNLOADS: 3, UPLOADS: 5}
"""Docker's own (moby: `daemon/config/config.go`); 0 means the same."""


@dataclass(frozen=True, kw_only=True)
class Desired:
    """The desired values; None: not set by this project."""

    downloads: int | None = None
    uploads: int | None = None
    mirror: str | None = None
    """Address of a cache of Docker Hub, the only registry for which Docker supports mirrors."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """The change of one key."""

    set: Any
    """This project's value; for mirrors its own one."""
    there: bool
    """Whether the key was in the file before."""
    was: Any = None
    """Its previous value; not for mirrors, where others are never changed."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The merged text, and the outcome for each key."""

    text: str
    changes: Mapping[str, Change] = field(default_factory=dict)
    """All of this project's changes in the text, including earlier ones."""
    messages: tuple[str, ...] = ()
    """What has changed, in words."""
    left: tuple[str, ...] = ()
    """What was left unchanged, and why."""


def merged(
    text: str, desired: Desired, earlier: Mapping[str, Change] | None = None, given: Collection[str] = ()
) -> Merged:
    """Merge the desired values. `earlier`: this project's earlier changes; `given`: keys that are arguments of dockerd.

    Docker does not start with a key that is also an argument. Raises `NotPlain`.
    """
    work = _Work(parse(text), dict(earlier or {}))
    for key, wanted in ((DOWNLOADS, desired.downloads), (UPLOADS, desired.uploads)):
        if wanted is not None and key in given:
            work.left.append(f"{key} is an argument of dockerd")
        else:
            work.number(key, wanted)
    if desired.mirror is not None and MIRRORS in given:
        work.left.append("dockerd has mirrors as arguments")
    else:
        work.mirror(desired.mirror)
    made = dump(work.document, text) if work.messages else text
    return Merged(text=made, changes=work.ours, messages=tuple(work.messages), left=tuple(work.left))


def number(document: Mapping[str, Any], key: str) -> int:
    """The effective number. Raises `NotPlain`."""
    return _number(document, key) or DEFAULTS[key]


def mirrors(document: Mapping[str, Any]) -> list[str]:
    """The mirrors among the values. Raises `NotPlain`."""
    found = document.get(MIRRORS)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise NotPlain(f"'{MIRRORS}' is not a list of addresses")
    return list(found)


def plain(url: str) -> str:
    """An address as Docker compares it: with or without the trailing slash."""
    return url.rstrip("/")


def _number(document: Mapping[str, Any], key: str) -> int | None:
    found = document.get(key)
    if isinstance(found, bool) or not isinstance(found, int | None):
        raise NotPlain(f"'{key}' is not a whole number")
    return found


class _Work:
    """A merge in progress."""

    def __init__(self, document: dict[str, Any], ours: dict[str, Change]) -> None:
        self.document, self.ours = document, ours
        self.messages: list[str] = []
        self.left: list[str] = []

    def number(self, key: str, wanted: int | None) -> None:
        """Raise a number to the desired one, or restore it."""
        now, change = _number(self.document, key), self.ours.get(key)
        if change is not None and now != change.set:
            self.left.append(f"{key} was changed manually to {'nothing' if now is None else now}")
            del self.ours[key]
            change = None
        base = now if change is None else change.was
        if wanted is not None and base is not None and base >= wanted:
            if base > wanted:
                self.left.append(f"{key} is {base}, which is more than {wanted}")
            wanted = None
        if wanted is None:
            if change is not None:
                self._set(key, change.was, keep=change.there)
                del self.ours[key]
                self.messages.append(f"{key}: {now} → {change.was or DEFAULTS[key]}")
        elif wanted != now:
            there = key in self.document if change is None else change.there
            self.document[key] = wanted
            self.ours[key] = Change(set=wanted, there=there, was=base)
            self.messages.append(f"{key}: {now or DEFAULTS[key]} → {wanted}")

    def mirror(self, wanted: str | None) -> None:
        """Append the mirror to those of others, replacing an earlier one of this project; or remove that one."""
        before, change = mirrors(self.document), self.ours.pop(MIRRORS, None)
        if change is not None and not _within(change.set, before):
            self.left.append(f"the mirror {change.set} was removed manually")
            change = None
        there = MIRRORS in self.document if change is None else change.there
        after = before
        if change is not None and (wanted is None or plain(wanted) != plain(change.set)):
            after = [each for each in after if plain(each) != plain(change.set)]
            self.messages.append(f"{MIRRORS}: without {change.set}")
            change = None
        if wanted is not None and not _within(wanted, after):
            after = [*after, wanted]
            self.messages.append(f"{MIRRORS}: with {wanted}")
            change = Change(set=wanted, there=there)
        if change is not None:
            self.ours[MIRRORS] = change
        if after != before:
            self._set(MIRRORS, after, keep=bool(after) or there)

    def _set(self, key: str, value: Any, *, keep: bool) -> None:  # noqa: ANN401 - a JSON value
        if keep:
            self.document[key] = value
        else:
            self.document.pop(key, None)


def _within(url: str, listed: Collection[str]) -> bool:
    return plain(url) in {plain(each) for each in listed}
