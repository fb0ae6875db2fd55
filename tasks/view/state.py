"""What a running launch looks like: an immutable picture, replaced by each event, and its rendering.

The picture changes in the scheduler's thread and, for what a step says of its progress, in the step's:
`Board` holds it behind a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from tasks.core.redact import clean
from tasks.engine.step import JITTER, Result, State, Step, Watcher
from tasks.settings.derived import setting_of
from tasks.view.console import UNICODE, Line, Marks, cells, cut, line, listed, pad, seconds

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Running:
    """A step that acts, or pauses before its next attempt. Times are seconds of the run."""

    name: str
    since: float
    """Start of its first attempt."""
    expected: float | None = None
    attempt: int = 1
    said: str = ""
    """Its last line of progress."""
    again_at: float | None = None
    """When a failed attempt is made again."""
    guard: bool = False


@dataclass(frozen=True, kw_only=True)
class Queued:
    """A step whose needs are met and that has no place yet."""

    name: str
    since: float
    bound: str
    """What it waits for: `work`, `waits` or a kind of work."""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The picture of a run at one moment."""

    total: int
    expected_s: float | None = None
    running: Mapping[str, Running] = field(default_factory=lambda: MappingProxyType({}))
    ended: Mapping[State, int] = field(default_factory=lambda: MappingProxyType({}))
    waiting: int = 0
    """How many steps wait for a place, as the scheduler counts them."""
    queued: Mapping[str, Queued] = field(default_factory=lambda: MappingProxyType({}))
    """Those steps, by name, in the order in which they became ready."""
    failed: tuple[str, ...] = ()
    """Names of the steps that failed."""
    note: str = ""
    """Shown on every picture, such as that nothing real is created."""

    def started(self, step: Step, at: float, attempt: int, expected: float | None) -> Screen:
        """An attempt begins."""
        before = self.running.get(step.name)
        now = Running(
            name=step.name,
            since=before.since if before else at,
            expected=expected,
            attempt=attempt,
            guard=bool(step.until),
        )
        return replace(self._with(now), queued=_without(self.queued, step.name))

    def ready(self, step: Step, at: float) -> Screen:
        """A step's needs are met. One that never acts needs no place, and a guard always has one."""
        if step.skip is not None or step.until:
            return self
        entry = Queued(name=step.name, since=at, bound=step.bound)
        return replace(self, queued=MappingProxyType({**self.queued, step.name: entry}))

    def said(self, name: str, text: str) -> Screen:
        """A step reports progress; one that has ended is ignored."""
        found = self.running.get(name)
        return self if found is None else self._with(replace(found, said=text))

    def retrying(self, name: str, at: float, pause: float, why: str) -> Screen:
        """An attempt failed; the next one comes after `pause` seconds."""
        found = self.running.get(name)
        return self if found is None else self._with(replace(found, said=why, again_at=at + pause))

    def over(self, result: Result) -> Screen:
        """A step has its result."""
        ended = {**self.ended, result.state: self.ended.get(result.state, 0) + 1}
        return replace(
            self,
            running=_without(self.running, result.name),
            queued=_without(self.queued, result.name),
            ended=MappingProxyType(ended),
            failed=(*self.failed, result.name) if result.state is State.FAILED else self.failed,
        )

    def _with(self, step: Running) -> Screen:
        return replace(self, running=MappingProxyType({**self.running, step.name: step}))


def _without(found: Mapping[str, _T], name: str) -> Mapping[str, _T]:
    return MappingProxyType({key: value for key, value in found.items() if key != name})


