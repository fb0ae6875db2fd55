"""The terminal view: a line for each finished step, and below them an area with what is running."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tasks.core.redact import clean
from tasks.engine.step import JITTER, Result, State
from tasks.settings.derived import setting_of
from tasks.view.console import UNICODE, Line, Marks, as_text, cells, cut, line, listed, masked, pad, seconds
from tasks.view.launch import Launch, Running, Screen, View, names_width, step_line, worth_a_line

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live as Area
    from rich.text import Text

_PAUSE = 0.1
"""Minimum seconds between two redraws: faster ones only flicker."""
_HOME_AND_ERASE = "\x1b[H\x1b[J"
"""To the first column of the first line, and erase from there (ECMA-48: CUP, ED). Not ED 2: some terminals save what
that erases in their scrollback, once for each change of the window's size."""


class Live(View):
    """Draws with rich, in the scheduler's thread only.

    A window that gets narrower than its lines wraps or truncates them: terminals differ, and none reports
    which. Then the number of lines to erase is unknown, so the whole screen is redrawn: the last results, and the area.
    """

    def __init__(self, launch: Launch, *, console: Console | None = None) -> None:
        super().__init__(launch)
        self._console = console
        self._area: Area | None = None
        self._drawn = 0.0
        self._printed: list[Result] = []
        self._widest = self._lines = 0
        self._redrawn: tuple[int, int] | None = None
        """The window's size at the last redraw of the whole screen; None: never."""

    def __enter__(self) -> Self:
        from rich.console import Console

        if self._console is None:
            self._console = Console(highlight=False, markup=False, emoji=False)
        self._area = self._begin(self._console)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._area is not None:
            self._fit_window()
            self._area.stop()
            self._area = None

    def ended(self, result: Result) -> None:
        """A step has its result."""
        super().ended(result)
        if self._console is None or not worth_a_line(result, guard=result.name in self.guards):
            return
        self._fit_window()
        self._printed.append(result)
        # printing above the area also redraws the area
        self._console.print(self._end(result), soft_wrap=True)
        self._drawn = self._at

    def tick(self, at: float, waiting: int) -> None:
        """Time passes."""
        super().tick(at, waiting)
        if self._area is not None and at - self._drawn >= _PAUSE:
            self._drawn = at
            self._fit_window()
            self._area.refresh()

    def _begin(self, console: Console) -> Area:
        from rich.live import Live as Area

        area = Area(_Now(self), console=console, auto_refresh=False, transient=True, vertical_overflow="crop")
        area.start(refresh=True)
        return area

    def _fit_window(self) -> None:
        """Redraw the whole screen if the window has become too small for its last content.

        After that also when it grows: a terminal may then show again what has scrolled away, which has
        already been printed a second time.
        """
        assert self._console is not None
        width, height = self._console.size
        fits = self._widest <= width and self._lines <= height
        if self._area is None or (fits and self._redrawn in (None, (width, height))):
            return
        self._redrawn = (width, height)
        self._area.stop()
        self._console.file.write(_HOME_AND_ERASE)
        room = height - 1 - len(self._rendered())
        for result in self._printed[-room:] if room > 0 else ():
            self._console.print(self._end(result), soft_wrap=True)
        self._area = self._begin(self._console)

    def _end(self, result: Result) -> Text:
        assert self._console is not None
        width = self._console.width
        names = names_width([step.name for step in self.launch.steps], width)
        return as_text(masked(step_line(result, names=names, width=width, marks=self.marks)))

    def _rendered(self) -> list[Line]:
        assert self._console is not None
        width, height = self._console.size
        # the last line is reserved for the cursor: an area of the terminal's whole height would scroll
        return render(self.screen, self._at, width, height - 1, self.marks)

    def picture(self) -> Group:
        """The current content of the area."""
        from rich.console import Group

        lines = [masked(each) for each in self._rendered()]
        self._widest = max((cells(str(each)) for each in lines), default=0)
        self._lines = len(lines)
        return Group(*[as_text(each) for each in lines])


class _Now:
    """The screen at the moment when rich draws it. A fixed one would be drawn again with each line above it, and show a
    step that has just ended as running.
    """

    def __init__(self, view: Live) -> None:
        self._view = view

    def __rich__(self) -> Group:
        return self._view.picture()


_INDENT = 12
"""Columns of the times; all texts start after them."""
_LONGEST_BAR = 60
_NARROW = 60
"""Columns below which the expected seconds of a step, and the bar, would leave too little for names."""
_ROOM = 4
"""Lines for running steps beside bar, queue and failures."""


def render(screen: Screen, now: float, width: int, height: int, marks: Marks = UNICODE) -> list[Line]:
    """At most `height` lines of at most `width` columns: running steps, the longest first, and the total."""
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
    """Columns for names: on a narrow screen all of them, since progress texts would be truncated to nothing there."""
    return max(1, width - _INDENT) if width < _NARROW else width * 5 // 8


def _running(step: Running, now: float, width: int, names: int, expected: int, marks: Marks) -> Line:
    spent = now - step.since
    late = step.expected is not None and spent > max(2.0, step.expected * 1.5)
    last: list[tuple[str, str]] = []
    if step.again_at is not None:
        last.append((f"{marks.again} again in {seconds(step.again_at - now)}", "warn"))
    elif step.attempt > 1:
        last.append((f"attempt {step.attempt}", "warn"))
    if step.message:
        last.append((step.message, "dim"))
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
    """Without trailing blanks: a window that gets narrower would wrap them."""
    parts = [(text.rstrip(), style) if text.isspace() else (text, style) for text, style in columns]
    parts = [(text, style) for text, style in parts if text]
    return [*parts[:-1], (parts[-1][0].rstrip(), parts[-1][1])] if parts else []


def _queued(screen: Screen, now: float, width: int, marks: Marks) -> list[Line]:
    """A line for each bound that steps queue for. A step that has just become ready is about to start: not queued."""
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
    """A text below the names of steps, further left on a narrow screen, and as many names as fit after it."""
    indent = max(0, min(_INDENT, width - cells(head[0])))
    room = width - indent - cells(head[0]) - 2
    found = listed(names, room, marks.more) if room >= _INDENT else ""
    return line(" " * indent, head, (f": {found}" if found else "", "dim")).fitted(width, marks.more)


def _bar(screen: Screen, now: float, width: int, marks: Marks) -> list[Line]:
    """Elapsed time compared with the expected total; full once that has passed."""
    if not screen.expected_s or width < _NARROW:
        return []
    length = min(_LONGEST_BAR, width - 2 * _INDENT)
    full = min(length, int(length * now / screen.expected_s))
    style = "warn" if _over(screen.expected_s, now) else "good"
    return [line(" " * _INDENT, (marks.full * full, style), (marks.empty * (length - full), "dim"))]


def _over(expected_s: float, now: float) -> bool:
    return now > expected_s * 1.1 + 1


def _foot(screen: Screen, now: float, width: int) -> Line:
    """The run as a whole; on a narrow screen the less important counts are omitted, never truncated."""
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
