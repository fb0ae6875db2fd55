"""What a running launch looks like: an immutable picture, made anew by each event, and its rendering.

The picture changes in the scheduler's thread and, for what a step says of its progress, in the step's:
`Board` holds it behind a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tasks.engine.scheduler import Watcher
from tasks.engine.step import Result, State, Step
from tasks.view.fit import cells, cut, pad, seconds
from tasks.view.line import UNICODE, Line, Marks, line


@dataclass(frozen=True, kw_only=True)
class Running:
    """A step that acts, or pauses before its next attempt. Times are seconds of the run."""

    name: str
    since: float
    """Start of its first attempt."""
    expected: float | None = None
    attempt: int = 1
    said: str = ""
    """The last line that it told of its progress."""
    again_at: float | None = None
    """When a failed attempt is made again."""
    guard: bool = False


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The picture of a run at one moment."""

    total: int
    expected_s: float | None = None
    running: Mapping[str, Running] = field(default_factory=lambda: MappingProxyType({}))
    ended: Mapping[State, int] = field(default_factory=lambda: MappingProxyType({}))
    waiting: int = 0
    """Steps whose needs are met and that wait for a place."""
    note: str = ""
    """Stands on every picture, such as that nothing real is made."""

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
        return self._with(now)

    def said(self, name: str, text: str) -> Screen:
        """A step tells of its progress; one that has ended is not heard."""
        found = self.running.get(name)
        return self if found is None else self._with(replace(found, said=text))

    def retrying(self, name: str, at: float, pause: float, why: str) -> Screen:
        """An attempt failed; the next one comes after `pause` seconds."""
        found = self.running.get(name)
        return self if found is None else self._with(replace(found, said=why, again_at=at + pause))

    def over(self, result: Result) -> Screen:
        """A step has its result."""
        left = {name: step for name, step in self.running.items() if name != result.name}
        ended = {**self.ended, result.state: self.ended.get(result.state, 0) + 1}
        return replace(self, running=MappingProxyType(left), ended=MappingProxyType(ended))

    def _with(self, step: Running) -> Screen:
        return replace(self, running=MappingProxyType({**self.running, step.name: step}))


class Board(Watcher):
    """Holds the picture and changes it with each event. Safe to use from any thread."""

    def __init__(self, screen: Screen, expected: Mapping[str, float]) -> None:
        self._lock = threading.Lock()
        self._screen = screen
        self._expected = expected
        self._at = 0.0

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
            self._screen = self._screen.over(result)

    def said(self, step: str, line: str) -> None:
        """A step tells of its progress."""
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


def render(screen: Screen, now: float, width: int, height: int, marks: Marks = UNICODE) -> list[Line]:
    """At most `height` lines of at most `width` columns: what runs, the longest first, and the whole."""
    foot = [_foot(screen, now, width)]
    if screen.note:
        foot.append(line((screen.note, "warn")).fitted(width, marks.more))
    shown = sorted((s for s in screen.running.values() if not s.guard), key=lambda s: s.since)
    room = height - len(foot)
    if room <= 0:
        return foot[: max(0, height)]
    lines = []
    if len(shown) > room:
        hidden = len(shown) - room + 1
        shown = shown[: room - 1]
        lines.append(line(" " * 12, (f"and {hidden} more", "dim")).fitted(width, marks.more))
    names = min(max((cells(s.name) for s in shown), default=0), max(12, width // 2))
    return [_running(s, now, width, names, marks) for s in shown] + lines + foot


def _running(step: Running, now: float, width: int, names: int, marks: Marks) -> Line:
    spent = now - step.since
    late = step.expected is not None and spent > max(2.0, step.expected * 1.5)
    parts: list[str | tuple[str, str]] = [
        (f"{seconds(spent):>10}", "warn" if late else ""),
        "  ",
        pad(cut(step.name, names, marks.more), names),
    ]
    if step.expected is not None and step.expected >= 1 and width >= 60:
        parts.append((f"  of {seconds(step.expected)}", "dim"))
    if step.again_at is not None:
        parts.append((f"  {marks.again} again in {seconds(step.again_at - now)}", "warn"))
    elif step.attempt > 1:
        parts.append((f"  attempt {step.attempt}", "warn"))
    if step.said:
        parts.append((f"  {step.said}", "dim"))
    return line(*parts).fitted(width, marks.more)


def _foot(screen: Screen, now: float, width: int) -> Line:
    """The run as a whole; on a narrow screen the less important counts are left out, never cut."""
    done = screen.ended.get(State.RAN, 0) + screen.ended.get(State.SKIPPED, 0)
    failed = screen.ended.get(State.FAILED, 0)
    counts = [
        (failed, "failed"),
        (sum(not step.guard for step in screen.running.values()), "running"),
        (screen.waiting, "waiting for a place"),
        (screen.ended.get(State.SKIPPED, 0), "skipped"),
    ]
    text = f"{done} of {screen.total} done"
    time = f", {seconds(now)}"
    if screen.expected_s:
        over = now > screen.expected_s * 1.1 + 1
        more = f"{', longer than the expected' if over else ' of about'} {seconds(screen.expected_s)}"
        time += more if cells(text + time + more) <= width else ""
    for number, what in counts:
        wider = f"{text}, {number} {what}"
        if number and cells(wider + time) <= width:
            text = wider
    indent = " " * max(0, min(12, width - cells(text + time)))
    return line(indent, (text, "bad" if failed else "strong"), time).fitted(width)
