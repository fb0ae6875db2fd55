"""Which programs must be fetched, and why."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.facts.versions import numbers
from tasks.setup.pins import Pin


@dataclass(frozen=True, kw_only=True)
class Found:
    """A program on this machine."""

    path: str
    version: str | None
    """As it tells itself; None if it tells none."""
    ours: bool
    """It lies in the project's own folder."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Whether a program must be fetched, and the reason in either case."""

    fetch: bool
    why: str


def need(pin: Pin, found: Found | None) -> Need:
    """What is on the PATH is used unless it is too old or does not run; what is ours has the pinned version."""
    if found is None:
        return Need(fetch=True, why="neither in the project's folder nor on the PATH")
    known = numbers(found.version)
    if not known:
        return Need(fetch=True, why=f"{found.path} does not tell its version, so it is taken for broken")
    if found.ours and known != numbers(pin.version):
        return Need(fetch=True, why=f"the project's folder has {found.version}, and {pin.version} is wanted")
    if known < numbers(pin.minimum):
        return Need(fetch=True, why=f"{found.path} is {found.version}, and at least {pin.minimum} is needed")
    return Need(fetch=False, why=f"{found.version} is there: {found.path}")
