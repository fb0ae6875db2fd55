"""The Gantt: a row for each step that acted, what it queued apart from what it ran, and all about it on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tasks.engine.step import State
from tasks.runs.heading import MARKS, more
from tasks.runs.markup import Markup, Scale, el, fine, lanes, tick
from tasks.runs.recorded import Row, Run
from tasks.view.console import count

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


def row_ids(run: Run) -> dict[str, str]:
    """The id of each step's row in the page."""
    return {row.name: f"s{number}" for number, row in enumerate(run.acted)}


def timeline(run: Run, scale: Scale, ids: Mapping[str, str]) -> Markup | None:
    """All steps that acted, by task; a script can order them by their start instead."""
    acted = run.acted
    if not acted:
        return None
    groups: dict[str, list[Row]] = {}
    for row in acted:
        groups.setdefault(row.task, []).append(row)
    return el(
        "section",
        el("h2", "Steps"),
        _controls(),
        el(
            "div",
            axis(scale, "took", "queued"),
            grid(scale),
            (_group(run, task, rows, scale, ids) for task, rows in groups.items()),
            class_=chart("steps", len(acted)),
            id="steps",
        ),
        class_="timeline",
    )


def rest(run: Run) -> Iterator[Markup]:
    """What did not act: skipped, with the reasons; or never begun, when the run ended early."""
    for title, rows, shown in (("never begun", run.unstarted, True), ("skipped", run.skipped, False)):
        if not rows:
            continue
        head = el("h2", f"{count(len(rows), 'step')} {title}")
        yield el("details", el("summary", head), _reasons(rows), class_="rest", open_=shown)


def _reasons(rows: Sequence[Row]) -> list[Markup]:
    """Steps by the reason that they share; after those the ones with a reason of their own."""
    shared: dict[str, list[str]] = {}
    for row in rows:
        shared.setdefault(row.why or "no reason is recorded", []).append(row.name)
    groups = [el("div", el("p", why), el("ul", map(_item, names))) for why, names in shared.items() if len(names) > 1]
    alone = [_item(names[0], why) for why, names in shared.items() if len(names) == 1]
    return [*groups, el("div", el("ul", alone))] if alone else groups


def _item(name: str, why: str = "") -> Markup:
    return el("li", name, el("small", f": {why}") if why else None)


def _group(run: Run, task: str, rows: Sequence[Row], scale: Scale, ids: Mapping[str, str]) -> Markup:
    begin, end = min(r.began for r in rows), max(r.end_s or 0.0 for r in rows)
    span = el("rect", x=scale.at(begin), width=scale.at(end - begin), class_="bar span")
    return el(
        "section",
        el(
            "div",
            el("h3", task, " ", el("small", count(len(rows), "step")), class_="name"),
            el("svg", span, class_="track", aria_hidden="true"),
            el("span", fine(end - begin), class_="took"),
            class_="row task",
        ),
        (_row(run, row, scale, ids[row.name]) for row in rows),
        class_="group",
    )


def _row(run: Run, row: Row, scale: Scale, row_id: str) -> Markup:
    again = el("span", f"↻{row.attempts}", class_="again", title="attempts") if row.attempts > 1 else None
    summary = el(
        "summary",
        el("span", _signs(row), _prefix(row), row.short, class_="name"),
        el("svg", queue(row, scale), bar(row, scale), class_="track", aria_hidden="true"),
        el("span", again, fine(row.seconds), class_="took"),
        el("span", f"+{fine(row.queued_s)}" if row.queued_s else "", class_="queued"),
        el("span", row.why, class_="reason") if "failed" in kinds(row) else None,
        class_="row",
    )
    classes = " ".join(["step", *kinds(row)])
    return el("details", summary, more(run, row), class_=classes, id=row_id, data_start=f"{row.began:.3f}")


def _prefix(row: Row) -> Markup | None:
    """The task in a step's name; below the heading of that task it is not shown."""
    return el("span", row.name.removesuffix(row.short), class_="prefix") if row.short != row.name else None


def _signs(row: Row) -> list[Markup]:
    signs = []
    if "failed" in kinds(row) or "aborted" in kinds(row):
        signs.append(el("b", MARKS[row.state], class_="sign", title=row.state.value))
    if row.critical:
        signs.append(el("b", "◆", class_="sign path", title="on the critical path"))
    return signs


def _controls() -> Markup:
    """For the script, which shows them: without it they could do nothing."""
    return el(
        "form",
        el("label", "order ", el("select", el("option", "by task"), el("option", "by start"), name="order")),
        el("label", el("input", type="checkbox", name="path"), " critical path only"),
        el("label", "find ", el("input", type="search", name="find", placeholder="part of a name")),
        el(
            "span",
            "Hover or focus a step for its command, attempts and log; click or Enter keeps it open.",
            class_="hint",
        ),
        class_="controls",
        hidden=True,
    )
