"""The rounds: each rival once in each, the order turned from round to round, everything between them not timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.bench.busy import at_rest
from tasks.bench.commands import Stage, create, stages
from tasks.bench.driving import Launched, drive, timed, up
from tasks.bench.place import Place
from tasks.bench.preparing import prepare, remove_cluster
from tasks.bench.results import Measured
from tasks.bench.rival import Rival
from tasks.tools.program import Command, Programs

if TYPE_CHECKING:
    from tasks.situation import Situation


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One launch that is due."""

    rival: Rival
    round: int
    number: int
    """From 1, of `total`."""
    total: int


@dataclass(kw_only=True)
class Rounds:
    """All launches of a benchmark. `filled`: rivals whose caches are as their state wants them."""

    rivals: Sequence[Rival]
    places: Mapping[str, Place]
    """By the rival's name."""
    runs: int
    warmups: int
    before: str = ""
    """A command of the user's own, before each launch."""
    rest: float = 2.0
    """Seconds for which the machine is watched at rest before each launch."""
    filled: set[str] = field(default_factory=set)

    def turns(self) -> Iterator[Turn]:
        """In their order."""
        total, number = (self.runs + self.warmups) * len(self.rivals), 0
        for at in range(self.runs + self.warmups):
            first = at % len(self.rivals)
            for rival in [*self.rivals[first:], *self.rivals[:first]]:
                number += 1
                yield Turn(rival=rival, round=at - self.warmups, number=number, total=total)

    def take(self, turn: Turn) -> Measured:
        """Prepare, launch, and remove what was launched. Raises `LaunchError`."""
        rival, place = turn.rival, self.places[turn.rival.name]
        remove_cluster(place)
        try:
            if turn.round >= 0:  # a round that warms up fills by itself
                self._fill(rival, place)
            situation = look(place)
            prepare(place, rival, situation)
            self._forget(rival)
            self._before(rival, place)
            if rival.state == "noop":
                up(place, place.session.programs())
            act = launching(place, rival)
            rest = at_rest(self.rest)
            done = timed(act)
            self.filled.add(rival.name)
            return _measured(turn, done, rest)
        finally:
            remove_cluster(place)

    def _fill(self, rival: Rival, place: Place) -> None:
        """A launch that is not timed, where the caches are not as the state wants them: after a cold one."""
        if rival.state in ("cold", "noop") or rival.name in self.filled:
            return
        launching(place, rival)()
        remove_cluster(place)

    def _forget(self, rival: Rival) -> None:
        """What a cold launch has removed others may miss."""
        if rival.state == "cold":
            self.filled.clear()
        elif rival.state == "second":
            self.filled -= {each.name for each in self.rivals if each.state == "warm"}

    def _before(self, rival: Rival, place: Place) -> None:
        if not self.before:
            return
        told = {"OPENFRAME_BENCH_MODE": rival.mode, "OPENFRAME_BENCH_STATE": rival.state}
        theirs = Programs(env={**os.environ, **told})
        theirs.run(Command(argv=("sh", "-c", self.before), cwd=place.session.root, deadline=3600.0))


def look(place: Place) -> Situation:
    """What stands now. Raises what a survey raises."""
    from tasks.launch import PARTS
    from tasks.survey import survey

    return survey(place.session, PARTS)


def launching(place: Place, rival: Rival) -> Callable[[], tuple[dict[str, tuple[float, float]], tuple[str, ...]]]:
    """The launch, with all that it needs at hand."""
    programs = place.session.programs()
    if rival.mode == "graph":
        return lambda: up(place, programs)
    planned = staged(place, rival, look(place))
    theirs = Programs(folder=programs.folder, env=place.environ)
    return lambda: drive(theirs, planned, together=rival.mode == "staged")


def staged(place: Place, rival: Rival, situation: Situation) -> tuple[Stage, ...]:
    """The commands of a comparison mode."""
    bare = rival.mode == "create"
    planned = (create(place, situation, bare=True),) if bare else stages(place, situation)
    if place.session.rehearsal is not None:
        from tasks.bench.rehearsed import stage

        stage(place, situation, planned, together=rival.mode == "staged")
    return planned


def _measured(turn: Turn, done: Launched, rest: float) -> Measured:
    return Measured(
        rival=turn.rival.name,
        round=turn.round,
        wall_s=done.wall_s,
        busy_s=done.busy_s,
        rest=rest,
        steps=done.spans,
        critical_path=done.path,
    )


@dataclass(kw_only=True)
class Clock:
    """How long is left, by how long each rival's turn took so far, with all that is around the launch."""

    took: dict[str, list[float]] = field(default_factory=dict)
    begin: float = field(default_factory=time.monotonic)

    def add(self, rival: str, seconds: float) -> None:
        """A turn is over."""
        self.took.setdefault(rival, []).append(seconds)

    def left(self, turns: Sequence[Turn]) -> float | None:
        """Seconds for these turns; None while nothing is known."""
        known = [seconds for each in self.took.values() for seconds in each]
        if not known:
            return None
        usual = sum(known) / len(known)
        return sum(self.took.get(turn.rival.name, [usual])[-1] for turn in turns)
