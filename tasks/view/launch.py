"""Views of a launch: their common base, plain lines for pipes and log files, the silent view, and a wrapper whose
failures never fail the run.

A view renders an immutable screen, which each event replaces. Events arrive in the scheduler's thread, and
progress in the threads of steps: `Board` holds the screen behind a lock.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType, TracebackType
from typing import Self, TypeVar

from tasks.core.errors import attempt
from tasks.core.redact import redact
from tasks.core.units import count
from tasks.engine.estimate import estimate
from tasks.engine.graph import guessed
from tasks.engine.step import Bounds, Result, State, Step, Watcher
from tasks.view.console import UNICODE, Line, Marks, cells, err, line, out, pad, seconds, width_of
from tasks.view.summary import Summary, failure, summary

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Running:
    """A step that runs, or pauses before its next attempt. Times are seconds of the run."""

    name: str
    since: float
    """Start of its first attempt."""
    expected: float | None = None
    attempt: int = 1
    message: str = ""
    """Its last line of progress."""
    again_at: float | None = None
    """When a failed attempt is retried."""
    guard: bool = False


@dataclass(frozen=True, kw_only=True)
class Queued:
    """A step whose needs are met and that has no place yet."""

    name: str
    since: float
    bound: str
    """The bound that it queues for: `work`, `waits` or a kind of work."""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The state of a run at one moment, for display."""

    total: int
    expected_s: float | None = None
    running: Mapping[str, Running] = field(default_factory=lambda: MappingProxyType({}))
    ended: Mapping[State, int] = field(default_factory=lambda: MappingProxyType({}))
    waiting: int = 0
    """The number of steps that queue for a place, according to the scheduler."""
    queued: Mapping[str, Queued] = field(default_factory=lambda: MappingProxyType({}))
    """Those steps, by name, in the order in which they became ready."""
    failed: tuple[str, ...] = ()
    """Names of the steps that failed."""
    note: str = ""
    """Shown in every view, such as that nothing real is created."""

    def started(self, step: Step, at: float, attempt: int, expected: float | None) -> Screen:
        """An attempt starts."""
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
        """A step's needs are met. A skipped step needs no place, and a guard always has one."""
        if step.skip is not None or step.until:
            return self
        entry = Queued(name=step.name, since=at, bound=step.bound)
        return replace(self, queued=MappingProxyType({**self.queued, step.name: entry}))

    def progress(self, name: str, text: str) -> Screen:
        """A step reports progress; one that has ended is ignored."""
        found = self.running.get(name)
        return self if found is None else self._with(replace(found, message=text))

    def retrying(self, name: str, at: float, pause: float, why: str) -> Screen:
        """An attempt failed; the next one starts after `pause` seconds."""
        found = self.running.get(name)
        return self if found is None else self._with(replace(found, message=why, again_at=at + pause))

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
    """Holds the screen and replaces it with each event. Thread-safe."""

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
        """The current screen."""
        with self._lock:
            return self._screen

    def started(self, step: Step, at: float, slot: int | None, attempt: int) -> None:  # noqa: ARG002
        """An attempt starts."""
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

    def progress(self, step: str, line: str) -> None:
        """A step reports progress."""
        with self._lock:
            self._screen = self._screen.progress(step, line)

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:  # noqa: ARG002
        """An attempt failed and will be retried."""
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


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The run that a view shows."""

    task: str
    steps: Sequence[Step]
    history: Mapping[str, float]
    """Seconds of earlier runs, by step."""
    bounds: Bounds
    marks: Marks = UNICODE
    note: str = ""
    """Shown in every view, such as that nothing real is created."""


class View(Board):
    """A context manager for the run; after it `conclude` shows the outcome."""

    def __init__(self, launch: Launch) -> None:
        steps, history = launch.steps, launch.history
        self.launch = launch
        self.marks = launch.marks
        expected = estimate(steps, history, launch.bounds)
        self.expected_s = expected.total_s if expected.trusted and expected.total_s >= 1 else None
        known = {s.name for s in steps if s.name in history or s.expected is not None}
        took = {name: value for name, value in guessed(steps, history).items() if name in known and value > 0}
        screen = Screen(total=len(steps), expected_s=self.expected_s, note=launch.note)
        super().__init__(screen, MappingProxyType(took), steps)
        self.guards = frozenset(s.name for s in steps if s.until)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def conclude(self, ending: Summary) -> None:
        """Show the outcome: a summary on standard output, a failure on standard error."""
        if ending.run.good:
            lines = summary(ending, width=width_of(sys.stdout), marks=self.marks)
            out([line(), *lines] if len(lines) > 1 else lines)
        else:
            err([line(), *failure(ending, width=width_of(sys.stderr), marks=self.marks)])


class Silent(View):
    """Errors only."""

    def conclude(self, ending: Summary) -> None:
        """Show a failure only."""
        if not ending.run.good:
            super().conclude(ending)


_LONGEST_WHY = 300


def step_line(result: Result, *, names: int = 0, width: int | None = None, marks: Marks = UNICODE) -> Line:
    """Mark, time, name and reason. `names` is the column's width for names; `width` truncates the line."""
    mark, style = marks.of(result.state)
    time = "skipped" if result.state is State.SKIPPED else seconds(result.seconds)
    why = redact(result.why)  # before truncation
    if result.state is State.RAN and result.attempts > 1:
        why = f"at attempt {result.attempts}" + (f"; {why}" if why else "")
    quiet = "dim" if result.state is State.SKIPPED else ""
    parts: list[str | tuple[str, str]] = [(mark, style), (f"{time:>9}", "dim"), "  "]
    padded = line(*parts, (pad(result.name, names), quiet))
    shown = padded.followed(why[:_LONGEST_WHY], "bad" if style == "bad" else "dim", width, marks.more)
    if shown is padded:
        shown = line(*parts, (result.name, quiet))
    return shown.fitted(width, marks.more)


