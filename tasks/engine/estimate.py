"""Expected duration of a plan: the scheduler's rule simulated on expected seconds, which come from earlier runs.

Recorded durations are only a hint: a missing, broken or locked file means no history, and is no error.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import MappingProxyType

from tasks.core.files import write_whole
from tasks.core.lock import locked
from tasks.core.paths import state_folder
from tasks.engine.graph import check, critical_path, guessed, longest_chain, remaining
from tasks.engine.step import Bounds, Result, State, Step
from tasks.engine.work import BuildImage, PushImage, RunOwn

_KEPT = 5
"""Runs remembered for each step: enough for a median, few enough to follow a change of the machine."""
_NAMES = 2000
_PATIENCE = 2.0
"""Seconds to wait for another process that has locked the file; it needs milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The expected duration of a plan, in seconds."""

    total_s: float
    floor_s: float
    """The longest chain of needs: a lower bound, whatever the size of the pool."""
    critical_path: tuple[str, ...]
    """The chain that determines the total, including queueing for places."""
    unknown: int
    """Steps that will run and have no duration from an earlier run or the plan."""
    times: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    """Expected start and end of each step."""

    @property
    def trusted(self) -> bool:
        """Whether most of it is based on recorded durations, not on guesses."""
        return self.unknown * 2 <= sum(end > start for start, end in self.times.values())


def estimate(steps: Sequence[Step], history: Mapping[str, float], bounds: Bounds) -> Estimate:
    """Simulate a plan. Raises `PlanError` for a graph that cannot run."""
    check(steps)
    seconds = guessed(steps, history)
    spans = _spans(steps, seconds, bounds)
    results = [
        Result(
            name=step.name,
            task=step.task,
            needs=step.needs,
            state=State.SKIPPED if step.skip is not None else State.RAN,
            start_s=spans[step.name][0],
            end_s=spans[step.name][1],
        )
        for step in steps
    ]
    floor, _ = longest_chain(steps, seconds)
    return Estimate(
        total_s=max((end for _, end in spans.values()), default=0.0),
        floor_s=floor,
        critical_path=critical_path(results, frozenset(s.name for s in steps if s.until)),
        unknown=sum(s.skip is None and not s.until and s.name not in history and s.expected is None for s in steps),
        times=MappingProxyType({step.name: spans[step.name] for step in steps}),
    )


def _spans(steps: Sequence[Step], seconds: Mapping[str, float], bounds: Bounds) -> dict[str, tuple[float, float]]:
    """Start and end of each step. A guard takes no place, and ends with the steps that it guards."""
    guards, rank = {step.name: step for step in steps if step.until}, remaining(steps, seconds)

    def needs(step: Step) -> tuple[str, ...]:
        return tuple(name for need in step.needs for name in (guards[need].until if need in guards else (need,)))

    acting = [
        Activity(
            name=step.name,
            needs=needs(step),
            stages=(Stage(Resource.TIME, seconds[step.name]),) if step.skip is None else (),
            rank=rank[step.name],
            pool=None if step.skip is not None else "waits" if step.wait else "work",
            kind=None if step.skip is not None else step.kind,
        )
        for step in steps
        if not step.until
    ]
    spans = simulate(acting, Machine(cores=math.inf), bounds)
    for name, guard in guards.items():
        end = max(spans[each][1] for each in guard.until)
        spans[name] = min(end, max((spans[need][1] for need in guard.needs if need in spans), default=0.0)), end
    return spans


# -- simulation of activities on a machine with some cores and a network connection ---------------------------
#
# Time jumps from one event to the next. Between two events every activity progresses at a constant rate: those that
# compute share the cores, those that download share the bandwidth, the others wait for their own time to pass.

_EPSILON = 1e-9
_AT_ONCE = 1e15
"""The rate of an activity that is not limited."""


class Resource(Enum):
    """What a stage of an activity needs."""

    TIME = "time"
    """Seconds that pass independently of load: a pause, an interval, a probe."""
    CPU = "cpu"
    """CPU seconds."""
    LINE = "line"
    """Bytes downloaded from the Internet."""


@dataclass(frozen=True)
class Stage:
    """An amount of one resource. `width`: cores, or connections, that it can use at once."""

    resource: Resource
    amount: float
    width: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Stages in sequence; starts once all needs have ended."""

    name: str
    needs: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    rank: float = 0.0
    """The waiting activity with the highest priority starts first."""
    pool: str | None = None
    """The bound that it counts against: `work` or `waits`; None: it is no step of the plan."""
    kind: str | None = None
    """A smaller bound that it counts against, too."""
    label: str = ""
    """Its name for users if it determines how long a launch takes; empty: it is the sum of others."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Resources that activities share."""

    cores: float
    line: float | None = None
    """Bytes per second of the whole connection; None: no limit."""
    connection: float | None = None
    """Bytes per second of one TCP connection; None: no limit."""


@dataclass
class _Running:
    """The rest of an activity: seconds or bytes of its current stage, and the stages after it."""

    stages: list[Stage]
    left: float


