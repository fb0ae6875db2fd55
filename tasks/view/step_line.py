"""The one line that a step leaves when it has ended."""

from __future__ import annotations

from tasks.engine.step import Result, State
from tasks.view.fit import cells, pad, seconds
from tasks.view.line import UNICODE, Line, Marks, line

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