class Board(Watcher):
    """Holds the picture and changes it with each event. Safe to use from any thread."""

    def __init__(self, screen: Screen, expected: Mapping[str, float], steps: Sequence[Step] = ()) -> None:
        self._lock = threading.Lock()
        self._expected = expected
        self._at = 0.0
        self._unmet = {step.name: set(step.needs) for step in steps}
        self._followers: dict[str, list[Step]] = {}
        for step in steps:
            for need in step.needs:
                self._followers.setdefault(need, []).append(step)
            if not step.needs:
                screen = screen.ready(step, 0.0)
        self._screen = screen

    @property
    def screen(self) -> Screen:
        """The picture now."""
        with self._lock:
            return self._screen

    def started(self, step: Step, at: float, slot: int | None, attempt: int) -> None:  # noqa: ARG002
        """An attempt begins."""
        with self._lock:
            self._at = at
            self._screen = self._screen.started(step, at, attempt, self._expected.get(step.name))

    def ended(self, result: Result) -> None:
        """A step has its result."""
        with self._lock:
            self._at = max(self._at, result.end_s or 0.0)
            self._screen = self._screen.over(result)
            if result.state in (State.RAN, State.SKIPPED):
                self._met(result.name)

    def said(self, step: str, line: str) -> None:
        """A step reports progress."""
        with self._lock:
            self._screen = self._screen.said(step, line)

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:  # noqa: ARG002
        """An attempt failed and will be made again."""
        with self._lock:
            self._screen = self._screen.retrying(step.name, self._at, pause, str(error).split("\n", 1)[0])

    def tick(self, at: float, waiting: int) -> None:
        """Time passes."""
        with self._lock:
            self._at = at
            self._screen = replace(self._screen, waiting=waiting)

    def _met(self, name: str) -> None:
        for step in self._followers.get(name, ()):
            unmet = self._unmet[step.name]
            if name in unmet:
                unmet.discard(name)
                if not unmet:
                    self._screen = self._screen.ready(step, self._at)


_INDENT = 12
"""Columns of the times; all texts begin after them."""
_LONGEST_BAR = 60
_NARROW = 60
"""Columns below which the expected seconds of a step, and the bar, would leave too little for names."""
_ROOM = 4
"""Lines for running steps that bar, queue and failures leave free."""


def render(screen: Screen, now: float, width: int, height: int, marks: Marks = UNICODE) -> list[Line]:
    """At most `height` lines of at most `width` columns: what runs, the longest first, and the whole."""
    foot = [_foot(screen, now, width)]
    if screen.note:
        foot.append(line((screen.note, "warn")).fitted(width, marks.more))
    if height <= len(foot):
        return foot[: max(0, height)]
    shown = sorted((s for s in screen.running.values() if not s.guard), key=lambda s: s.since)
    besides = [*_failed(screen, width, marks), *_queued(screen, now, width, marks), *_bar(screen, now, width, marks)]
    foot = [*besides[: max(0, height - len(foot) - min(len(shown), _ROOM))], *foot]
    return [*_all_running(shown, now, width, height - len(foot), marks), *foot]


def _all_running(steps: Sequence[Running], now: float, width: int, room: int, marks: Marks) -> list[Line]:
    """A line for each step; the last one counts those without a line of their own."""
    shown = list(steps if len(steps) <= room else steps[: max(0, room - 1)])
    names = min(max((cells(s.name) for s in shown), default=0), _names_room(width))
    expected = max((cells(_expected(s)) for s in shown), default=0) if width >= _NARROW else 0
    lines = [_running(s, now, width, names, expected, marks) for s in shown]
    if len(shown) < len(steps) and room > 0:
        text = f"and {len(steps) - len(shown)} more"
        lines.append(_text((text, "dim"), width=width, marks=marks))
    return lines


def _names_room(width: int) -> int:
    """Columns for names: on a narrow screen all there are, as what a step says would be cut to nothing there."""
    return max(1, width - _INDENT) if width < _NARROW else width * 5 // 8


def _running(step: Running, now: float, width: int, names: int, expected: int, marks: Marks) -> Line:
    spent = now - step.since
    late = step.expected is not None and spent > max(2.0, step.expected * 1.5)
    last: list[tuple[str, str]] = []
    if step.again_at is not None:
        last.append((f"{marks.again} again in {seconds(step.again_at - now)}", "warn"))
    elif step.attempt > 1:
        last.append((f"attempt {step.attempt}", "warn"))
    if step.said:
        last.append((step.said, "dim"))
    columns: list[tuple[str, str]] = [(pad(cut(step.name, names, marks.more), names), "")]
    if expected:
        columns.append((pad(_expected(step), expected), "dim"))
    head: list[str | tuple[str, str]] = [(f"{seconds(spent):>{_INDENT - 2}}", "warn" if late else "")]
    whole = line(*head, *[part for column in columns for part in ("  ", column)])
    shown = whole
    for text, style in last:
        shown = shown.followed(clean(text), style, width, marks.more)
    if shown is whole:
        shown = line(*head, *[part for column in _trimmed(columns) for part in ("  ", column)])
    return shown.fitted(width, marks.more)


