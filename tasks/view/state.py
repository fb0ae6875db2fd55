"""What a running launch looks like: an immutable picture, made anew by each event; `tasks.view.draw` renders it.

The picture changes in the scheduler's thread and, for what a step says of its progress, in the step's:
`Board` holds it behind a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from tasks.engine.step import Result, State, Step
from tasks.engine.watcher import Watcher
from tasks.view.figures import bound_of

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Running:
    """A step that acts, or pauses before its next attempt. Times are seconds of the run."""

    name: str
    since: float
    """Start of its first attempt."""
    expected: float | None = None
    attempt: int = 1
    said: str = ""
    """The last line that it told of its progress."""
    again_at: float | None = None
    """When a failed attempt is made again."""
    guard: bool = False


@dataclass(frozen=True, kw_only=True)
class Queued:
    """A step whose needs are met and that has no place yet."""

    name: str
    since: float
    bound: str
    """What it waits for: `work`, `waits` or a kind of work."""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The picture of a run at one moment."""

    total: int
    expected_s: float | None = None
    running: Mapping[str, Running] = field(default_factory=lambda: MappingProxyType({}))
    ended: Mapping[State, int] = field(default_factory=lambda: MappingProxyType({}))
    waiting: int = 0
    """How many steps wait for a place, as the scheduler counts them."""
    queued: Mapping[str, Queued] = field(default_factory=lambda: MappingProxyType({}))
    """Those steps, by name, in the order in which they became ready."""
    failed: tuple[str, ...] = ()
    """Names of the steps that failed."""
    note: str = ""
    """Stands on every picture, such as that nothing real is made."""

    def started(self, step: Step, at: float, attempt: int, expected: float | None) -> Screen:
        """An attempt begins."""
        before = self.running.get(step.name)
        now = Running(
            name=step.name,
            since=before.since if before else at,
            expected=expected,
            attempt=attempt,
            guard=bool(step.until),
        )
        return replace(self._with(now), queued=_without(self.queued, step.name))

    def ready(self, step: Step, at: float) -> Screen:
        """A step's needs are met. One that never acts needs no place, and a guard always has one."""
        if step.skip is not None or step.until:
            return self
        entry = Queued(name=step.name, since=at, bound=bound_of(step))
        return replace(self, queued=MappingProxyType({**self.queued, step.name: entry}))

    def said(self, name: str, text: str) -> Screen:
        """A step tells of its progress; one that has ended is not heard."""
        found = self.running.get(name)
        return self if found is None else self._with(replace(found, said=text))

    def retrying(self, name: str, at: float, pause: float, why: str) -> Screen:
        """An attempt failed; the next one comes after `pause` seconds."""
        found = self.running.get(name)
        return self if found is None else self._with(replace(found, said=why, again_at=at + pause))

    def over(self, result: Result) -> Screen:
        """A step has its result."""
        ended = {**self.ended, result.state: self.ended.get(result.state, 0) + 1}
        return replace(
            self,
            running=_without(self.running, result.name),
            queued=_without(self.queued, result.name),
            ended=MappingProxyType(ended),
            failed=(*self.failed, result.name) if result.state is State.FAILED else self.failed,
        )

    def _with(self, step: Running) -> Screen:
        return replace(self, running=MappingProxyType({**self.running, step.name: step}))


def _without(found: Mapping[str, _T], name: str) -> Mapping[str, _T]:
    return MappingProxyType({key: value for key, value in found.items() if key != name})


class Board(Watcher):
    """Holds the picture and changes it with each event. Safe to use from any thread."""

    def __init__(self, screen: Screen, expected: Mapping[str, float], steps: Sequence[Step] = ()) -> None:
        self._lock = threading.Lock()
        self._expected = expected
        self._at = 0.0
        self._unmet = {step.name: set(step.needs) for step in steps}
        self._followers: dict[str, list[Step]] = {}
        for step in steps:
            for need in step.needs:
                self._followers.setdefault(need, []).append(step)
            if not step.needs:
                screen = screen.ready(step, 0.0)
        self._screen = screen

    @property
    def screen(self) -> Screen:
        """The picture now."""
        with self._lock:
            return self._screen

    def started(self, step: Step, at: float, slot: int | None, attempt: int) -> None:  # noqa: ARG002
        """An attempt begins."""
        with self._lock:
            self._at = at
            self._screen = self._screen.started(step, at, attempt, self._expected.get(step.name))

    def ended(self, result: Result) -> None:
        """A step has its result."""
        with self._lock:
            self._at = max(self._at, result.end_s or 0.0)
            self._screen = self._screen.over(result)
            if result.state in (State.RAN, State.SKIPPED):
                self._met(result.name)

    def said(self, step: str, line: str) -> None:
        """A step tells of its progress."""
        with self._lock:
            self._screen = self._screen.said(step, line)

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:  # noqa: ARG002
        """An attempt failed and will be made again."""
        with self._lock:
            self._screen = self._screen.retrying(step.name, self._at, pause, str(error).split("\n", 1)[0])

    def tick(self, at: float, waiting: int) -> None:
        """Time passes."""
        with self._lock:
            self._at = at
            self._screen = replace(self._screen, waiting=waiting)

    def _met(self, name: str) -> None:
        for step in self._followers.get(name, ()):
            unmet = self._unmet[step.name]
            if name in unmet:
                unmet.discard(name)
                if not unmet:
                    self._screen = self._screen.ready(step, self._at)
