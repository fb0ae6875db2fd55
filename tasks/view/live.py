"""A terminal's view: what runs stands below and changes, what has ended moves up as one line each."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from tasks.engine.step import Result
from tasks.view.output import as_text, masked
from tasks.view.state import render
from tasks.view.step_line import names_width, step_line, worth_a_line
from tasks.view.view import Launch, View

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live as Area

_PAUSE = 0.1
"""Seconds between two pictures, at least: faster ones only flicker."""


class Live(View):
    """Draws with rich, in the scheduler's thread only."""

    def __init__(self, launch: Launch, *, console: Console | None = None) -> None:
        super().__init__(launch)
        self._console = console
        self._area: Area | None = None
        self._at = 0.0
        self._drawn = 0.0

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live as Area

        if self._console is None:
            self._console = Console(highlight=False, markup=False, emoji=False)
        self._area = Area(
            console=self._console,
            auto_refresh=False,
            transient=True,
            vertical_overflow="crop",
            get_renderable=self._picture,
        )
        self._area.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._area is not None:
            self._area.stop()
            self._area = None

    def ended(self, result: Result) -> None:
        """A step has its result."""
        super().ended(result)
        self._at = max(self._at, result.end_s or 0.0)
        if self._console is None or not worth_a_line(result, guard=result.name in self.guards):
            return
        width = self._console.width
        names = names_width([step.name for step in self.launch.steps], width)
        shown = step_line(result, names=names, width=width, marks=self.marks)
        # printing above the area draws the area anew as well
        self._console.print(as_text(masked(shown)), soft_wrap=True)
        self._drawn = self._at

    def tick(self, at: float, waiting: int) -> None:
        """Time passes."""
        super().tick(at, waiting)
        self._at = at
        if self._area is not None and at - self._drawn >= _PAUSE:
            self._drawn = at
            self._area.refresh()

    def _picture(self) -> Group:
        from rich.console import Group

        assert self._console is not None
        width, height = self._console.size
        # the last line is left for the cursor: an area of the terminal's whole height would scroll
        lines = render(self.board.screen, self._at, width, height - 1, self.marks)
        return Group(*[as_text(masked(line)) for line in lines])