def _expected(step: Running) -> str:
    return f"of {seconds(step.expected)}" if step.expected is not None and step.expected >= 1 else ""


def _trimmed(columns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without blanks at the line's end: a window that gets narrower would wrap them."""
    kept = [(text.rstrip(), style) if text.isspace() else (text, style) for text, style in columns]
    kept = [(text, style) for text, style in kept if text]
    return [*kept[:-1], (kept[-1][0].rstrip(), kept[-1][1])] if kept else []


def _queued(screen: Screen, now: float, width: int, marks: Marks) -> list[Line]:
    """A line for each bound that steps wait for. What became ready just now is about to start: it does not queue."""
    bounds: dict[str, list[str]] = {}
    for step in screen.queued.values():
        if now - step.since >= JITTER:
            bounds.setdefault(step.bound, []).append(step.name)
    return [
        _text((f"{len(names)} queued by {setting_of(bound)}", "warn"), names=names, width=width, marks=marks)
        for bound, names in sorted(bounds.items(), key=lambda item: -len(item[1]))
    ]


def _failed(screen: Screen, width: int, marks: Marks) -> list[Line]:
    if not screen.failed:
        return []
    return [_text((f"{len(screen.failed)} failed", "bad"), names=screen.failed, width=width, marks=marks)]


def _text(head: tuple[str, str], *, names: Sequence[str] = (), width: int, marks: Marks) -> Line:
    """A text under the names of steps, further left where there is little room, and as many names as fit after it."""
    indent = max(0, min(_INDENT, width - cells(head[0])))
    room = width - indent - cells(head[0]) - 2
    found = listed(names, room, marks.more) if room >= _INDENT else ""
    return line(" " * indent, head, (f": {found}" if found else "", "dim")).fitted(width, marks.more)


def _bar(screen: Screen, now: float, width: int, marks: Marks) -> list[Line]:
    """Time spent against the expected total; full once that has passed."""
    if not screen.expected_s or width < _NARROW:
        return []
    length = min(_LONGEST_BAR, width - 2 * _INDENT)
    full = min(length, int(length * now / screen.expected_s))
    style = "warn" if _over(screen.expected_s, now) else "good"
    return [line(" " * _INDENT, (marks.full * full, style), (marks.empty * (length - full), "dim"))]


def _over(expected_s: float, now: float) -> bool:
    return now > expected_s * 1.1 + 1


def _foot(screen: Screen, now: float, width: int) -> Line:
    """The run as a whole; on a narrow screen the less important counts are left out, never cut."""
    done = screen.ended.get(State.RAN, 0) + screen.ended.get(State.SKIPPED, 0)
    failed = screen.ended.get(State.FAILED, 0)
    counts = [
        (failed, "failed"),
        (sum(not step.guard for step in screen.running.values()), "running"),
        (sum(now - step.since >= JITTER for step in screen.queued.values()), "queued"),
        (screen.ended.get(State.SKIPPED, 0), "skipped"),
    ]
    text = f"{done} of {screen.total} done"
    time = f", {seconds(now)}"
    if screen.expected_s:
        more = f"{', longer than the expected' if _over(screen.expected_s, now) else ' of about'} "
        more += seconds(screen.expected_s)
        time += more if cells(text + time + more) <= width else ""
    for number, what in counts:
        wider = f"{text}, {number} {what}"
        if number and cells(wider + time) <= width:
            text = wider
    indent = " " * max(0, min(_INDENT, width - cells(text + time)))
    return line(indent, (text, "bad" if failed else "strong"), time).fitted(width)
