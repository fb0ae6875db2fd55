"""Totals over time, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.view.fit import count
from tasks.view.line import UNICODE, Line, Marks, line
from tasks.view.report.figures import fine, spelled
from tasks.view.report.past import HEAD, NUMBERS, Expected, cells, rehearsed
from tasks.view.report.trend import Point
from tasks.view.table import table

_SHOWN = 40
"""Runs, the newest."""
_LONGEST = 15
"""Steps, those that are expected to take longest."""


def past_text(
    points: Sequence[Point], expected: Expected, *, width: int | None = None, marks: Marks = UNICODE
) -> list[Line | str]:
    """Lines of at most `width` columns."""
    shown = points[-_SHOWN:]
    rows = [[spelled(cell, marks) for cell in cells(point)] for point in shown]
    lines: list[Line | str] = [line((each, "warn")) for each in rehearsed(points)]
    lines += table(rows, head=HEAD, width=width, right=NUMBERS)
    if len(points) > len(shown):
        lines.append(f"{count(len(points) - len(shown), 'earlier run')} not shown; --format json has all")
    for engine, steps in expected.items():
        longest = sorted(steps.items(), key=lambda item: -item[1])
        title = f"What the scheduler expects on {engine}: {count(len(longest), 'step')}, the longest"
        lines += ["", line((title, "strong"))]
        lines += table([[fine(took), name] for name, took in longest[:_LONGEST]], width=width, right=(0,))
    return lines
