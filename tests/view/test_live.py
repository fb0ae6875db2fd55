"""The live view on a real pseudo terminal, as terminals of both kinds show it, also when they are resized."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import pytest
from rich.console import Console, ConsoleDimensions

from tasks.engine.step import State
from tasks.view.live import Live
from tests.view.plans import launch, ran, scene
from tests.view.terminal import Terminal

END = "✓"


@dataclass
class Window:
    """A terminal, and both ends of the line to the program in it."""

    terminal: Terminal
    ours: int
    theirs: int

    def resize(self, width: int, height: int) -> None:
        """As a user does; what was written before is shown before."""
        self.read()
        self.terminal.resize(width, height)
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def read(self) -> None:
        """Show what was written."""
        os.write(self.theirs, b"\x1b[0m")  # there is something to read at least
        text = b""
        while not text.endswith(b"\x1b[0m"):
            text += os.read(self.ours, 65536)
        os.set_blocking(self.ours, False)
        try:
            while more := os.read(self.ours, 65536):
                text += more
        except BlockingIOError:
            pass
        os.set_blocking(self.ours, True)
        self.terminal.feed(text.decode())


class OnTerminal(Console):
    """Asks its own terminal for the size; rich asks the process's, which tests have not."""

    @property  # type: ignore[misc]
    def size(self) -> ConsoleDimensions:
        return ConsoleDimensions(*os.get_terminal_size(self.file.fileno()))


@contextmanager
def window(width: int, height: int, *, rewraps: bool = False) -> Iterator[tuple[Window, Console]]:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    found = Window(Terminal(width, height, rewraps), ours, theirs)
    try:
        with os.fdopen(theirs, "w", encoding="utf-8", closefd=False) as file:
            found.resize(width, height)
            yield found, OnTerminal(file=file, highlight=False, markup=False, emoji=False, color_system="standard")
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def advance(view: Live, window: Window, at: float) -> None:
    """A picture."""
    view.tick(at, 0)
    window.read()


def areas(window: Window) -> int:
    """How many areas can be seen: each ends with the count of what is done."""
    return sum(" done" in text for text in window.terminal.shown)


@pytest.mark.parametrize("rewraps", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [
        [(80, 24)],
        [(160, 50), (80, 24)],
        [(80, 24), (40, 24), (20, 24), (120, 24)],
        [(80, 24), (80, 6), (80, 3), (80, 24)],
        [(100, 30), (60, 12), (61, 5), (30, 40)],
        [(80, 24), *[(width, 24) for width in range(79, 30, -6)]],
    ],
)
def test_one_area_and_each_end_once_after_every_change_of_size(sizes: list[tuple[int, int]], *, rewraps: bool) -> None:
    steps = launch()
    at = 0.0
    with window(*sizes[0], rewraps=rewraps) as (shown, console), Live(scene(steps), console=console) as view:
        for number, part in enumerate(steps[:12]):
            view.started(part, at + number / 100, 0, 1)
        for number, size in enumerate(sizes):
            shown.resize(*size)
            at += 1.0
            advance(view, shown, at)
            assert areas(shown) == 1, shown.terminal.shown
            view.ended(ran(steps[number].name, 0, at))
            at += 1.0
            advance(view, shown, at)
            assert areas(shown) == 1, shown.terminal.shown
            visible = shown.terminal.shown
            assert " done" in visible[-1]
            assert len(visible) <= size[1]
            assert shown.terminal.wrapped == 0
        ends = [text for text in shown.terminal.shown if text.startswith(END)]
        starts = [text[:14] for text in ends]
        assert len(set(starts)) == len(starts)


@pytest.mark.parametrize("rewraps", [False, True])
def test_what_stood_there_stays_while_the_window_only_grows(*, rewraps: bool) -> None:
    steps = launch()
    with window(60, 10, rewraps=rewraps) as (shown, console):
        os.write(shown.theirs, b"$ make up\r\n")
        with Live(scene(steps), console=console) as view:
            view.started(steps[0], 0.0, 0, 1)
            for step, (width, height) in enumerate([(60, 10), (80, 20), (160, 50)], 1):
                shown.resize(width, height)
                advance(view, shown, float(step))
                assert shown.terminal.shown[0] == "$ make up"
                assert areas(shown) == 1


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (80, 24), (160, 50)])
@pytest.mark.parametrize("last", [None, (33, 8)])
def test_when_it_is_over_the_ends_stand_there_and_no_area(size: tuple[int, int], last: tuple[int, int] | None) -> None:
    steps = launch()
    with window(*size) as (shown, console):
        with Live(scene(steps, history={steps[0].name: 9.0}), console=console) as view:
            for number, part in enumerate(steps):
                view.started(part, number / 100, 0, 1)
            advance(view, shown, 1.0)
            for number, part in enumerate(steps[:20]):
                view.ended(ran(part.name, number / 100, 2.0, state=State.SKIPPED if part.skip else State.RAN))
                shown.read()
            if last is not None:
                shown.resize(*last)
        shown.read()
        assert areas(shown) == 0
        assert all(text[0] in "✓–" for text in shown.terminal.shown)
        assert shown.terminal.column == 0


def test_a_step_that_has_ended_is_not_shown_as_running_also_before_the_next_tick() -> None:
    steps = launch()
    with window(80, 24) as (shown, console), Live(scene(steps), console=console) as view:
        for number, part in enumerate(steps[:3]):
            view.started(part, number / 100, 0, 1)
        advance(view, shown, 1.0)
        view.ended(ran(steps[0].name, 0, 1.05))
        shown.read()
        assert sum(steps[0].name in text for text in shown.terminal.shown) == 1
        assert shown.terminal.shown[-1].strip().startswith("1 of 40 done")


def test_pictures_differ_in_their_figures_only() -> None:
    steps = launch()
    pictures = []
    with window(80, 24) as (shown, console), Live(scene(steps), console=console) as view:
        for number, part in enumerate(steps[:6]):
            view.started(part, number / 100, 0, 1)
        for at in (1.0, 2.0, 3.0):
            advance(view, shown, at)
            pictures.append(shown.terminal.shown)
    assert all(len(one) == len(other) for one, other in pairwise(pictures))
    assert pictures[0] != pictures[1]


def test_no_colour_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    steps = launch()
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as file, os.fdopen(ours, "rb", buffering=0) as read:
        console = Console(file=file, width=80, height=24, highlight=False, markup=False, emoji=False)
        with Live(scene(steps), console=console) as view:
            view.ended(ran(steps[0].name, 0, 1, state=State.FAILED))
            view.tick(5.0, 0)
        print("\0", file=file, flush=True)
        written = b""
        while b"\0" not in written:
            written += read.read(65536)
    text = written.decode()
    assert "✗" in text
    assert not any(f"\x1b[{code}m" in text for code in ("31", "1;31", "32", "33"))