def simulate(activities: Sequence[Activity], machine: Machine, bounds: Bounds) -> dict[str, tuple[float, float]]:
    """Start and end of each activity, in seconds. Raises `ValueError` for needs that are never met.

    Activities that end at the same moment end one after another, and their places are reused in between.
    """
    known = {each.name: each for each in activities}
    order = {each.name: (-each.rank, number) for number, each in enumerate(activities)}
    places = {each.name: _places(each, bounds) for each in activities}
    unmet = TopologicalSorter({each.name: each.needs for each in activities})
    try:
        unmet.prepare()
    except CycleError as error:
        raise ValueError(f"never ready: {', '.join(sorted(set(error.args[1])))}") from None
    used, now, waiting, over = Counter[str](), 0.0, list[str](), list[str]()
    start, end, running = dict[str, float](), dict[str, float](), dict[str, _Running]()
    while unmet.is_active():
        ready, waiting = sorted([*waiting, *unmet.get_ready()], key=order.__getitem__), []
        at_once = [name for name in ready if not known[name].stages and not places[name]]
        if at_once:  # before anything else starts: their dependents may go first
            start |= dict.fromkeys(at_once, now)
            end |= dict.fromkeys(at_once, now)
            unmet.done(*at_once)
            waiting = [name for name in ready if name not in start]
            continue
        for name in ready:
            if any(used[place] >= most for place, most in places[name].items()):
                waiting.append(name)
                continue
            used.update(places[name].keys())
            stages = list(known[name].stages) or [Stage(Resource.TIME, 0.0)]
            start[name], running[name] = now, _Running(stages, stages[0].amount)
        while not over:
            now, over = _advance(now, running, machine)
            over.sort(key=lambda name: order[name][1])
        name = over.pop(0)
        end[name] = now
        used.subtract(places[name].keys())
        unmet.done(name)
    return {name: (start[name], end[name]) for name in known}


def _places(activity: Activity, bounds: Bounds) -> dict[str, int]:
    """The bounds that it counts against, each with its number of places."""
    if activity.pool is None:
        return {}
    found = {activity.pool: bounds.work if activity.pool == "work" else bounds.waits}
    if activity.kind is not None:
        found[f"kind {activity.kind}"] = bounds.kinds.get(activity.kind, bounds.work)
    return found


def _advance(now: float, running: dict[str, _Running], machine: Machine) -> tuple[float, list[str]]:
    """Advance to the next end of a stage: returns its time, and the activities that have ended with it."""
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
    """The current rate of each activity."""
    now = {name: each.stages[0] for name, each in running.items()}
    connection = machine.connection or _AT_ONCE
    cores = {name: stage.width for name, stage in now.items() if stage.resource is Resource.CPU}
    line = {name: stage.width * connection for name, stage in now.items() if stage.resource is Resource.LINE}
    return dict.fromkeys(now, 1.0) | shared(cores, machine.cores) | shared(line, machine.line or _AT_ONCE)


def shared(desired: Mapping[str, float], total: float) -> dict[str, float]:
    """A total divided fairly: no share exceeds what is desired, and the rest goes to the others."""
    got: dict[str, float] = {}
    left, waiting = total, dict(desired)
    while waiting:
        part = left / len(waiting)
        content = {name: wish for name, wish in waiting.items() if wish <= part}
        if not content:
            return got | dict.fromkeys(waiting, part)
        got |= content
        left -= sum(content.values())
        waiting = {name: wish for name, wish in waiting.items() if name not in content}
    return got


# -- seconds of earlier runs ----------------------------------------------------------------------------------


def history_file(environ: Mapping[str, str]) -> Path:
    """`durations.json` in the user's state folder."""
    return state_folder(environ) / "durations.json"


def load(path: Path, engine: str) -> dict[str, float]:
    """The median duration of each step on this engine over its recorded runs."""
    prefix = f"{engine}/"
    return {key.removeprefix(prefix): median(past) for key, past in _read(path).items() if key.startswith(prefix)}


def expecting(steps: Sequence[Step], seconds: Mapping[str, float]) -> list[Step]:
    """The same steps; those defined by the user get their recorded durations, since no model covers them."""
    return [
        replace(step, expected=seconds.get(step.name, step.expected))
        if isinstance(step.work, RunOwn | BuildImage | PushImage)
        else step
        for step in steps
    ]


def remember(path: Path, engine: str, results: Sequence[Result]) -> None:
    """Add the durations of steps that ran; not of skipped, failed or stopped ones.

    Raises OSError.
    """
    ran = [(f"{engine}/{r.name}", r.seconds) for r in results if r.state is State.RAN and r.end_s is not None]
    if not ran:
        return
    lock = path.with_name(f"{path.name}.lock")  # the data file is replaced, which would lose a lock on it
    with locked(lock, _PATIENCE):
        known = _read(path)
        for key, seconds in ran:
            # removed and appended at the end: the names are ordered by last use
            known[key] = [*known.pop(key, []), round(seconds, 3)][-_KEPT:]
        newest = dict(list(known.items())[-_NAMES:])
        write_whole(path, json.dumps({"schema": 1, "seconds": newest}, indent=0, ensure_ascii=False) + "\n")


def _read(path: Path) -> dict[str, list[float]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = document.get("seconds") if isinstance(document, dict) and document.get("schema") == 1 else None
    if not isinstance(entries, dict):
        return {}
    found = {key: [float(s) for s in past if _sane(s)] for key, past in entries.items() if isinstance(past, list)}
    return {key: past for key, past in found.items() if past}


def _sane(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= 86400 and math.isfinite(value)


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two; 0 for none. Importing `statistics` takes longer than this."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else 0.0
