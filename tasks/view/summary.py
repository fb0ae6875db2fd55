"""A run that went well, on one screen: its total, what bounded it, and what would make it shorter."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.core.redact import redact
from tasks.engine.step import State
from tasks.view.console import UNICODE, Line, Marks, cells, chain, count, line, seconds, some, wrap
from tasks.view.figures import Ending, Figures, figures

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


def summary(ending: Ending, *, width: int | None = None, marks: Marks = UNICODE) -> list[Line]:
    """The lines that end a good run; for a run where everything was there already, one."""
    if all(result.state is State.SKIPPED for result in ending.results):
        what = count(len(ending.results), "step") + " skipped" if ending.results else "no steps"
        said = _head(marks, f"{ending.task}: nothing to do", f": {what} ({seconds(ending.wall_s)})", width)
        return [*_note(ending, width), *said, *notes(ending, width)]
    got = figures(ending.steps, ending.results, ending.wall_s)
    ran, skipped = got.counts[State.RAN], got.counts[State.SKIPPED]
    steps = count(ran, "step") + " ran" + (f", {skipped} skipped" if skipped else "")
    lines = [*_note(ending, width), *_head(marks, f"{ending.task} took {seconds(got.wall_s)}", f": {steps}", width)]
    lines += notes(ending, width)
    if ran < 2:
        return lines
    lines += _entry("longest chain", f"{seconds(got.floor_s)}, {_share(got)} of the total", width)
    lines += _path(_visible(got.path), width, marks)
    lines += _entry("took longest", chain(_visible(got.costliest), ", ", _room(width)), width)
    work = f"{got.concurrently:.1f} steps on the average ({seconds(got.busy_s)} in {seconds(got.wall_s)})"
    lines += _entry("side by side", work, width)
    if sum(got.queued.values()) >= max(0.5, got.wall_s * 0.02):
        lines += _entry("queued", _queued(got), width)
    if text := hint(got):
        lines += _entry("next", text, width)
    return lines


def notes(ending: Ending, width: int | None) -> list[Line]:
    """What steps that ended well leave the user to know, one entry each."""
    return [each for note in ending.notes for each in _entry("note", redact(note), width)]


def hint(got: Figures) -> str:
    """What to change next: the one thing that would help most, or nothing for a run too short to gain from it."""
    if got.path_queued and sum(got.path_queued.values()) >= max(0.5, got.wall_s * 0.1):
        bound, waited = max(got.path_queued.items(), key=lambda item: item[1])
        return f"the critical path queued {seconds(waited)} for a place; a larger {setting(bound)} may help"
    if got.again:
        return f"{some(list(got.again))} needed more than one attempt; the logs tell why"
    if got.path and got.floor_s >= got.wall_s * 0.9 and got.wall_s >= 2:
        name, took = max(got.path, key=lambda item: item[1])
        if took >= got.wall_s * 0.3:
            return f"more concurrency cannot help; the time is that of its longest chain, above all of '{name}'"
    if got.path and got.wall_s >= 2:
        name, took = max(got.path, key=lambda item: item[1])
        return f"look at '{name}' first: {seconds(took)} of the total are its own"
    return ""


def setting(bound: str) -> str:
    """The setting behind a bound of the pool."""
    return _SETTINGS.get(bound, f"bound for '{bound}'")


def _queued(got: Figures) -> str:
    parts = [f"{seconds(s)} by {setting(bound)}" for bound, s in sorted(got.queued.items(), key=lambda item: -item[1])]
    return ", ".join(parts)


def _share(got: Figures) -> str:
    return f"{min(1.0, got.floor_s / got.wall_s):.0%}" if got.wall_s > 0 else "all"


def _visible(pairs: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    return [(name, took) for name, took in pairs if took >= 0.05]


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


def _entry(label: str, text: str, width: int | None) -> Sequence[Line]:
    quoted = label in ("critical path", "took longest")
    if width is not None and width < _NARROW:
        parts = wrap(text, width, first=" " * 4, break_words=True)
        texts = [part.replace("`", "") if quoted else part for part in parts]
        return [line((f"  {label}", "dim")), *[line(part) for part in texts]]
    parts = wrap(text, width, first=f"  {label:<{_LABEL - 2}}", rest=" " * _LABEL, break_words=True)
    texts = [part.replace("`", "") if quoted else part for part in parts]
    return [line((part[:_LABEL], "dim"), part[_LABEL:]) for part in texts]
