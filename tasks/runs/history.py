"""Totals over time: which runs are comparable, and where they changed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from tasks.core.units import count
from tasks.engine.estimate import median
from tasks.engine.record import RunRecord
from tasks.engine.step import State
from tasks.runs.figures import fine, note, signed_percent, spelled, when
from tasks.view.console import UNICODE, Line, Marks, line, seconds, table

_SPLIT, _STRETCH = 3.0, 3.6
"""Threshold in standard deviations of the rank sum, for a split in two and for a stretch in the middle. Without
a change the largest of all splits or stretches exceeds it in about one series of twenty (tested: 3.0 and 3.6 are
exceeded in 5 % of series of 60 and 110 values); in shorter ones less often."""
_FEWEST = 4
"""Minimum number of runs on either side of a change."""
_PART = 0.05
"""Smaller changes of the median are not worth attention."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The totals change at run `index` of a series. Medians of the stretches before and after, in seconds."""

    index: int
    before_s: float
    after_s: float


@dataclass(frozen=True, kw_only=True)
class Point:
    """A run, and the change that started with it."""

    run: RunRecord
    settings_changed: bool = False
    """Its settings differ from those of the previous run of this task and engine."""
    shift: Shift | None = None


def trend(runs: Iterable[RunRecord]) -> list[Point]:
    """All runs, the oldest first, with the changes that started with them.

    Totals are compared only among launches of one task and engine that ran most of their plan.
    """
    ordered = sorted(runs, key=lambda run: run.started)
    series: dict[tuple[str, str], list[RunRecord]] = {}
    last: dict[tuple[str, str], str] = {}
    changed = set()
    for run in ordered:
        key = (run.task, run.engine)
        if last.setdefault(key, run.settings_hash) != run.settings_hash:
            changed.add(id(run))
        last[key] = run.settings_hash
        if run.mostly_ran:
            series.setdefault(key, []).append(run)
    began = {
        id(launches[shift.index]): shift
        for launches in series.values()
        for shift in shifts([run.wall_s for run in launches])
    }
    return [Point(run=run, settings_changed=id(run) in changed, shift=began.get(id(run))) for run in ordered]


def shifts(values: Sequence[float]) -> list[Shift]:
    """Where a series settled on another level: by ranks, so that a single slow run does not count."""
    cuts = sorted(_cuts(values, 0))
    while True:
        levels = [median(values[begin:end]) for begin, end in pairwise([0, *cuts, len(values)])]
        steps = zip(cuts, pairwise(levels), strict=True)
        small = [cut for cut, (one, other) in steps if abs(other - one) <= _PART * min(one, other)]
        if not small:
            break
        cuts.remove(small[0])
    return [
        Shift(index=cut, before_s=before, after_s=after)
        for cut, (before, after) in zip(cuts, pairwise(levels), strict=True)
    ]


def _cuts(values: Sequence[float], offset: int) -> list[int]:
    """The clearest split, else the clearest stretch; then the same within the parts."""
    ranks = [0.0, *accumulate(_ranks(values))]
    edges = _split(ranks) or _stretch(ranks)
    found = [offset + edge for edge in edges]
    if edges:
        for begin, end in pairwise([0, *edges, len(values)]):
            found += _cuts(values[begin:end], offset + begin)
    return found


def _split(ranks: Sequence[float]) -> list[int]:
    n = len(ranks) - 1
    cut = max(range(_FEWEST, n - _FEWEST + 1), key=lambda at: _deviation(ranks, 0, at), default=0)
    return [cut] if cut and _deviation(ranks, 0, cut) >= _SPLIT else []


def _stretch(ranks: Sequence[float]) -> list[int]:
    """A stretch that differs from its surroundings: a change that was reverted, which no single split shows."""
    n = len(ranks) - 1
    stretches = (
        (begin, end) for begin in range(_FEWEST, n - 2 * _FEWEST + 1) for end in range(begin + _FEWEST, n - _FEWEST + 1)
    )
    best = max(stretches, key=lambda each: _deviation(ranks, *each), default=None)
    return list(best) if best is not None and _deviation(ranks, *best) >= _STRETCH else []


def _deviation(ranks: Sequence[float], begin: int, end: int) -> float:
    """The rank sum statistic of a stretch against the rest (Wilcoxon, Mann and Whitney); `ranks` are cumulative."""
    n, count = len(ranks) - 1, end - begin
    off = abs(ranks[end] - ranks[begin] - count * (n + 1) / 2)
    return off / math.sqrt(count * (n - count) * (n + 1) / 12)


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1 on; equal values share theirs."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    ranks = [0.0] * len(values)
    begin = 0
    while begin < len(order):
        end = begin
        while end < len(order) and values[order[end]] == values[order[begin]]:
            end += 1
        for index in order[begin:end]:
            ranks[index] = (begin + end + 1) / 2
        begin = end
    return ranks


HEAD = ("started", "task", "outcome", "total", "longest chain", "ran", "skipped", "settings", "what began here")
NUMBERS = (3, 4, 5, 6)
"""Right-aligned columns."""
Expected = Mapping[str, Mapping[str, float]]
"""By engine, then by step: seconds that the scheduler expects."""


def rehearsed(points: Iterable[Point]) -> list[str]:
    """A note above runs that include rehearsals."""
    return ["Runs on 'rehearsal' created nothing real."] if any(note(point.run) for point in points) else []


def cells(point: Point) -> list[str]:
    """One row of the table."""
    run = point.run
    ran, skipped = run.count(State.RAN), run.count(State.SKIPPED)
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


_SHOWN = 40
"""The number of runs shown, the newest."""
_LONGEST = 15
"""The number of steps shown, those expected to take longest."""


def history_text(
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
