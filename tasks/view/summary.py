"""A run that is over, and the lines that end one that went well: its total, what bounded it, what would shorten it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.core.redact import redact
from tasks.engine.record import RunRecord
from tasks.engine.step import Result, State
from tasks.view.console import UNICODE, Line, Marks, cells, chain, count, line, seconds, some, wrap

_SETTINGS = {
    "work": "CONCURRENCY_LEVEL",
    "waits": "pool.waits",
    "download": "K3D_CONCURRENT_DOWNLOADS",
    "downloads": "K3D_CONCURRENT_DOWNLOADS",
    "helm": "pool.helm",
}
"""The setting behind each bound."""
_LABEL = 16
_NARROW = 44
"""Columns below which a label has a line of its own."""
_PATH_LINES = 6
"""Of a long critical path only the steps that took longest are named: the summary must fit a screen."""
_NAMED = 0.05
"""Seconds below which a step of the critical path is not named."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A run that is over, and what its task knows of it beside the record."""

    run: RunRecord
    inspect: str = ""
    """The command that looks at what a failed run has left."""
    logs: Path | None = None
    """The folder with a log for each step."""
    note: str = ""
    """Shown on every screen, such as that nothing real was created."""
    access: Sequence[tuple[str, str]] = ()
    """Labels and texts: what there is now, and how to reach it."""


def summary(ending: Ending, *, width: int | None = None, marks: Marks = UNICODE) -> list[Line]:
    """The lines that end a good run; for a run where everything was there already, one."""
    run = ending.run
    ran, skipped = run.count(State.RAN), run.count(State.SKIPPED)
    if skipped == len(run.results):
        what = count(skipped, "step") + " skipped" if run.results else "no steps"
        said = _head(marks, f"{run.task}: nothing to do", f": {what} ({seconds(run.wall_s)})", width)
        return [*_note(ending, width), *said, *notes(ending, width), *entries(ending.access, width)]
    steps = count(ran, "step") + " ran" + (f", {skipped} skipped" if skipped else "")
    lines = [*_note(ending, width), *_head(marks, f"{run.task} took {seconds(run.wall_s)}", f": {steps}", width)]
    lines += notes(ending, width)
    if ran < 2:
        return [*lines, *entries(ending.access, width)]
    share = f"{min(1.0, run.floor_s / run.wall_s):.0%}" if run.wall_s > 0 else "all"
    lines += _entry("longest chain", f"{seconds(run.floor_s)}, {share} of the total", width)
    lines += _path(timed(run.path), width, marks)
    lines += _entry("took longest", chain(timed(run.busy[:3]), ", ", _room(width)), width)
    work = f"{run.concurrently:.1f} steps on the average ({seconds(run.busy_s)} in {seconds(run.wall_s)})"
    lines += _entry("concurrently", work, width)
    if run.queued_s >= max(0.5, run.wall_s * 0.02):
        lines += _entry("queued", _queued(run), width)
    if text := hint(run):
        lines += _entry("next", text, width)
    return [*lines, *([line()] if ending.access else []), *entries(ending.access, width)]


def entries(rows: Sequence[tuple[str, str]], width: int | None) -> list[Line]:
    """Labels and texts, one entry each; a command in back quotes stays whole, to be copied, and loses its quotes."""
    return [each for label, text in rows for each in _entry(label, redact(text), width, commands=True)]


def notes(ending: Ending, width: int | None) -> list[Line]:
    """What steps that ended well leave the user to know, one entry each."""
    return [each for note in ending.run.notes for each in _entry("note", redact(note), width)]


def hint(run: RunRecord) -> str:
    """What to change next: the one thing that would help most, or nothing for a run too short to gain from it."""
    queued = run.queued_by(run.path)
    if queued and sum(queued.values()) >= max(0.5, run.wall_s * 0.1):
        bound, waited = max(queued.items(), key=lambda item: item[1])
        return f"the critical path queued {seconds(waited)} for a place; a larger {setting(bound)} may help"
    again = [r.name for r in run.results if r.attempts > 1 and r.seconds > 0 and r.name not in run.guards]
    if again:
        return f"{some(again)} needed more than one attempt; the logs tell why"
    longest = max(run.path, key=lambda r: r.seconds, default=None)
    if longest is None or run.wall_s < 2:
        return ""
    if run.floor_s >= run.wall_s * 0.9 and longest.seconds >= run.wall_s * 0.3:
        return f"more concurrency cannot help; the time is that of its longest chain, above all of '{longest.name}'"
    return f"look at '{longest.name}' first: {seconds(longest.seconds)} of the total are its own"


def setting(bound: str) -> str:
    """The setting behind a bound of the pool."""
    return _SETTINGS.get(bound, f"bound for '{bound}'")


def timed(results: Sequence[Result]) -> list[tuple[str, float]]:
    """Names and seconds of steps that took long enough to be named."""
    return [(r.name, r.seconds) for r in results if r.seconds >= _NAMED]


def _queued(run: RunRecord) -> str:
    queued = run.queued_by(run.acted)
    return ", ".join(f"{seconds(s)} by {setting(bound)}" for bound, s in sorted(queued.items(), key=lambda i: -i[1]))


def _note(ending: Ending, width: int | None) -> list[Line]:
    return [line((part, "warn")) for part in wrap(ending.note, width, break_words=True)] if ending.note else []


def _head(marks: Marks, what: str, more: str, width: int | None) -> list[Line]:
    """The first line; on a narrow screen, as many as it takes."""
    whole = line((marks.ran, "good"), (f" {what}", "strong"), more)
    if width is None or cells(whole.text) <= width:
        return [whole]
    mark = f"{marks.ran} "
    parts = wrap(what + more, width, first=mark, rest="  ", break_words=True)
    return [line((part[: len(mark)], "good"), (part[len(mark) :], "strong")) for part in parts]


def _path(pairs: list[tuple[str, float]], width: int | None, marks: Marks) -> Sequence[Line]:
    for kept in range(len(pairs), 0, -1):
        least = sorted(took for _, took in pairs)[len(pairs) - kept]
        shown = [pair for pair in pairs if pair[1] >= least]
        left = f" ({count(len(pairs) - len(shown), 'shorter step')} left out)" if len(shown) < len(pairs) else ""
        lines = _entry("critical path", chain(shown, f" {marks.arrow} ", _room(width)) + left, width)
        if width is None or len(lines) <= _PATH_LINES or len(shown) <= 3:
            return lines
    return ()


def _room(width: int | None) -> int | None:
    """Columns for texts after, or on a narrow screen under, their labels."""
    return None if width is None else width - (_LABEL if width >= _NARROW else 4)


def _entry(label: str, text: str, width: int | None, *, commands: bool = False) -> Sequence[Line]:
    """`commands`: what stands in back quotes is not broken."""
    quoted = commands or label in ("critical path", "took longest")
    if width is not None and width < _NARROW:
        parts = wrap(text, width, first=" " * 4, break_words=not commands)
        texts = [part.replace("`", "") if quoted else part for part in parts]
        return [line((f"  {label}", "dim")), *[line(part) for part in texts]]
    parts = wrap(text, width, first=f"  {label:<{_LABEL - 2}}", rest=" " * _LABEL, break_words=not commands)
    texts = [part.replace("`", "") if quoted else part for part in parts]
    return [line((part[:_LABEL], "dim"), part[_LABEL:]) for part in texts]
