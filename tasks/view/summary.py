"""A run that went well, on one screen: its total, what bounded it, and what would make it shorter."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.engine.step import State
from tasks.view.ending import Ending
from tasks.view.figures import Figures, figures
from tasks.view.fit import chain, count, seconds, some, wrap
from tasks.view.line import UNICODE, Line, Marks, line

_SETTINGS = {
    "work": "CONCURRENCY_LEVEL",
    "waits": "pool.waits",
    "download": "K3D_CONCURRENT_DOWNLOADS",
    "downloads": "K3D_CONCURRENT_DOWNLOADS",
    "helm": "pool.helm",
}
"""The setting behind each bound."""
_LABEL = 16


def summary(ending: Ending, *, width: int | None = None, marks: Marks = UNICODE) -> list[Line]:
    """The lines that end a good run; for a run where everything was there already, one."""
    if all(result.state is State.SKIPPED for result in ending.results):
        what = count(len(ending.results), "step") + " skipped" if ending.results else "no steps"
        said = line((marks.ran, "good"), f" {ending.task}: nothing to do: {what} ({seconds(ending.wall_s)})")
        return [*_note(ending), said.fitted(width, marks.more)]
    got = figures(ending.steps, ending.results, ending.wall_s)
    ran, skipped = got.counts[State.RAN], got.counts[State.SKIPPED]
    steps = count(ran, "step") + " ran" + (f", {skipped} skipped" if skipped else "")
    head = line((marks.ran, "good"), (f" {ending.task} took {seconds(got.wall_s)}", "strong"), f": {steps}")
    lines = [*_note(ending), head.fitted(width, marks.more)]
    if ran < 2:
        return lines
    room = None if width is None else width - _LABEL
    lines += _entry("longest chain", f"{seconds(got.floor_s)}, {_share(got)} of the total", width)
    lines += _entry("critical path", chain(_visible(got.path), f" {marks.arrow} ", room), width)
    lines += _entry("took longest", chain(_visible(got.costliest), ", ", room), width)
    work = f"{got.side_by_side:.1f} steps on the average ({seconds(got.busy_s)} in {seconds(got.wall_s)})"
    lines += _entry("side by side", work, width)
    if sum(got.queued.values()) >= max(0.5, got.wall_s * 0.02):
        lines += _entry("queued", _queued(got), width)
    if text := hint(got):
        lines += _entry("hint", text, width)
    return lines


def hint(got: Figures) -> str:
    """The one thing that would help most, or nothing."""
    if got.path_queued and sum(got.path_queued.values()) >= max(0.5, got.wall_s * 0.1):
        bound, waited = max(got.path_queued.items(), key=lambda item: item[1])
        return f"the critical path queued {seconds(waited)} for a place; a larger {setting(bound)} may help"
    if got.again:
        return f"{some(list(got.again))} needed more than one attempt; the logs tell why"
    if got.path and got.floor_s >= got.wall_s * 0.9 and got.wall_s >= 2:
        name, took = max(got.path, key=lambda item: item[1])
        if took >= got.wall_s * 0.3:
            return f"more concurrency cannot help; the time is that of its longest chain, above all of '{name}'"
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


def _note(ending: Ending) -> list[Line]:
    return [line((ending.note, "warn"))] if ending.note else []


def _entry(label: str, text: str, width: int | None) -> Sequence[Line]:
    lines = wrap(text, width, first=f"  {label:<{_LABEL - 2}}", rest=" " * _LABEL)
    if label in ("critical path", "took longest"):
        lines = [part.replace("`", "") for part in lines]
    return [line((part[:_LABEL], "dim"), part[_LABEL:]) for part in lines]
