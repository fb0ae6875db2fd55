"""What is compared: a way to launch, from settings, in a state of caches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.errors import BadInput

MODES = ("sequential", "staged", "graph", "create")
STATES = ("warm", "cold", "second", "noop")
"""warm: images and charts are there. cold: none are. second: the host has none, our caches have all. noop: a cluster
stands already, with nothing to be changed in it."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where settings come from."""

    profile: str | None = None
    sets: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """A folder's name: settings that differ share no caches and no memory."""
        return hashlib.sha256(repr((self.profile, self.sets)).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One of those that are compared."""

    name: str
    mode: str
    state: str = "warm"
    setting: Setting = field(default_factory=Setting)


def rivals(modes: str, state: str, setting: Setting, against: Setting | None = None) -> tuple[Rival, ...]:
    """Of `sequential,staged,graph:noop`; with other settings to compare with each of them twice, as A and B.

    Raises `BadInput`.
    """
    found: list[Rival] = []
    for word in (part.strip() for part in modes.split(",") if part.strip()):
        mode, colon, own = word.partition(":")
        chosen = _chosen(own if colon else state, STATES, "state")
        mode = _chosen(mode, MODES, "mode")
        if chosen == "noop" and mode != "graph":
            chosen = "warm"  # a launch by the comparison modes has no such thing: they would do everything again
        if mode == "create" and chosen == "second":
            chosen = "cold"
        name = mode if chosen == "warm" else f"{mode}:{chosen}"
        both: Sequence[tuple[str, Setting]] = [("", setting)] if against is None else [("A ", against), ("B ", setting)]
        found += [Rival(name=f"{mark}{name}", mode=mode, state=chosen, setting=each) for mark, each in both]
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice or not found:
        raise BadInput(
            f"--modes names '{twice}' twice" if twice else "--modes names nothing",
            why="each that is compared has a name of its own",
            fix="write it as sequential,staged,graph or graph:noop,sequential",
        )
    return tuple(found)


def _chosen(value: str, known: Sequence[str], what: str) -> str:
    if value not in known:
        raise BadInput(f"'{value}' is no {what} of bench", why=f"there are: {', '.join(known)}", fix="use one of them")
    return value
