"""A terminal's view: a line for each step that has ended, and below them an area that shows what runs."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from tasks.engine.step import Result
from tasks.view.console import Line, as_text, cells, masked
from tasks.view.launch import Launch, View, names_width, step_line, worth_a_line
from tasks.view.state import render

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live as Area
    from rich.text import Text

_PAUSE = 0.1
"""Seconds between two pictures, at least: faster ones only flicker."""
_HOME_AND_ERASE = "\x1b[H\x1b[J"
"""To the first column of the first line, and erase from there (ECMA-48: CUP, ED). Not ED 2: some terminals keep what
that erases in their history, once for each change of the window's size."""


class Live(View):
    """Draws with rich, in the scheduler's thread only.

    A window that gets narrower than its lines wraps them, or cuts them: terminals differ, and none reports which. How
    many lines to erase is not known then, so the whole screen is redrawn: the last ends, and the area.
    """

    def __init__(self, launch: Launch, *, console: Console | None = None) -> None:
        super().__init__(launch)
        self._console = console
        self._area: Area | None = None
        self._drawn = 0.0
        self._printed: list[Result] = []
        self._widest = self._lines = 0
        self._redrawn: tuple[int, int] | None = None
        """The window's size when the whole screen was drawn last; None: never."""

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
        # printing above the area redraws the area as well
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
        """Redraw the whole screen if the window has become too small for what was drawn last.

        After that also when it grows: a terminal may show again then what has scrolled away, and those lines are
        printed a second time already.
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
        # the last line is left for the cursor: an area of the terminal's whole height would scroll
        return render(self.screen, self._at, width, height - 1, self.marks)

    def picture(self) -> Group:
        """What the area shows now."""
        from rich.console import Group

        lines = [masked(line) for line in self._rendered()]
        self._widest = max((cells(str(line)) for line in lines), default=0)
        self._lines = len(lines)
        return Group(*[as_text(line) for line in lines])


class _Now:
    """The picture at the moment when rich draws it. Given a picture, rich draws that one again with each line above it:
    a step that has just ended would still run there.
    """

    def __init__(self, view: Live) -> None:
        self._view = view

    def __rich__(self) -> Group:
        return self._view.picture()
