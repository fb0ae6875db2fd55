"""What a history of runs says, in words and in the cells of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tasks.engine.step import State
from tasks.view.fit import seconds
from tasks.view.report.figures import note, signed_percent, when
from tasks.view.report.trend import Point, Shift

HEAD = ("started", "task", "outcome", "total", "longest chain", "ran", "skipped", "settings", "what began here")
NUMBERS = (3, 4, 5, 6)
"""Columns that are set to the right."""
Expected = Mapping[str, Mapping[str, float]]
"""By engine, then by step: seconds that the scheduler expects."""


def rehearsed(points: Iterable[Point]) -> list[str]:
    """What must stand above runs of which some were rehearsals."""
    return ["Runs on 'rehearsal' made nothing real."] if any(note(point.run) for point in points) else []


def cells(point: Point) -> list[str]:
    """One row of the table."""
    run = point.run
    ran, skipped = (sum(row.state is state for row in run.rows) for state in (State.RAN, State.SKIPPED))
    times = [seconds(run.wall_s), seconds(run.floor_s), str(ran), str(skipped)]
    started = when(run).removesuffix(" UTC")
    return [started, f"{run.task} on {run.engine}", run.outcome, *times, run.settings_hash[:8], began(point)]


def began(point: Point) -> str:
    """What changed with this run."""
    parts = ["other settings"] if point.settings_changed else []
    if point.shift is not None:
        parts.append(shifted(point.shift))
    return "; ".join(parts)


def shifted(shift: Shift) -> str:
    """`slower from here on: median 12.0 s before, 15.1 s since (+26 %)`."""
    word = "slower" if shift.after_s > shift.before_s else "faster"
    percent = f" ({signed_percent(shift.after_s, shift.before_s)})" if shift.before_s else ""
    return f"{word} from here on: median {seconds(shift.before_s)} before, {seconds(shift.after_s)} since{percent}"