def names_width(names: list[str], width: int | None = None) -> int:
    """The width of a column for these names, limited for a screen of that width."""
    most = 56 if width is None else max(12, min(48, width // 2))
    return min(max((cells(name) for name in names), default=0), most)


def worth_a_line(result: Result, *, guard: bool) -> bool:
    """Whether a result gets a line: not a step that never started because of a failure, nor a guard that succeeded."""
    if result.state is State.ABORTED:
        return result.start_s is not None and not guard
    return not (guard and result.state is not State.FAILED)


_LONG = 10.0
"""Seconds after which a running step is listed, and between two such lines."""


class Plain(View):
    """Lines without cursor movements."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._names = names_width([step.name for step in launch.steps])
        self._next = _LONG

    def __enter__(self) -> Self:
        expected = f", about {seconds(self.expected_s)} expected" if self.expected_s else ""
        launch = self.launch
        head = f"{launch.task}: {count(len(launch.steps), 'step')}, {launch.bounds.work} at once{expected}"
        out([*([line(launch.note)] if launch.note else []), line(head)])
        return self

    def ended(self, result: Result) -> None:
        """A step has its result."""
        super().ended(result)
        if worth_a_line(result, guard=result.name in self.guards):
            out([step_line(result, names=self._names, marks=self.marks)])

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:
        """An attempt failed and will be retried."""
        super().retrying(step, attempt, pause, error)
        why = str(error).split("\n", 1)[0]
        of = f" of {step.retry.attempts}" if attempt < step.retry.attempts else ""
        text = f"attempt {attempt}{of} failed, again in {seconds(pause)}: {why}"
        out([line(f"{self.marks.again}{'':11}{step.name:<{self._names}}  {text}")])

    def tick(self, at: float, waiting: int) -> None:
        """Time passes."""
        super().tick(at, waiting)
        if at < self._next:
            return
        self._next = (at // _LONG + 1) * _LONG
        out(still(self.screen, at))


def still(screen: Screen, at: float) -> list[Line]:
    """Long-running steps, in one line; empty if there are none."""
    found = sorted(screen.running.values(), key=lambda s: s.since)
    names = [f"{s.name} ({seconds(at - s.since)})" for s in found if not s.guard and at - s.since > _LONG]
    if not names:
        return []
    waiting = f"; {screen.waiting} waiting for a place" if screen.waiting else ""
    return [line(f" {seconds(at):>9}  still running: {', '.join(names)}{waiting}")]


class Steady(Watcher):
    """Passes everything on to a view until that fails: a terminal that went away, a full disk behind a pipe.

    The outcome is shown nevertheless, as plain text.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._lost: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self._draw(self._view.__enter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw(lambda: self._view.__exit__(kind, error, trace))

    def started(self, step: Step, at: float, slot: int | None, attempt: int) -> None:
        """An attempt starts."""
        self._draw(lambda: self._view.started(step, at, slot, attempt))

    def ended(self, result: Result) -> None:
        """A step has its result."""
        self._draw(lambda: self._view.ended(result))

    def progress(self, step: str, line: str) -> None:
        """A step reports progress; called from the step's own thread."""
        self._draw(lambda: self._view.progress(step, line))

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:
        """An attempt failed and will be retried."""
        self._draw(lambda: self._view.retrying(step, attempt, pause, error))

    def tick(self, at: float, waiting: int) -> None:
        """Time passes."""
        self._draw(lambda: self._view.tick(at, waiting))

    def conclude(self, ending: Summary) -> None:
        """Show the outcome."""
        if not self._lost:
            self._draw(lambda: self._view.conclude(ending))
        if self._lost:
            attempt("", lambda: View.conclude(self._view, ending))
            attempt("", lambda: err(f"note: {each}" for each in self._lost))

    def _draw(self, act: Callable[[], object]) -> None:
        if self._lost:
            return
        self._lost = attempt("the run was not shown to its end", act)
        if self._lost:
            attempt("", lambda: self._view.__exit__(None, None, None))  # restores the terminal
