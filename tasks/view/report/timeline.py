"""The Gantt: a row for each step that acted, what it queued apart from what it ran, and all about it on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasks.view.fit import count
from tasks.view.report.figures import fine
from tasks.view.report.heading import MARKS, more
from tasks.view.report.markup import Markup, el
from tasks.view.report.pool import axis, bar, chart, grid, kinds, queue
from tasks.view.report.recorded import Row, Run
from tasks.view.report.scale import Scale


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
