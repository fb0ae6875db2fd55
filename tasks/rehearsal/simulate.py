"""Activities played through on a machine of some cores and a line: when each begins and ends.

Time jumps from one change to the next. Between two changes every activity goes on at a constant rate: those that
compute share the cores, those that download share the line, the others wait for their own time to pass.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

_EPSILON = 1e-9


class Resource(Enum):
    """What a stage of an activity needs."""

    TIME = "time"
    """Seconds that pass whatever else goes on: a pause, an interval, a probe."""
    CPU = "cpu"
    """Seconds of a core."""
    LINE = "line"
    """Bytes through the line to the Internet."""


@dataclass(frozen=True)
class Stage:
    """An amount of one resource. `width`: cores, or connections, that it can use at once."""

    resource: Resource
    amount: float
    width: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Stages one after another, once all needs have ended."""

    name: str
    needs: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    rank: float = 0.0
    """Of those that wait for a place the highest goes first."""
    pool: str | None = None
    """The bound that it takes a place of: `work` or `waits`; None: it is no step of the plan."""
    kind: str | None = None
    """A smaller bound that it takes a place of too."""
    label: str = ""
    """What people read of it where it decides how long a launch takes; empty: it is the sum of others."""


class Limits(Protocol):
    """Places of the pool."""

    @property
    def work(self) -> int:
        """Commands at once."""

    @property
    def waits(self) -> int:
        """Waits at once."""

    @property
    def kinds(self) -> Mapping[str, int]:
        """Smaller bounds, by kind."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What activities share."""

    cores: float
    line: float | None = None
    """Bytes a second through the whole line; None: no limit."""
    connection: float | None = None
    """Bytes a second of one connection; None: no limit."""


@dataclass
class _Running:
    activity: Activity
    stage: int = 0
    left: float = 0.0


@dataclass
class _Play:
    activities: Mapping[str, Activity]
    machine: Machine
    limits: Limits
    now: float = 0.0
    start: dict[str, float] = field(default_factory=dict)
    end: dict[str, float] = field(default_factory=dict)
    running: dict[str, _Running] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)


def simulate(activities: Sequence[Activity], machine: Machine, limits: Limits) -> dict[str, tuple[float, float]]:
    """Begin and end of each activity, in seconds. Raises `ValueError` for needs that are never met."""
    play = _Play({each.name: each for each in activities}, machine, limits)
    unmet = {each.name: set(each.needs) for each in activities}
    followers: dict[str, list[str]] = {each.name: [] for each in activities}
    for each in activities:
        for need in each.needs:
            followers[need].append(each.name)
    order = {each.name: (-each.rank, number) for number, each in enumerate(activities)}
    ready = [(order[name], name) for name, needs in unmet.items() if not needs]
    heapq.heapify(ready)
    while ready or play.running:
        waiting = []
        while ready:
            entry = heapq.heappop(ready)
            if not _begin(play, play.activities[entry[1]]):
                waiting.append(entry)
        ready = waiting
        heapq.heapify(ready)
        if not play.running:
            raise ValueError(f"no place for {', '.join(name for _, name in ready)}")
        for name in _advance(play):
            for follower in followers[name]:
                unmet[follower].discard(name)
                if not unmet[follower]:
                    heapq.heappush(ready, (order[follower], follower))
    if len(play.end) < len(activities):
        raise ValueError(f"never ready: {', '.join(sorted(set(play.activities) - set(play.end)))}")
    return {name: (play.start[name], play.end[name]) for name in play.activities}


def _bounds(play: _Play, activity: Activity) -> list[tuple[str, int]]:
    found = []
    if activity.pool is not None:
        found.append((activity.pool, play.limits.work if activity.pool == "work" else play.limits.waits))
        if activity.kind is not None:
            found.append((f"kind {activity.kind}", play.limits.kinds.get(activity.kind, play.limits.work)))
    return found


def _begin(play: _Play, activity: Activity) -> bool:
    """Take the places and begin; False if one is not free."""
    bounds = _bounds(play, activity)
    if any(play.used.get(name, 0) >= most for name, most in bounds):
        return False
    for name, _ in bounds:
        play.used[name] = play.used.get(name, 0) + 1
    play.start[activity.name] = play.now
    first = activity.stages[0].amount if activity.stages else 0.0
    play.running[activity.name] = _Running(activity, 0, first)
    return True


def _advance(play: _Play) -> list[str]:
    """Go on to the next end of a stage; the activities that have ended with it."""
    rates = _rates(play)
    pause = min(each.left / rates[name] if each.left > _EPSILON else 0.0 for name, each in play.running.items())
    play.now += pause
    ended = []
    for name, each in list(play.running.items()):
        each.left -= rates[name] * pause
        while each.left <= _EPSILON:
            each.stage += 1
            if each.stage >= len(each.activity.stages):
                ended.append(name)
                break
            each.left = each.activity.stages[each.stage].amount
    for name in ended:
        activity = play.running.pop(name).activity
        play.end[name] = play.now
        for bound, _ in _bounds(play, activity):
            play.used[bound] -= 1
    return ended


def _rates(play: _Play) -> dict[str, float]:
    """How fast each activity goes on now."""
    now = {
        name: each.activity.stages[each.stage] if each.activity.stages else Stage(Resource.TIME, 0.0)
        for name, each in play.running.items()
    }
    rates = dict.fromkeys(now, 1.0)
    cpu = {name: stage.width for name, stage in now.items() if stage.resource is Resource.CPU}
    rates |= shared(cpu, play.machine.cores)
    each = play.machine.connection
    line = {
        name: stage.width * each if each is not None else float("inf")
        for name, stage in now.items()
        if stage.resource is Resource.LINE
    }
    rates |= shared(line, play.machine.line if play.machine.line is not None else float("inf"))
    # without any limit a download takes no time
    return {name: min(rate, 1e15) for name, rate in rates.items()}


def shared(wishes: Mapping[str, float], total: float) -> dict[str, float]:
    """A total divided fairly: nobody gets more than its wish, and what one leaves goes to the others."""
    got: dict[str, float] = {}
    left, waiting = total, dict(wishes)
    while waiting:
        part = left / len(waiting)
        content = {name: wish for name, wish in waiting.items() if wish <= part}
        if not content:
            return got | dict.fromkeys(waiting, part)
        got |= content
        left -= sum(content.values())
        waiting = {name: wish for name, wish in waiting.items() if name not in content}
    return got
