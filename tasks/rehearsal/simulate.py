"""Activities played through on a machine of some cores and a line: when each begins and ends.

Time jumps from one change to the next. Between two changes every activity goes on at a constant rate: those that
compute share the cores, those that download share the line, the others wait for their own time to pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.engine.step import Bounds

_EPSILON = 1e-9
_AT_ONCE = 1e15
"""The rate of what nothing limits."""


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
    """What is left of an activity: seconds or bytes of its first stage, and the stages after it."""

    stages: list[Stage]
    left: float


def simulate(activities: Sequence[Activity], machine: Machine, bounds: Bounds) -> dict[str, tuple[float, float]]:
    """Begin and end of each activity, in seconds. Raises `ValueError` for needs that are never met."""
    known = {each.name: each for each in activities}
    order = {each.name: (-each.rank, number) for number, each in enumerate(activities)}
    unmet = TopologicalSorter({each.name: each.needs for each in activities})
    try:
        unmet.prepare()
    except CycleError as error:
        raise ValueError(f"never ready: {', '.join(sorted(set(error.args[1])))}") from None
    used, now, waiting = Counter[str](), 0.0, list[str]()
    start, end, running = dict[str, float](), dict[str, float](), dict[str, _Running]()
    while unmet.is_active():
        ready, waiting = sorted([*waiting, *unmet.get_ready()], key=order.__getitem__), []
        for name in ready:
            places = _places(known[name], bounds)
            if any(used[place] >= most for place, most in places.items()):
                waiting.append(name)
                continue
            used.update(places.keys())
            stages = list(known[name].stages) or [Stage(Resource.TIME, 0.0)]
            start[name], running[name] = now, _Running(stages, stages[0].amount)
        now, ended = _advance(now, running, machine)
        for name in ended:
            end[name] = now
            used.subtract(_places(known[name], bounds).keys())
        unmet.done(*ended)
    return {name: (start[name], end[name]) for name in known}


def _places(activity: Activity, bounds: Bounds) -> dict[str, int]:
    """The bounds that it takes a place of, each with how many places there are."""
    if activity.pool is None:
        return {}
    found = {activity.pool: bounds.work if activity.pool == "work" else bounds.waits}
    if activity.kind is not None:
        found[f"kind {activity.kind}"] = bounds.kinds.get(activity.kind, bounds.work)
    return found


def _advance(now: float, running: dict[str, _Running], machine: Machine) -> tuple[float, list[str]]:
    """Go on to the next end of a stage: when that is, and the activities that have ended with it."""
    rates = _rates(running, machine)
    pause = min(each.left / rates[name] if each.left > _EPSILON else 0.0 for name, each in running.items())
    ended = []
    for name, each in running.items():
        each.left -= rates[name] * pause
        while each.stages and each.left <= _EPSILON:
            each.stages.pop(0)
            each.left = each.stages[0].amount if each.stages else 0.0
        if not each.stages:
            ended.append(name)
    for name in ended:
        del running[name]
    return now + pause, ended


def _rates(running: Mapping[str, _Running], machine: Machine) -> dict[str, float]:
    """How fast each activity goes on now."""
    now = {name: each.stages[0] for name, each in running.items()}
    connection = machine.connection or _AT_ONCE
    cores = {name: stage.width for name, stage in now.items() if stage.resource is Resource.CPU}
    line = {name: stage.width * connection for name, stage in now.items() if stage.resource is Resource.LINE}
    return dict.fromkeys(now, 1.0) | shared(cores, machine.cores) | shared(line, machine.line or _AT_ONCE)


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
