"""The figures of a run: where its time went, and what would make it shorter. Seconds everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from tasks.engine.graph import critical_path
from tasks.engine.record import floor_of, guard_names
from tasks.engine.step import Result, State, Step

JITTER = 0.05
"""A step that waited less for its place did not queue: that is the time a thread needs to start."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Derived from the results of one run. Guards are left out: they last as long as what they guard."""

    counts: Mapping[State, int]
    wall_s: float
    floor_s: float
    path: tuple[tuple[str, float], ...]
    """The critical path, each step with its seconds."""
    path_queued: Mapping[str, float]
    """Seconds that steps of the critical path queued, by the bound that was the reason."""
    costliest: tuple[tuple[str, float], ...]
    """The three steps that took longest."""
    busy_s: float
    """Sum of all steps' seconds."""
    queued: Mapping[str, float]
    """Seconds that all steps queued, by bound: work, waits, or a kind of work."""
    again: tuple[str, ...]
    """Steps that needed more than one attempt."""

    @property
    def concurrently(self) -> float:
        """How many steps acted at once, on the average."""
        return self.busy_s / self.wall_s if self.wall_s > 0 else 0.0


def figures(steps: Sequence[Step], results: Sequence[Result], wall_s: float) -> Figures:
    """The figures of a run whose results these are."""
    guards = guard_names(steps)
    by_name = {step.name: step for step in steps}
    acted = [r for r in results if r.name not in guards and r.seconds > 0]
    path = critical_path(results, guards)
    seconds = {r.name: r.seconds for r in results}
    ranking = sorted(acted, key=lambda r: -r.seconds)[:3]
    return Figures(
        counts={state: sum(r.state is state for r in results) for state in State},
        wall_s=wall_s,
        floor_s=floor_of(steps, results)[0],
        path=tuple((name, seconds[name]) for name in path if name not in guards),
        path_queued=_queued([r for r in acted if r.name in path], by_name),
        costliest=tuple((r.name, r.seconds) for r in ranking),
        busy_s=sum(r.seconds for r in acted),
        queued=_queued(acted, by_name),
        again=tuple(r.name for r in acted if r.attempts > 1),
    )


def bound_of(step: Step) -> str:
    """The bound that a step waits for when it queues: `work`, `waits`, or its kind of work."""
    return step.kind or ("waits" if step.wait else "work")


def _queued(results: Sequence[Result], steps: Mapping[str, Step]) -> dict[str, float]:
    queued: dict[str, float] = {}
    for result in results:
        if result.start_s is None or result.ready_s is None or result.start_s - result.ready_s < JITTER:
            continue
        bound = bound_of(steps[result.name])
        queued[bound] = queued.get(bound, 0.0) + result.start_s - result.ready_s
    return queued


class Cause(Protocol):
    """A known cause of a failure; errors of `tasks.core.errors` are one too."""

    @property
    def what(self) -> str:
        """What happened."""

    @property
    def why(self) -> str:
        """Why; may be empty."""

    @property
    def fix(self) -> str:
        """What to do; may be empty."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A run that is over, and what its task knows of it."""

    task: str
    steps: Sequence[Step]
    results: Sequence[Result]
    wall_s: float
    interrupted: bool = False
    causes: Mapping[str, Cause] = field(default_factory=lambda: MappingProxyType({}))
    """By step: what is known beyond the step's own error, such as why a node died."""
    inspect: str = ""
    """The command that looks at what a failed run has left."""
    logs: Path | None = None
    """The folder with a log for each step."""
    note: str = ""
    """Stands on every screen, such as that nothing real was made."""

    @property
    def failed(self) -> list[Result]:
        """The steps that failed, in the order in which they did."""
        return sorted((r for r in self.results if r.state is State.FAILED), key=lambda r: r.end_s or 0.0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What steps that ended well leave the user to know, in the plan's order, each once."""
        return tuple(dict.fromkeys(note for result in self.results for note in result.notes))

    @property
    def good(self) -> bool:
        """Whether every step ran or was skipped."""
        return not self.interrupted and all(r.state in (State.RAN, State.SKIPPED) for r in self.results)
