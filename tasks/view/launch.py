"""What all views share: they watch a run through a board, and end it with a summary or a failure."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from tasks.engine.estimate import estimate
from tasks.engine.graph import guessed
from tasks.engine.scheduler import Watcher
from tasks.engine.step import Bounds, Result, Step
from tasks.view.console import UNICODE, Marks, err, line, out, width_of
from tasks.view.failure import failure
from tasks.view.figures import Ending
from tasks.view.state import Board, Screen
from tasks.view.summary import summary


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The run that a view is for."""

    task: str
    steps: Sequence[Step]
    history: Mapping[str, float]
    """Seconds of earlier runs, by step."""
    bounds: Bounds
    marks: Marks = UNICODE
    note: str = ""
    """Stands on every screen, such as that nothing real is made."""


class View(Watcher):
    """A watcher that is entered before the run and left after it; then `conclude` tells how it ended."""

    def __init__(self, launch: Launch) -> None:
        steps, history = launch.steps, launch.history
        self.launch = launch
        self.marks = launch.marks
        expected = estimate(steps, history, launch.bounds)
        self.expected_s = expected.total_s if expected.trusted and expected.total_s >= 1 else None
        known = {s.name for s in steps if s.name in history or s.expected is not None}
        seconds = {name: value for name, value in guessed(steps, history).items() if name in known and value > 0}
        screen = Screen(total=len(steps), expected_s=self.expected_s, note=launch.note)
        self.board = Board(screen, MappingProxyType(seconds), steps)
        self.guards = frozenset(s.name for s in steps if s.until)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, step: Step, at: float, slot: int | None, attempt: int) -> None:
        """An attempt begins."""
        self.board.started(step, at, slot, attempt)

    def ended(self, result: Result) -> None:
        """A step has its result."""
        self.board.ended(result)

    def said(self, step: str, line: str) -> None:
        """A step tells of its progress; called from the step's own thread."""
        self.board.said(step, line)

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:
        """An attempt failed and will be made again."""
        self.board.retrying(step, attempt, pause, error)

    def tick(self, at: float, waiting: int) -> None:
        """Time passes."""
        self.board.tick(at, waiting)

    def conclude(self, ending: Ending) -> None:
        """Tell how the run ended: a summary on standard output, a failure on standard error."""
        if ending.good:
            lines = summary(ending, width=width_of(sys.stdout), marks=self.marks)
            out([line(), *lines] if len(lines) > 1 else lines)
        else:
            err([line(), *failure(ending, width=width_of(sys.stderr), marks=self.marks)])


class Silent(View):
    """Nothing but errors."""

    def conclude(self, ending: Ending) -> None:
        """Tell of a failure only."""
        if not ending.good:
            super().conclude(ending)


def choose(launch: Launch, environ: Mapping[str, str], *, stdout_isatty: bool, silent: bool) -> View:
    """The view for this environment. Raises `PlanError` for a plan that cannot run.

    GITHUB_ACTIONS=true is set by GitHub's runners, CI by nearly all others: a terminal that nobody looks
    at gets plain lines. TERM=dumb cannot move its cursor.
    """
    if silent:
        return Silent(launch)
    if environ.get("GITHUB_ACTIONS") == "true":
        from tasks.view.github import GitHub

        file = environ.get("GITHUB_STEP_SUMMARY")
        return GitHub(launch, summary_file=Path(file) if file else None)
    if stdout_isatty and environ.get("TERM", "") != "dumb" and environ.get("CI", "").lower() not in ("true", "1"):
        from tasks.view.live import Live

        return Live(launch)
    from tasks.view.plain import Plain

    return Plain(launch)
