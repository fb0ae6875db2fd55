"""A time axis: places in per cent of its length, its ticks, and bars packed into lanes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.view.report.recorded import Row

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis from 0 to `length_s` seconds."""

    length_s: float

    def at(self, seconds: float) -> str:
        """A place on the axis, as a share of it: `12.5%`."""
        return f"{max(0.0, min(100.0, seconds / self.length_s * 100)):.2f}".rstrip("0").rstrip(".") + "%"

    def wide(self, seconds: float) -> str:
        """The width of a bar: never so small that nothing is seen of it."""
        return self.at(max(seconds, self.length_s / 1000))

    def ticks(self, most: int = 8) -> list[float]:
        """Round moments from 0 on, at most that many."""
        step = next((s for s in _STEPS if self.length_s / s < most), self.length_s)
        return [round(step * i, 2) for i in range(int(self.length_s / step) + 1)]


def tick(seconds: float) -> str:
    """`0`, `2.5 s`, `90 s`, `2:30 min`, `1:05 h`."""
    if seconds == 0:
        return "0"
    if seconds < 120:
        return f"{seconds:g} s"
    if seconds < 7200:
        return f"{seconds // 60:.0f}:{seconds % 60:02.0f} min"
    return f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f} h"


def lanes(rows: Iterable[Row]) -> list[Sequence[Row]]:
    """As few lanes as hold these steps without two of them at once in the same."""
    made: list[list[Row]] = []
    ends: list[float] = []
    for row in sorted(rows, key=lambda r: (r.began, r.end_s or 0.0)):
        free = next((i for i, end in enumerate(ends) if end <= row.began), None)
        if free is None:
            made.append([row])
            ends.append(row.end_s or 0.0)
        else:
            made[free].append(row)
            ends[free] = row.end_s or 0.0
    return [tuple(lane) for lane in made]
