"""The overview: the whole run, its critical path, and what each slot of the pool did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tasks.engine.step import State
from tasks.view.report.figures import fine
from tasks.view.report.markup import Markup, el
from tasks.view.report.recorded import Row, Run
from tasks.view.report.scale import Scale, lanes, tick

_MANY = 100
"""Rows from which on a chart sets them closer."""


def pool(run: Run, scale: Scale, ids: Mapping[str, str]) -> Markup | None:
    """Lanes on one axis; `ids` are those of the steps' rows further down, by name."""
    if not run.acted:
        return None
    return el(
        "section",
        el("h2", "Overview"),
        _legend(),
        el("div", axis(scale, "busy"), grid(scale), _lanes(run, scale, ids), class_="chart lanes"),
        class_="overview",
    )


def breadth(names: Iterable[str]) -> str:
    """The class of a page whose longest name this is: how much of its width names get."""
    longest = max(map(len, names), default=0)
    return "short" if longest <= 30 else "middling" if longest <= 46 else "long"


def chart(kind: str, rows: int) -> str:
    """The classes of a chart; one of many rows sets them closer."""
    return f"chart {kind} dense" if rows > _MANY else f"chart {kind}"


def axis(scale: Scale, *heads: str) -> Markup:
    """The moments above a chart; `heads` are those of the columns beside it."""
    labels = (el("text", tick(at), x=scale.at(at), y="12", class_=_anchor(scale, at)) for at in scale.ticks())
    columns = (el("span", text, class_="took") for text in heads)
    return el("div", el("span"), el("svg", labels, class_="track axis", aria_hidden="true"), columns, class_="row head")


def grid(scale: Scale) -> Markup:
    """Lines behind a chart, below the moments of its axis."""
    lines = (el("line", x1=scale.at(at), x2=scale.at(at), y1="0", y2="100%") for at in scale.ticks())
    return el("div", el("span"), el("svg", lines, class_="track"), class_="row grid", aria_hidden="true")


def bar(row: Row, scale: Scale, **attributes: str) -> Markup:
    """The bar of one step; its classes give it colour and form, also where colours cannot be told apart."""
    form = " ".join(["wait" if row.waits else "work", *kinds(row)])
    return el(
        "rect",
        x=scale.at(row.began),
        width=scale.wide(row.seconds),
        class_=f"bar {form}",
        **attributes,
    )


def kinds(row: Row) -> list[str]:
    """What is particular about a step."""
    found = {"critical": row.critical, "failed": row.state is State.FAILED, "aborted": row.state is State.ABORTED}
    return [name for name, holds in found.items() if holds]


def _anchor(scale: Scale, at: float) -> str:
    share = at / scale.length_s
    return "first" if share < 0.02 else "last" if share > 0.96 else ""


def _lanes(run: Run, scale: Scale, ids: Mapping[str, str]) -> Iterator[Markup]:
    yield _lane("run", fine(run.wall_s), _whole(run, scale))
    if run.path:
        yield _lane("critical path ◆", fine(sum(r.seconds for r in run.path)), _bars(run.path, scale, ids, queues=True))
    if run.floor_s:
        chain = el("rect", x=scale.at(run.first_s), width=scale.at(run.floor_s), class_="bar chain")
        yield _lane("longest chain", fine(run.floor_s), [chain])
    slots: dict[int, list[Row]] = {}
    for row in run.acted:
        if row.slot is not None:
            slots.setdefault(row.slot, []).append(row)
    for slot, rows in sorted(slots.items()):
        yield _lane(f"slot {slot}", fine(sum(r.seconds for r in rows)), _bars(rows, scale, ids))
    for number, lane in enumerate(lanes(row for row in run.acted if row.waits)):
        yield _lane("waits" if number == 0 else "", "", _bars(lane, scale, ids))
    for row in run.guards:
        watch = el("rect", x=scale.at(row.began), width=scale.wide(row.seconds), class_="bar guard")
        yield _lane(f"guard ({row.short})", "", [watch])


def _whole(run: Run, scale: Scale) -> list[Markup | None]:
    last = max((row.end_s or 0.0 for row in run.acted), default=run.wall_s)
    return [
        el("rect", x="0", width=scale.at(run.first_s), class_="bar outside"),
        el("rect", x=scale.at(run.first_s), width=scale.at(last - run.first_s), class_="bar whole"),
        el("rect", x=scale.at(last), width=scale.at(run.wall_s - last), class_="bar outside"),
    ]


def queue(row: Row, scale: Scale) -> Markup | None:
    """The time that a step queued, in front of its bar."""
    if not row.queued_s:
        return None
    return el("line", x1=scale.at(row.ready_s or 0.0), x2=scale.at(row.began), y1="50%", y2="50%", class_="queue")


def _bars(rows: Sequence[Row], scale: Scale, ids: Mapping[str, str], *, queues: bool = False) -> list[Markup | None]:
    made: list[Markup | None] = []
    for row in rows:
        if row.acted:
            made += [queue(row, scale) if queues else None, bar(row, scale, data_for=ids[row.name]), _label(row, scale)]
    return made


def _label(row: Row, scale: Scale) -> Markup | None:
    """The step's name in its bar, cut off where that ends; short bars have none."""
    if row.seconds < scale.length_s * 0.1:
        return None
    text = el("text", row.short, x="5", y="12")
    solid = row.state is State.RAN and not row.waits
    return el(
        "svg", text, x=scale.at(row.began), width=scale.at(row.seconds), class_="label solid" if solid else "label"
    )


def _lane(label: str, total: str, bars: Sequence[Markup | None]) -> Markup:
    return el(
        "div",
        el("span", label, class_="name"),
        el("svg", bars, class_="track", aria_hidden="true"),
        el("span", total, class_="took"),
        class_="row",
    )


def _legend() -> Markup:
    forms = {
        "at work, in a slot": "bar work",
        "waiting, without a slot": "bar wait",
        "on the critical path ◆": "bar work critical",
        "failed ✗": "bar work failed",
        "ended early": "bar work aborted",
    }
    return el(
        "p",
        (
            el("span", el("svg", el("rect", x="2", width="22", class_=form), class_="key", aria_hidden="true"), text)
            for text, form in forms.items()
        ),
        el(
            "span",
            el(
                "svg", el("line", x1="0", x2="26", y1="50%", y2="50%", class_="queue"), class_="key", aria_hidden="true"
            ),
            "queueing for a place",
        ),
        class_="legend",
    )
