"""What is merged into daemon.json, and what is taken out of it again: pure, on its text.

A number of the user's own that is as high stays; mirrors are added behind theirs. Taking out is merging nothing:
what is no longer wished for becomes what it was, unless somebody has changed it since.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.tune.document import NotPlain, drop, get, put

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
