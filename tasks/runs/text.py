"""A run for the terminal: its figures, a Gantt chart of characters, and differences to another run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasks.core.units import count
from tasks.engine.record import RunRecord
from tasks.engine.step import Result, State
from tasks.runs.catalogue import Log
from tasks.runs.compare import Change, Comparison, headline, pair_cells, verdict
from tasks.runs.figures import Scale, facts, fine, note, reading, spelled, tick, when
from tasks.view.console import UNICODE, Line, Marks, cells, cut, line, pad, seconds, table, wrap

_WIDTH = 100
"""Columns without a terminal."""
_MANY = 60
"""With more steps than that, the short ones are only counted."""
_TIMES = 20
"""Columns of a row's seconds: taken, and queued."""


@dataclass(frozen=True, kw_only=True)
class Signs:
    """Characters of the bars."""

    work: str = "█"
    wait: str = "▒"
    queue: str = "·"
    path: str = "◆"


_PLAIN = Signs(work="#", wait="=", queue=".", path="*")


def text(
    run: RunRecord,
    logs: Mapping[str, Log],
    both: Comparison | None = None,
    *,
    width: int | None = None,
    marks: Marks = UNICODE,
) -> list[Line]:
    """Lines of at most `width` columns."""
    columns = width or _WIDTH
    signs = Signs() if marks == UNICODE else _PLAIN
    lines = [*_head(run, columns, marks), line("")]
    if run.acted:
        lines += [*_gantt(run, columns, marks, signs), line("")]
    for row in run.failed:
        lines += _wrapped(f"{row.name}: {row.why}", columns, first=f"{marks.failed} ", style="bad")
        if row.name in logs:
            lines.append(line(f"  its log: {logs[row.name].path}"))
    for rows, word in ((run.skipped, "skipped"), (run.unstarted, "never begun")):
        if rows:
            lines.append(line((f"{count(len(rows), 'step')} {word}", "dim")))
    if both is not None:
        lines += [line(""), *_against(both, columns, signs)]
    lines = [Line(tuple((spelled(part, marks), style) for part, style in each.parts)) for each in lines]
    return [each.fitted(columns, marks.more) for each in lines]


def _head(run: RunRecord, columns: int, marks: Marks) -> list[Line]:
    sign, style = {"ok": (marks.ran, "good"), "failed": (marks.failed, "bad")}.get(run.outcome, (marks.aborted, "warn"))
    about = f"{when(run)}, {run.engine}, {count(run.concurrency, 'command')} at once, settings {run.settings_hash}"
    lines = [line((sign, style), (f" {run.task} ", "strong"), (run.outcome, style)), line((f"  {about}", "dim"))]
    lines += [line((f"  {fact.label:<15}", "dim"), f"{fact.value:<10}  ", (fact.note, "dim")) for fact in facts(run)]
    if note(run):
        lines.insert(0, line((note(run), "warn")))
    words = reading(run)
    return [*lines, *_wrapped(words, columns, first="  ")] if words else lines


def _gantt(run: RunRecord, columns: int, marks: Marks, signs: Signs) -> list[Line]:
    shown = _worth(run)
    names = min(max(cells(row.name) for row in shown) + 2, max(20, columns * 9 // 20))
    room = columns - names - _TIMES - 2
    scale = Scale(length_s=run.length_s)
    lines = []
    if room >= 10:
        head = f"{'':<{names}} {_axis(scale, room)} {'took':>10}{'queued':>9}"
        lines.append(line((head, "dim")))
    for row in shown:
        style = "bad" if row.state is State.FAILED else "warn" if row.name in run.critical_path else ""
        sign = (
            f"{signs.path} "
            if row.name in run.critical_path
            else f"{marks.failed} "
            if row.state is State.FAILED
            else "  "
        )
        bar = f"{_bar(row, scale, room, signs)} " if room >= 10 else ""
        again = f"{marks.again}{row.attempts} " if row.attempts > 1 else ""
        queued = f"{f'+{fine(row.queued_s)}':>9}" if row.queued_s else ""
        name = pad(cut(row.name, names - 2, marks.more), names - 2)
        lines.append(line((f"{sign}{name} {bar}", style), f"{again + fine(row.seconds):>10}", (queued, "dim")))
    hidden = len(run.acted) - len(shown)
    if hidden:
        rest = sum(row.seconds for row in run.acted) - sum(row.seconds for row in shown)
        lines.append(line((f"  and {count(hidden, 'shorter step')}, {seconds(rest)} together", "dim")))
    key = f"  {signs.path} on the critical path  {signs.work} at work  {signs.wait} waiting  {signs.queue} queueing"
    return [*lines, line((key, "dim"))]


def _worth(run: RunRecord) -> list[Result]:
    """All steps, or if there are too many the most important: the critical path, failures, the longest."""
    acted = run.acted
    if len(acted) <= _MANY:
        return acted
    least = sorted((row.seconds for row in acted), reverse=True)[_MANY // 2]
    path = sorted((row.seconds for row in run.path), reverse=True)
    least_path = path[_MANY // 2] if len(path) > _MANY // 2 else 0.0
    return [
        row
        for row in acted
        if row.state is State.FAILED
        or row.seconds > least
        or (row.name in run.critical_path and row.seconds > least_path)
    ]


def _axis(scale: Scale, room: int) -> str:
    drawn = ""
    for at in scale.ticks(most=max(2, room // 10)):
        place = int(at / scale.length_s * room)
        label = tick(at)
        if place + len(label) <= room and (place > len(drawn) or not drawn):
            drawn = drawn.ljust(place) + label
    return drawn.ljust(room)


def _bar(row: Result, scale: Scale, room: int, signs: Signs) -> str:
    def cell(at: float) -> int:
        return min(room - 1, int(at / scale.length_s * room))

    begin, end = cell(row.began), cell(row.ended)
    queued = cell(row.ready_s or 0.0) if row.queued_s else begin
    acted = (signs.wait if row.waits else signs.work) * (end - begin + 1)
    return f"{' ' * queued}{signs.queue * (begin - queued)}{acted}".ljust(room)


def _against(both: Comparison, columns: int, signs: Signs) -> list[Line]:
    lines = [line((f"against {both.before.task} of {when(both.before)}", "strong"))]
    lines += _wrapped(f"{headline(both)} {verdict(both)}", columns, first="  ")
    lines += [line((f"  {what}: {old}, now {new}", "dim")) for what, old, new in both.differs]
    groups = (
        ("slower", both.of(Change.SLOWER)),
        ("faster", both.of(Change.FASTER)),
        ("ran in only one of them", both.of(Change.NEW, Change.GONE)),
    )
    for title, pairs in groups:
        if not pairs:
            continue
        lines += [line(""), line((f"{title}: {count(len(pairs), 'step')}", "strong"))]
        head = ("step", "earlier", "now", "difference")
        shown = [pair_cells(pair, signs.path, "−") for pair in pairs[: _MANY // 3]]
        rows = table(shown, head=head, width=columns, right=(1, 2, 3))
        lines += [line(each) for each in rows]
        if len(pairs) > _MANY // 3:
            lines.append(line((f"and {len(pairs) - _MANY // 3} more", "dim")))
    return lines if both.of(Change.SLOWER) else [*lines, line(""), line("no step got slower")]


def _wrapped(words: str, columns: int, *, first: str, style: str = "") -> Iterable[Line]:
    return [line((part, style)) for part in wrap(words, columns, first=first, rest="  ")]
