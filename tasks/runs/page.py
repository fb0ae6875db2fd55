"""Recorded runs as pages: one file without external resources, whose policy allows only our own script."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.files import sha256
from tasks.core.units import count
from tasks.engine.estimate import median
from tasks.engine.record import RunRecord
from tasks.engine.step import Result, State
from tasks.runs.compare import Change, Comparison, headline, pair_cells, verdict
from tasks.runs.figures import Scale, counts, facts, fine, lanes, note, reading, short, signed, tick, when
from tasks.runs.history import HEAD, NUMBERS, Expected, Point, began, cells, rehearsed, shifted
from tasks.view.console import seconds

if TYPE_CHECKING:
    from jinja2 import Environment

    from tasks.runs.catalogue import Log

_TEMPLATES = Path(__file__).parent / "templates"
_MANY = 100
"""Number of rows from which on a chart is denser."""
_EDGE = 1.5
"""Space for the seconds on the left of a plot, in launches; the template has the same value."""
_OUTCOMES = {"ok": ("✓", "good"), "failed": ("✗", "bad")}
_MARKS = {State.FAILED.value: "✗", State.ABORTED.value: "·"}
_CHANGES = {
    Change.SLOWER: "▲ slower",
    Change.FASTER: "▼ faster",
    Change.NEW: "＋ only now",
    Change.GONE: "－ only before",
}


def html(run: RunRecord, logs: Mapping[str, Log], both: Comparison | None = None) -> str:
    """The page of a run, compared with another one if `both` is given."""
    runs = [run] if both is None else [run, both.before]
    groups: dict[str, list[Result]] = {}
    for row in run.acted:
        groups.setdefault(row.task, []).append(row)
    tiles = [tuple(vars(fact).values()) for fact in facts(run)]
    return _page(
        "run.html",
        title=f"{run.task} {run.started:%Y-%m-%d %H:%M:%S}",
        breadth=_breadth(short(row) for each in runs for row in each.acted),
        run=run,
        logs={row.name: logs.get(row.name) for row in run.results},
        both=both,
        scale=Scale(length_s=run.length_s),
        ids={row.name: f"s{number}" for number, row in enumerate(run.acted)},
        groups=list(groups.items()),
        note=note(run),
        outcome=_OUTCOMES.get(run.outcome, ("·", "warn")),
        tiles=[*tiles, ("steps", str(len(run.results)), counts(run))],
        reading=reading(run),
        machine=[(key.replace("_", " "), value) for key, value in run.machine.items()],
        about=_about_step,
    )


def history_html(points: Sequence[Point], expected: Expected) -> str:
    """The page of all runs over time, with a plot for each task and engine with launches."""
    series: dict[str, list[Point]] = {}
    for point in points:
        if point.run.mostly_ran:
            series.setdefault(f"{point.run.task} on {point.run.engine}", []).append(point)
    return _page(
        "history.html",
        title="runs over time",
        breadth="",
        points=list(points),
        notes=rehearsed(points),
        series=list(series.items()),
        expected=expected,
        head=HEAD,
        numbers=NUMBERS,
        cells=cells,
        about=_about_series,
        levels=_levels,
        plot_scales=_plot_scales,
        dot_title=_dot_title,
    )


def _page(template: str, **values: Any) -> str:
    from markupsafe import Markup

    style, script = _text("page.css"), _text("page.js")
    made = _environment().get_template(template)
    # both are part of this project, and the policy lists their digests
    csp = content_security_policy(style, script)
    return made.render(policy=csp, style=Markup(style), script=Markup(script), **values)  # noqa: S704 - ours


def content_security_policy(style: str, script: str) -> str:
    """Loads nothing; allows only these styles and this script, by digest."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{b64encode(bytes.fromhex(sha256(text))).decode()}"


def _text(name: str, between: str = "\n") -> str:
    """A file without indentation and empty lines, which browsers do not need."""
    lines = (_TEMPLATES / name).read_text(encoding="utf-8").splitlines()
    return between.join(line.strip() for line in lines if line.strip())


