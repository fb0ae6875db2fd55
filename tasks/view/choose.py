"""The view for an environment, and one around it that cannot fail its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tasks.core.errors import attempt
from tasks.engine.step import Result, Step, Watcher
from tasks.view.console import err
from tasks.view.ending import Ending
from tasks.view.launch import Launch, Plain, Silent, View


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
    return Plain(launch)


class Steady(Watcher):
    """Passes everything on to a view, until that fails: a terminal that went away, a full disk behind a pipe.

    The end is shown all the same, as plain text.
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
        """An attempt begins."""
        self._draw(lambda: self._view.started(step, at, slot, attempt))

    def ended(self, result: Result) -> None:
        """A step has its result."""
        self._draw(lambda: self._view.ended(result))

    def said(self, step: str, line: str) -> None:
        """A step reports progress; called from the step's own thread."""
        self._draw(lambda: self._view.said(step, line))

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:
        """An attempt failed and will be made again."""
        self._draw(lambda: self._view.retrying(step, attempt, pause, error))

    def tick(self, at: float, waiting: int) -> None:
        """Time passes."""
        self._draw(lambda: self._view.tick(at, waiting))

    def conclude(self, ending: Ending) -> None:
        """Show how the run ended."""
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
            attempt("", lambda: self._view.__exit__(None, None, None))  # gives the terminal back
