"""What `bench` shows: a line for each launch with the time left, and its results as tables."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.benchmark.compare import Comparison, inside
from tasks.benchmark.results import Measured, Results, Trial
from tasks.benchmark.statistics import Interval, median_interval
from tasks.view.table import table


def beginning(trial: Trial, left: float | None) -> str:
    """Before a launch."""
    what = "warm-up" if trial.round < 0 else f"round {trial.round + 1}"
    more = f", about {span(left)} left" if left is not None else ""
    return f"{trial.number} of {trial.total}: {trial.variant.name}, {what}{more}"


def ended(trial: Trial, run: Measured) -> str:
    """After it."""
    dropped = " (dropped: it warms up)" if trial.round < 0 else ""
    return f"  {run.wall_s:.1f} s, {run.cpu_s:.1f} CPU seconds{dropped}"


def span(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def text(results: Results, comparisons: Sequence[Comparison] | None = None, *, width: int | None = None) -> list[str]:
    """Tables for a terminal."""
    lines = []
    if results.names:
        lines += table(medians(results), head=HEAD, width=width, right=(1, 2, 3, 4, 5))
    pairs = inside(results) if comparisons is None else comparisons
    if pairs:
        lines += ["", *table(ratios(pairs), head=RATIO_HEAD, width=width, right=(1, 2))]
    return lines


HEAD = ("launch", "runs", "wall, s", "from – to", "CPU, s", "from – to", "confidence")
_MEDIANS = """Medians, and the exact interval that holds the median with the confidence of the last column.
CPU: what all processors of the machine did from start to end, less what they do at rest."""
_RATIOS = """Ratios of medians with their 95 % intervals (a bootstrap; launches of the same round are drawn together
where they were interleaved). A verdict is given only where the interval allows one."""
RATIO_HEAD = ("ratio of medians", "wall", "CPU", "verdict (wall)", "slower steps of the critical path")


def medians(results: Results) -> list[list[str]]:
    """A row for each variant."""
    rows = []
    for name in results.names:
        wall, cpu = median_interval(results.walls(name)), median_interval(results.cpus(name))
        rows.append(
            [
                name,
                str(wall.count),
                f"{wall.mid:.2f}",
                f"{wall.low:.2f} – {wall.high:.2f}",
                f"{cpu.mid:.1f}",
                f"{cpu.low:.1f} – {cpu.high:.1f}",
                f"{wall.level:.1%}",
            ]
        )
    return rows


def ratios(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """A row for each comparison."""
    return [
        [
            f"{each.other} / {each.one}",
            _ratio(each.wall),
            "–" if each.cpu is None else _ratio(each.cpu),
            each.verdict,
            "; ".join(f"{name}: {before:.1f} → {now:.1f} s" for name, before, now in each.slower),
        ]
        for each in comparisons
    ]


def _ratio(found: Interval) -> str:
    return f"{found.mid:.3f} ({found.low:.3f} – {found.high:.3f})"


def markdown(results: Results, comparisons: Sequence[Comparison] | None = None) -> str:
    """The same as a document."""
    system = ", ".join(f"{name} {value}" for name, value in results.system.items() if value is not None)
    lines = [f"# Launches compared, {results.started}", "", f"Engine {results.engine}; {system}.", ""]
    lines += [_MEDIANS, ""]
    lines += _rows(HEAD, medians(results))
    pairs = inside(results) if comparisons is None else comparisons
    if pairs:
        lines += ["", _RATIOS, "", *_rows(RATIO_HEAD, ratios(pairs))]
    return "\n".join(lines) + "\n"


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    every = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in every]
