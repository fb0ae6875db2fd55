"""The output of `bench`: a line for each launch with the remaining time, results as tables, and a matplotlib plot."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.benchmark.compare import Comparison, inside
from tasks.benchmark.results import Measured, Results, Trial
from tasks.benchmark.statistics import Interval, median_interval
from tasks.view.console import table


def beginning(trial: Trial, left: float | None) -> str:
    """The line before a launch."""
    what = "warm-up" if trial.round < 0 else f"round {trial.round + 1}"
    more = f", about {span(left)} left" if left is not None else ""
    return f"{trial.number} of {trial.total}: {trial.variant.name}, {what}{more}"


def ended(trial: Trial, run: Measured) -> str:
    """The line after it."""
    dropped = " (discarded: warm-up)" if trial.round < 0 else ""
    return f"  {run.wall_s:.1f} s, {run.cpu_s:.1f} CPU seconds{dropped}"


def span(seconds: float) -> str:
    """Seconds in rounded units."""
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
_MEDIANS = """Medians, and the exact interval that contains the median with the confidence of the last column.
CPU: the time of all processors of the machine from start to end, less the time at rest."""
_RATIOS = """Ratios of medians with their 95 % intervals (a bootstrap; launches of the same round are drawn together
where they were interleaved). A verdict is given only if the interval allows one."""
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
    """The same as a Markdown document."""
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


_COLOURS = ("#4269d0", "#efb118", "#3ca951", "#ff725c", "#a463f2", "#6cc5b0", "#9c6b4e", "#97bbf5")


def plot(results: Results, folder: Path) -> tuple[str, ...]:
    """A dot for each launch, and the median with its interval. Returns names of the written files, SVG and PNG;
    none without matplotlib. Raises OSError.
    """
    if find_spec("matplotlib") is None or not results.names:
        return ()
    mpl = import_module("matplotlib")  # not by `import`: its types are missing if it is not installed
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "bench"  # equal results give equal files
    mpl.rcParams["svg.fonttype"] = "none"
    names = results.names
    figure = import_module("matplotlib.figure").Figure(figsize=(9, 1.6 + 0.55 * len(names)), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    for axes, values, title in zip(
        both, (results.walls, results.cpus), ("Wall time, seconds", "CPU seconds of the machine"), strict=True
    ):
        axes.set_title(title, fontsize=10)
        for row, name in enumerate(names):
            _bar(axes, row, values(name))
        _dress(axes, names)
    figure.suptitle(f"Launches, {results.started[:10]}, engine {results.engine}", fontsize=11)
    figure.savefig(folder / "bench.svg", metadata={"Date": None})
    figure.savefig(folder / "bench.png", dpi=144)
    return ("bench.svg", "bench.png")


def _bar(axes: Any, row: int, values: list[float]) -> None:  # noqa: ANN401 - matplotlib is no dependency of types
    colour, found = _COLOURS[row % len(_COLOURS)], median_interval(values)
    axes.barh(row, found.mid, height=0.62, color=colour, alpha=0.35)
    axes.plot([found.low, found.high], [row, row], color="#333333", linewidth=1.5)
    axes.plot([found.mid], [row], marker="|", markersize=16, color="#333333")
    axes.scatter(values, [row + 0.18] * len(values), color=colour, s=14, zorder=3)
    axes.annotate(
        f"{found.mid:.1f}", (max(found.high, *values), row), xytext=(6, 0), textcoords="offset points", va="center"
    )


def _dress(axes: Any, names: tuple[str, ...]) -> None:  # noqa: ANN401
    axes.set_yticks(range(len(names)), names)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.margins(x=0.14)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
