"""Two runs side by side: the totals, what changed, and every step of both on one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.engine.step import State
from tasks.runs.compare import Change, Comparison, Pair, headline, verdict
from tasks.runs.markup import Markup, Scale, el, fine, signed, when
from tasks.runs.recorded import Row
from tasks.runs.timeline import axis, chart, grid
from tasks.view.console import count, seconds

_WORDS = {
    Change.SLOWER: "▲ slower",
    Change.FASTER: "▼ faster",
    Change.NEW: "＋ only now",
    Change.GONE: "－ only before",
}


def beside(both: Comparison, ids: Mapping[str, str]) -> Markup:
    """The section that holds one run against the other; `ids` are those of this run's rows, by the step's name."""
    scale = Scale(length_s=max(both.before.length_s, both.after.length_s))
    return el(
        "section",
        el("h2", f"Against {both.before.task} of {when(both.before)}"),
        el("p", el("b", headline(both)), " ", verdict(both), class_="reading"),
        el("div", el("div", el("h3", "Totals"), _totals(both)), _differs(both), _changed(both), class_="tables"),
        el("h3", "Every step of both, on one axis"),
        el("p", _key("new", "this run"), _key("old", "the earlier one"), class_="legend"),
        el(
            "div",
            axis(scale, "difference"),
            grid(scale),
            (_row(pair, scale, ids.get(pair.name)) for pair in both.pairs),
            class_=chart("pairs", len(both.pairs)),
        ),
        class_="beside",
        id="beside",
    )


def _totals(both: Comparison) -> Markup:
    rows = [
        ("total", both.before.wall_s, both.after.wall_s),
        ("longest chain", both.before.floor_s, both.after.floor_s),
        ("queued, all steps", both.before.queued_s, both.after.queued_s),
        ("sum of all steps", both.before.busy_s, both.after.busy_s),
    ]
    cells = [(what, seconds(old), seconds(new), signed(new - old)) for what, old, new in rows]
    ran = [sum(row.state is State.RAN for row in run.rows) for run in (both.before, both.after)]
    cells.append(
        ("steps that ran", str(ran[0]), str(ran[1]), f"{ran[1] - ran[0]:+d}".replace("-", "−").replace("+0", "±0"))
    )
    return _table(("", "earlier", "this run", "difference"), cells)


def _differs(both: Comparison) -> Markup | None:
    if not both.differs:
        return el("p", "Same task, engine, settings and machine.", class_="about")
    return el("div", el("h3", "What else differs"), _table(("", "earlier", "this run"), both.differs))


def _changed(both: Comparison) -> list[Markup]:
    made = []
    for title, changes in (
        ("What got slower", (Change.SLOWER,)),
        ("What got faster", (Change.FASTER,)),
        ("What ran in only one of them", (Change.NEW, Change.GONE)),
    ):
        pairs = both.of(*changes)
        if pairs:
            made.append(
                el(
                    "details",
                    el("summary", el("h3", f"{title}: {count(len(pairs), 'step')}")),
                    _table(("step", "earlier", "this run", "difference"), [_cells(pair) for pair in pairs]),
                    class_="changed",
                    open_=Change.SLOWER in changes or len(pairs) <= 10,
                )
            )
    if not both.of(Change.SLOWER):
        made.insert(0, el("p", "No step got slower by 0.2 s and a tenth or more.", class_="about"))
    return made


def _cells(pair: Pair) -> tuple[str, str, str, str]:
    def cell(row: Row | None) -> str:
        return "–" if row is None else fine(row.seconds) if row.acted else row.state.value

    path = " ◆" if pair.critical else ""
    return f"{pair.name}{path}", cell(pair.before), cell(pair.after), signed(pair.difference_s)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    return el(
        "table",
        el("thead", el("tr", (el("th", text, scope="col") for text in head))),
        el(
            "tbody",
            (el("tr", el("th", row[0], scope="row"), (el("td", text) for text in row[1:])) for row in rows),
        ),
    )


def _row(pair: Pair, scale: Scale, row_id: str | None) -> Markup:
    change = pair.change
    return el(
        "div",
        el(
            "span",
            el("b", "◆", class_="sign path") if pair.critical else None,
            pair.name,
            class_="name",
            title=pair.name,
        ),
        el(
            "svg",
            [_bar(row, scale, which) for row, which in ((pair.after, "new"), (pair.before, "old"))],
            class_="track",
            aria_hidden="true",
        ),
        el("span", signed(pair.difference_s) if abs(pair.difference_s) >= 0.0005 else "", class_="took"),
        el("span", _WORDS.get(change, ""), class_="change"),
        class_=f"row {change.name.lower()}",
        data_for=row_id,
    )


def _bar(row: Row | None, scale: Scale, which: str) -> Markup | None:
    if row is None or not row.acted:
        return None
    return el("rect", x=scale.at(row.began), width=scale.wide(row.seconds), class_=f"bar {which}")


def _key(which: str, text: str) -> Markup:
    sample = el("rect", x="2", width="22", class_=f"bar {which}")
    return el("span", el("svg", sample, class_="key", aria_hidden="true"), text)
