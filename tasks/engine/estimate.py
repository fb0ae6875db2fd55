"""How long a plan will take: the scheduler's own rule, played through on expected seconds, and these from earlier runs.

How long steps took is a hint, never a truth: a file that is missing, broken or locked is no history, and no error.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from tasks.core.files import write_whole
from tasks.core.lock import locked
from tasks.core.paths import state_folder
from tasks.engine.graph import check, critical_path, guessed, longest_chain, remaining
from tasks.engine.slots import Places
from tasks.engine.step import Bounds, Result, State, Step
from tasks.engine.work import BuildImage, PushImage, RunOwn

_KEPT = 5
"""Runs a step is remembered for: enough for a median, few enough to follow a change of the machine."""
_NAMES = 2000
_PATIENCE = 2.0
"""Seconds that another process may hold the file; it needs milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is expected of a plan, in seconds."""

    total_s: float
    floor_s: float
    """The longest chain of needs: with any number of places the plan takes at least this."""
    critical_path: tuple[str, ...]
    """The chain that decides the total, queueing for places included."""
    unknown: int
    """Steps that will run and whose seconds neither an earlier run nor the plan gives."""
    times: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    """Expected start and end of each step."""

    @property
    def trusted(self) -> bool:
        """Whether most of it rests on figures, not on guesses."""
        return self.unknown * 2 <= sum(end > start for start, end in self.times.values())


def estimate(steps: Sequence[Step], history: Mapping[str, float], bounds: Bounds) -> Estimate:
    """Play a plan through. Raises `PlanError` for a graph that cannot run."""
    check(steps)
    seconds = guessed(steps, history)
    results = _Play(steps, seconds, bounds).run()
    floor, _ = longest_chain(steps, seconds)
    return Estimate(
        total_s=max((r.end_s or 0.0 for r in results), default=0.0),
        floor_s=floor,
        critical_path=critical_path(results, frozenset(s.name for s in steps if s.until)),
        unknown=sum(s.skip is None and not s.until and s.name not in history and s.expected is None for s in steps),
        times=MappingProxyType({r.name: (r.start_s or 0.0, r.end_s or 0.0) for r in results}),
    )


class _Play:
    """The state of one simulation; time jumps from one end of a step to the next."""

    def __init__(self, steps: Sequence[Step], seconds: Mapping[str, float], bounds: Bounds) -> None:
        self._steps = {s.name: s for s in steps}
        self._seconds = seconds
        self._places = Places(bounds)
        self._slots: dict[str, int | None] = {}
        rank = remaining(steps, seconds)
        self._order = {s.name: (-rank[s.name], i) for i, s in enumerate(steps)}
        self._unmet = {s.name: set(s.needs) for s in steps}
        self._followers: dict[str, list[str]] = {s.name: [] for s in steps}
        for step in steps:
            for need in step.needs:
                self._followers[need].append(step.name)
        self._ready_at: dict[str, float] = {}
        self._start: dict[str, float] = {}
        self._end: dict[str, float] = {}
        self._ready: set[str] = set()
        self._ends: list[tuple[float, int, str]] = []

    def run(self) -> list[Result]:
        for name, step in self._steps.items():
            if not step.needs:
                self._make_ready(name, 0.0)
        now = 0.0
        while True:
            for name in sorted(self._ready, key=self._order.__getitem__):
                if name in self._ready and self._places.fit(self._steps[name]):
                    self._begin(name, now)
            if not self._ends:
                break
            now, _, name = heapq.heappop(self._ends)
            self._give_back(name)
            self._finish(name, now)
        return [self._result(step) for step in self._steps.values()]

    def _make_ready(self, name: str, now: float) -> None:
        if name in self._end:  # a guard whose work was over before its own needs were met
            return
        self._ready_at[name] = now
        if self._steps[name].skip is not None:
            self._start[name] = now
            self._finish(name, now)
        else:
            self._ready.add(name)

    def _give_back(self, name: str) -> None:
        self._places.give_back(self._steps[name], self._slots.pop(name))

    def _begin(self, name: str, now: float) -> None:
        step = self._steps[name]
        self._ready.discard(name)
        self._start[name] = now
        self._slots[name] = self._places.take(step)
        if not step.until:
            heapq.heappush(self._ends, (now + self._seconds[name], self._order[name][1], name))
        else:
            self._end_guards(now)

    def _finish(self, name: str, now: float) -> None:
        self._end[name] = now
        for follower in self._followers[name]:
            self._unmet[follower].discard(name)
            if not self._unmet[follower]:
                self._make_ready(follower, now)
        self._end_guards(now)

    def _end_guards(self, now: float) -> None:
        for step in self._steps.values():
            over = step.until and step.name not in self._end and all(name in self._end for name in step.until)
            if over:
                if step.name in self._start:
                    self._give_back(step.name)
                self._ready.discard(step.name)
                self._start.setdefault(step.name, now)
                self._finish(step.name, now)

    def _result(self, step: Step) -> Result:
        return Result(
            name=step.name,
            task=step.task,
            needs=step.needs,
            state=State.SKIPPED if step.skip is not None else State.RAN,
            ready_s=self._ready_at.get(step.name),
            start_s=self._start.get(step.name),
            end_s=self._end.get(step.name),
        )


def history_file(environ: Mapping[str, str]) -> Path:
    """`durations.json` in the user's state folder."""
    return state_folder(environ) / "durations.json"


def load(path: Path, engine: str) -> dict[str, float]:
    """For each step that ran on this engine the median of its last seconds."""
    prefix = f"{engine}/"
    return {key.removeprefix(prefix): _median(past) for key, past in _read(path).items() if key.startswith(prefix)}


def expecting(steps: Sequence[Step], seconds: Mapping[str, float]) -> list[Step]:
    """The same, those that only the user knows with the seconds that they took before: no model knows of them."""
    return [
        replace(step, expected=seconds.get(step.name, step.expected))
        if isinstance(step.work, RunOwn | BuildImage | PushImage)
        else step
        for step in steps
    ]


def remember(path: Path, engine: str, results: Sequence[Result]) -> None:
    """Add what ran; not those that were skipped, failed or ended early, whose time means nothing.

    Raises OSError.
    """
    ran = [(f"{engine}/{r.name}", r.seconds) for r in results if r.state is State.RAN and r.end_s is not None]
    if not ran:
        return
    lock = path.with_name(f"{path.name}.lock")  # the data file is replaced as a whole, and a lock on it with it
    with locked(lock, _PATIENCE):
        known = _read(path)
        for key, seconds in ran:
            # taken out and put back at the end: the order of names is that of their last use
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


def _median(values: Sequence[float]) -> float:
    """As statistics.median, whose import alone costs more than reading the file."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
