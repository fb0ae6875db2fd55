"""Plain lines, for pipes and log files: one when a step ends, and a sign of life while a long one runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from tasks.engine.step import Result, State, Step
from tasks.view.console import UNICODE, Line, Marks, cells, count, line, out, pad, seconds
from tasks.view.launch import Launch, View
from tasks.view.state import Screen

_LONGEST_WHY = 300


def step_line(result: Result, *, names: int = 0, width: int | None = None, marks: Marks = UNICODE) -> Line:
    """Mark, time, name and reason. `names` is the column's width for names; `width` cuts the line."""
    mark, style = marks.of(result.state)
    time = "skipped" if result.state is State.SKIPPED else seconds(result.seconds)
    why = result.why
    if result.state is State.RAN and result.attempts > 1:
        why = f"at attempt {result.attempts}" + (f"; {why}" if why else "")
    quiet = "dim" if result.state is State.SKIPPED else ""
    parts: list[str | tuple[str, str]] = [(mark, style), (f"{time:>9}", "dim"), "  "]
    padded = line(*parts, (pad(result.name, names), quiet))
    told = padded.followed(why[:_LONGEST_WHY], "bad" if style == "bad" else "dim", width, marks.more)
    if told is padded:
        told = line(*parts, (result.name, quiet))
    return told.fitted(width, marks.more)


def names_width(names: list[str], width: int | None = None) -> int:
    """The width of a column that holds these names, within reason for a screen of that width."""
    most = 56 if width is None else max(12, min(48, width // 2))
    return min(max((cells(name) for name in names), default=0), most)


def worth_a_line(result: Result, *, guard: bool) -> bool:
    """Whether an end is told: not of steps that never began because of a failure, nor of a guard's good end."""
    if result.state is State.ABORTED:
        return result.start_s is not None and not guard
    return not (guard and result.state is not State.FAILED)


_LONG = 10.0
"""Seconds after which a running step is told of, and between two such lines."""


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
        self._show([line(launch.note)] if launch.note else [])
        self._show([line(head)])
        return self

    def ended(self, result: Result) -> None:
        """A step has its result."""
        super().ended(result)
        if worth_a_line(result, guard=result.name in self.guards):
            self._show([step_line(result, names=self._names, marks=self.marks)])

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:
        """An attempt failed and will be made again."""
        super().retrying(step, attempt, pause, error)
        why = str(error).split("\n", 1)[0]
        text = f"attempt {attempt} of {step.retry.attempts} failed, again in {seconds(pause)}: {why}"
        self._show([line(f"{self.marks.again}{'':11}{step.name:<{self._names}}  {text}")])

    def tick(self, at: float, waiting: int) -> None:
        """Time passes."""
        super().tick(at, waiting)
        if at < self._next:
            return
        self._next = (at // _LONG + 1) * _LONG
        self._show(still(self.board.screen, at))

    def _show(self, lines: Iterable[Line]) -> None:
        out(lines)


def still(screen: Screen, at: float) -> list[Line]:
    """What runs for long, as one line; nothing if nothing does."""
    found = sorted(screen.running.values(), key=lambda s: s.since)
    names = [f"{s.name} ({seconds(at - s.since)})" for s in found if not s.guard and at - s.since > _LONG]
    if not names:
        return []
    waiting = f"; {screen.waiting} waiting for a place" if screen.waiting else ""
    return [line(f" {seconds(at):>9}  still running: {', '.join(names)}{waiting}")]