@cache
def _environment() -> Environment:
    """Escapes every text and attribute; an undefined name is an error."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FunctionLoader(lambda name: _text(name, between=""))
    )
    made.filters |= {"fine": fine, "signed": signed, "tick": tick, "short": short, "cells": pair_cells}
    made.globals |= {
        "count": count,
        "when": when,
        "lanes": lanes,
        "chart": _chart,
        "form": _form,
        "kinds": _kinds,
        "marks": _MARKS,
        "reasons_of": _reasons,
        "headline": headline,
        "verdict": verdict,
        "totals": _totals,
        "scale_of": lambda both: Scale(length_s=max(both.before.length_s, both.after.length_s)),
        "Change": Change,
        "words": _CHANGES,
    }
    return made


def _breadth(names: Iterable[str]) -> str:
    """The class of a page with this longest name: the share of the width for names."""
    longest = max(map(len, names), default=0)
    return "short" if longest <= 30 else "middling" if longest <= 46 else "long"


def _chart(kind: str, rows: int) -> str:
    return f"chart {kind} dense" if rows > _MANY else f"chart {kind}"


def _kinds(run: RunRecord, row: Result) -> list[str]:
    """The properties of a step, as classes."""
    found = {
        "critical": row.name in run.critical_path,
        "failed": row.state is State.FAILED,
        "aborted": row.state is State.ABORTED,
    }
    return [name for name, holds in found.items() if holds]


def _form(run: RunRecord, row: Result) -> str:
    """The classes of a step's bar: colour and form, so that it is distinguishable without colours, too."""
    return " ".join(["wait" if row.waits else "work", *_kinds(run, row)])


def _about_step(run: RunRecord, row: Result) -> list[tuple[str, str]]:
    """Everything known about a step besides its reason and its log."""
    pairs = [("state", row.state.value)]
    if row.acted:
        queued = f", after {fine(row.queued_s)} in the queue" if row.queued_s else ""
        pairs += [
            ("took", fine(row.seconds) + queued),
            ("from, to", f"{row.began:.3f} s, {row.ended:.3f} s"),
            ("place", "a wait takes no slot" if row.slot is None else f"slot {row.slot}"),
            ("attempts", str(row.attempts)),
        ]
    if row.exit_code is not None:
        pairs.append(("exit code", str(row.exit_code)))
    if row.needs:
        pairs.append(("needs", ", ".join(row.needs)))
    if row.name in run.critical_path:
        pairs.append(("path", "on the critical path"))
    return pairs


def _reasons(rows: Sequence[Result]) -> dict[str, list[str]]:
    """Names of steps by their common reason."""
    shared: dict[str, list[str]] = {}
    for row in rows:
        shared.setdefault(row.why or "no reason recorded", []).append(row.name)
    return shared


def _totals(both: Comparison) -> list[tuple[str, ...]]:
    before, after = both.before, both.after
    rows = [
        ("total", before.wall_s, after.wall_s),
        ("longest chain", before.floor_s, after.floor_s),
        ("queued, all steps", before.queued_s, after.queued_s),
        ("sum of all steps", before.busy_s, after.busy_s),
    ]
    ran, runs = before.count(State.RAN), after.count(State.RAN)
    more = f"{runs - ran:+d}".replace("-", "−").replace("+0", "±0")
    timed = [(what, seconds(old), seconds(new), signed(new - old)) for what, old, new in rows]
    return [*timed, ("steps that ran", str(ran), str(runs), more)]


def _about_series(launches: Sequence[Point]) -> str:
    walls = [point.run.wall_s for point in launches]
    spread = f"{seconds(min(walls))} to {seconds(max(walls))}, median {seconds(median(walls))}."
    changes = [f" {when(point.run)}: {shifted(point.shift)}." for point in launches if point.shift is not None]
    none = " No lasting change is visible." if len(launches) >= 8 else " Too few runs to tell a change from chance."
    return "".join([spread, *(changes or [none])])


def _plot_scales(launches: Sequence[Point]) -> tuple[Scale, Scale]:
    """Totals upwards; launches from the oldest to the newest."""
    top = max(point.run.wall_s for point in launches) * 1.05
    return Scale(length_s=top), Scale(length_s=len(launches) + _EDGE)


def _levels(launches: Sequence[Point]) -> list[tuple[int, int, float]]:
    """Start, end and median of each stretch of launches."""
    edges = [0, *(i for i, point in enumerate(launches) if point.shift is not None), len(launches)]
    return [(begin, end, median([p.run.wall_s for p in launches[begin:end]])) for begin, end in pairwise(edges)]


def _dot_title(point: Point) -> str:
    run = point.run
    return f"{when(run)}\n{fine(run.wall_s)}, settings {run.settings_hash[:8]}\n{began(point)}".rstrip()
