"""Totals over time, as a page with a plot for each task and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from tasks.runs.history import HEAD, NUMBERS, Expected, Point, began, cells, median, rehearsed, shifted
from tasks.runs.markup import Markup, Scale, el, fine, tick, when
from tasks.runs.page import page
from tasks.view.console import count, seconds

_HEIGHT = 230
"""Of a plot, in pixels."""
_EDGE = 1.5
"""Room on its left for the seconds, as so many launches."""


def past_html(points: Sequence[Point], expected: Expected) -> str:
    """One file that needs nothing else."""
    newest = points[-1].run
    return page(
        "runs over time",
        el(
            "header",
            (el("p", each, class_="note") for each in rehearsed(points)),
            el("h1", "Runs over time"),
            el("p", _about(points), class_="about"),
        ),
        _plots(points),
        el("section", el("h2", "All runs"), _runs(points)),
        (_expected(engine, steps) for engine, steps in expected.items()),
        el("footer", el("p", f"The newest: runs/{newest.name}.json", class_="file")),
    )


def _about(points: Sequence[Point]) -> str:
    first, last = points[0].run, points[-1].run
    return f"{count(len(points), 'run')} from {when(first)} to {when(last)}"


def _plots(points: Sequence[Point]) -> Iterator[Markup]:
    """One plot for each task and engine with launches."""
    series: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        if point.run.mostly_ran:
            series.setdefault((point.run.task, point.run.engine), []).append(point)
    for (task, engine), launches in series.items():
        if len(launches) > 1:
            title = f"{task} on {engine}: {len(launches)} runs"
            yield el("section", el("h2", title), el("p", *_words(launches), class_="reading"), _plot(launches))


def _words(launches: Sequence[Point]) -> list[str]:
    walls = [point.run.wall_s for point in launches]
    spread = f"{seconds(min(walls))} to {seconds(max(walls))}, median {seconds(median(walls))}."
    changes = [f" {when(point.run)}: {shifted(point.shift)}." for point in launches if point.shift is not None]
    none = " No lasting change is to be seen." if len(launches) >= 8 else " Too few runs to tell a change from chance."
    return [spread, *(changes or [none])]


def _plot(launches: Sequence[Point]) -> Markup:
    """Totals from the oldest to the newest; a line at the median of each stretch."""
    top = Scale(length_s=max(point.run.wall_s for point in launches) * 1.05)
    across = Scale(length_s=len(launches) + _EDGE)

    def y(value: float) -> str:
        return f"{_HEIGHT - value / top.length_s * (_HEIGHT - 10):.1f}"

    def grid() -> Iterator[Markup]:
        for at in top.ticks(6):
            yield el("line", x1="0", x2="100%", y1=y(at), y2=y(at))
            yield el("text", tick(at), x="0", y=f"{float(y(at)) - 3:.1f}")

    def dots() -> Iterator[Markup]:
        for index, point in enumerate(launches):
            run = point.run
            title = f"{when(run)}\n{fine(run.wall_s)}, settings {run.settings_hash[:8]}\n{began(point)}".rstrip()
            kind = "other" if point.settings_changed else None
            x = across.at(_EDGE + index + 0.5)
            yield el("circle", el("title", title), cx=x, cy=y(run.wall_s), r="4.5", class_=kind)

    key = el(
        "p",
        el(
            "small",
            "Each dot is a run that did most of its plan; a hollow one began other settings than the one before it.",
        ),
    )
    picture = el("svg", grid(), _levels(launches, across, y), dots(), class_="plot", role="img", aria_label="totals")
    return el("div", picture, key)


def _levels(launches: Sequence[Point], across: Scale, y: Callable[[float], str]) -> Iterator[Markup]:
    edges = [0, *(i for i, point in enumerate(launches) if point.shift is not None), len(launches)]
    for begin, end in pairwise(edges):
        level = y(median([point.run.wall_s for point in launches[begin:end]]))
        left, right = across.at(_EDGE + begin), across.at(_EDGE + end)
        yield el("line", x1=left, x2=right, y1=level, y2=level, class_="level")
        if begin:
            yield el("line", x1=left, x2=left, y1="0", y2=str(_HEIGHT), class_="began")


def _runs(points: Sequence[Point]) -> Markup:
    rows = (
        el(
            "tr",
            el("th", cells(point)[0], scope="row"),
            (el("td", cell, class_=None if at in NUMBERS else "words") for at, cell in enumerate(cells(point)[1:], 1)),
            class_="mark" if point.shift is not None else None,
        )
        for point in reversed(points)
    )
    head = (el("th", text, scope="col", class_=None if at in NUMBERS else "words") for at, text in enumerate(HEAD))
    return el("div", el("table", el("thead", el("tr", head)), el("tbody", rows)), class_="wide", tabindex="0")


def _expected(engine: str, steps: Mapping[str, float]) -> Markup:
    rows = (
        el("tr", el("th", name, scope="row"), el("td", fine(took)))
        for name, took in sorted(steps.items(), key=lambda item: -item[1])
    )
    title = f"What the scheduler expects on {engine}: {count(len(steps), 'step')}"
    return el(
        "details",
        el("summary", el("h2", title)),
        el("p", "The median of each step's last runs: its place in the order, and the expected total.", class_="about"),
        el("table", el("tbody", rows)),
        class_="rest",
    )
