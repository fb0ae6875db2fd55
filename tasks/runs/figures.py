"""Figures of recorded runs for display: an axis, lanes, seconds, and what limited a run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.core.units import count
from tasks.engine.record import RunRecord
from tasks.engine.step import Result, State
from tasks.view.console import UNICODE, Marks, seconds

_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """An axis from 0 to `length_s` seconds."""

    length_s: float

    def at(self, seconds: float) -> str:
        """A position on the axis, as a percentage: `12.5%`."""
        return f"{max(0.0, min(100.0, seconds / self.length_s * 100)):.2f}".rstrip("0").rstrip(".") + "%"

    def wide(self, seconds: float) -> str:
        """The width of a bar: never too small to be visible."""
        return self.at(max(seconds, self.length_s / 1000))

    def anchor(self, seconds: float) -> str:
        """The alignment of a text at that position, so that it is not cut off at an end of the axis."""
        share = seconds / self.length_s
        return "first" if share < 0.02 else "last" if share > 0.96 else ""

    def ticks(self, most: int = 8) -> list[float]:
        """Round values from 0 on, at most that many."""
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


def lanes(rows: Iterable[Result]) -> list[Sequence[Result]]:
    """The minimum number of lanes for these steps without an overlap in one of them."""
    made: list[list[Result]] = []
    ends: list[float] = []
    for row in sorted(rows, key=lambda r: (r.began, r.ended)):
        free = next((i for i, end in enumerate(ends) if end <= row.began), None)
        if free is None:
            made.append([row])
            ends.append(row.ended)
        else:
            made[free].append(row)
            ends[free] = row.ended
    return [tuple(lane) for lane in made]


def short(row: Result) -> str:
    """A step's name without its task, if the name begins with that."""
    return row.name.removeprefix(f"{row.task}: ")


_ASCII = str.maketrans({"−": "-", "±": "+", "“": '"', "”": '"'})


def fine(value: float) -> str:
    """Seconds of one step: `4 ms`, `0.28 s`, `11.0 s`, `3 min 05 s`."""
    if value < 0.0995:
        return f"{max(0.0, value) * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 0.9995 else seconds(value)


def signed(value: float) -> str:
    """A difference in seconds: `+1.3 s`, `-0.28 s`."""
    sign = "+" if value > 0 else "−" if value < 0 else "±"
    return f"{sign}{fine(abs(value))}"


def signed_percent(value: float, of: float) -> str:
    """The relative difference, `+26 %`; `of` is not 0."""
    return f"{(value / of - 1) * 100:+.0f} %".replace("-", "−")


def spelled(words: str, marks: Marks) -> str:
    """The same text with the available symbols."""
    return words if marks == UNICODE else words.translate(_ASCII)


def share(part: float, whole: float) -> str:
    """`95 %`; at most 100 %, since clocks are read one after the other."""
    return f"{min(1.0, part / whole) * 100:.0f} %" if whole > 0 else "100 %"


def when(run: RunRecord) -> str:
    """`2026-11-25 04:19:43 UTC`."""
    return f"{run.started:%Y-%m-%d %H:%M:%S} UTC"


def counts(run: RunRecord) -> str:
    """`27 steps ran, 11 skipped`."""
    parts = [f"{count(run.count(State.RAN), 'step')} ran"]
    others = ((State.SKIPPED, "skipped"), (State.FAILED, "failed"), (State.ABORTED, "ended early or never begun"))
    parts += [f"{n} {word}" for state, word in others if (n := run.count(state))]
    return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One figure: its name, its value, and an explanation."""

    label: str
    value: str
    note: str = ""


def facts(run: RunRecord) -> list[Fact]:
    """The figures at the top."""
    found = [
        Fact(label="total", value=seconds(run.wall_s), note=f"{fine(run.first_s)} of it before the first step"),
        Fact(label="longest chain", value=seconds(run.floor_s), note=f"{share(run.floor_s, run.wall_s)} of the total"),
        Fact(label="queued", value=seconds(run.queued_s), note="all steps together, for a place"),
        Fact(
            label="concurrently",
            value=f"{run.concurrently:.1f} steps",
            note=f"{seconds(run.busy_s)} of steps in that time",
        ),
    ]
    return found if run.acted else found[:1]


def note(run: RunRecord) -> str:
    """A note above everything else; empty for most runs."""
    return "A rehearsal: nothing real was created." if run.engine == "rehearsal" else ""


def reading(run: RunRecord) -> str:
    """One sentence on what limited the run; empty if the figures do not show it."""
    if not run.good:
        return ""
    if not run.acted:
        return "Nothing had to be done."
    queued = sum(row.queued_s for row in run.path)
    if queued >= max(0.5, run.wall_s * 0.1):
        return (
            f"Steps of the critical path queued {seconds(queued)} for a place: more places may help "
            f"(CONCURRENCY_LEVEL was {run.concurrency}; downloads and Helm have smaller bounds of their own)."
        )
    if run.floor_s >= run.wall_s * 0.9 and run.path:
        longest = max(run.path, key=lambda row: row.seconds)
        return (
            f"The longest chain of needs takes {share(run.floor_s, run.wall_s)} of the total: more places would hardly "
            f"help. The longest step of the critical path is “{longest.name}” ({fine(longest.seconds)})."
        )
    return ""
