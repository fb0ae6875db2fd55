"""The plot of a benchmark: every launch a dot, the median with its interval beside them; SVG and PNG by matplotlib."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.benchmark.results import Results
from tasks.benchmark.statistics import median_interval

_COLOURS = ("#4269d0", "#efb118", "#3ca951", "#ff725c", "#a463f2", "#6cc5b0", "#9c6b4e", "#97bbf5")


def plot(results: Results, folder: Path) -> tuple[str, ...]:
    """The names of the files that were written; none without matplotlib. Raises OSError."""
    if find_spec("matplotlib") is None or not results.names:
        return ()
    mpl = import_module("matplotlib")  # not by `import`: types of it are not there where it is not installed
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same results give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    names = results.names
    figure = import_module("matplotlib.figure").Figure(figsize=(9, 1.6 + 0.55 * len(names)), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    for axes, values, title in zip(
        both, (results.walls, results.cpus), ("Wall time, seconds", "CPU seconds of the machine"), strict=True
    ):
        axes.set_title(title, fontsize=10)
        for row, name in enumerate(names):
            _row(axes, row, values(name))
        _dress(axes, names)
    figure.suptitle(f"Launches, {results.started[:10]}, engine {results.engine}", fontsize=11)
    figure.savefig(folder / "bench.svg", metadata={"Date": None})
    figure.savefig(folder / "bench.png", dpi=144)
    return ("bench.svg", "bench.png")


def _row(axes: Any, row: int, values: list[float]) -> None:  # noqa: ANN401 - matplotlib is no dependency of types
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
