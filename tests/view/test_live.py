"""What runs is rendered at any size; the live view on a real pseudo terminal, as terminals of both kinds show it, also
when they are resized.
"""

import fcntl
import os
import pty
import re
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
from tasks.view.console import ASCII, cells
from tasks.view.launch import Board, Screen, step_line
from tasks.view.live import Live, render
from tests.view.plans import launch, ran, scene, step, texts
from tests.view.terminal import Terminal


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
    """Reads the size of its own terminal; rich reads that of the process, which tests do not have."""

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
        ends = [text for text in shown.terminal.shown if text.startswith("✓")]
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


def busy() -> Screen:
    screen = Screen(total=40, expected_s=19.0, note="rehearsal: nothing real is made")
    for number, part in enumerate(launch()[:20]):
        screen = screen.started(part, number / 10, 1, 5.0 if number % 2 else None)
        screen = screen.progress(part.name, "layer 3 of 7 \x1b[2J" + "x" * number * 9)
    return screen.over(ran("cluster: api", 0, 1))


@pytest.mark.parametrize("width", [1, 20, 40, 80, 160])
@pytest.mark.parametrize("height", [0, 1, 2, 3, 5, 24, 60])
def test_no_line_is_longer_than_the_screen_and_no_more_lines_than_fit(width: int, height: int) -> None:
    lines = texts(render(busy(), 12.3, width, height))
    assert len(lines) <= height
    assert max((cells(text) for text in lines), default=0) <= width


def test_what_runs_is_told_with_its_time_and_what_it_said() -> None:
    screen = (
        Screen(total=3, expected_s=9.5).started(step("cluster: create"), 1.0, 1, 8.0).started(step("b"), 2.0, 1, None)
    )
    screen = screen.progress("cluster: create", "node 2 of 3").over(ran("a", 0, 1, state=State.SKIPPED))
    assert texts(render(screen, 4.0, 80, 10)) == [
        "     3.0 s  cluster: create  of 8.0 s  node 2 of 3",
        "     2.0 s  b",
        "            " + "█" * 23 + "░" * 33,
        "            1 of 3 done, 2 running, 1 skipped, 4.0 s of about 9.5 s",
    ]


def test_the_longest_running_are_shown_and_the_others_counted() -> None:
    lines = texts(render(busy(), 12.3, 80, 6))
    assert "prepull: rancher" in lines[0]
    assert lines[3].strip() == "and 15 more"
    assert lines[-1] == "rehearsal: nothing real is made"


def test_what_queues_is_told_by_its_bound_but_not_what_is_about_to_start() -> None:
    steps = [step("a"), *[step(n, "a") for n in "bcd"], step("p", "a", kind="download"), step("s", "a", skip="there")]
    steps += [step("w", "a", wait=True), step("g", until=("b",)), step("x", "b", "c")]
    board = Board(Screen(total=9), {}, steps)
    board.started(steps[0], 0.0, 0, 1)
    board.ended(ran("a", 0, 2.0))
    assert texts(render(board.screen, 2.0, 80, 10)) == ["            1 of 9 done, 2.0 s"]
    board.started(steps[1], 2.0, 0, 1)
    assert texts(render(board.screen, 3.0, 80, 10)) == [
        "     1.0 s  b",
        "            2 queued by CONCURRENCY_LEVEL: c, d",
        "            1 queued by K3D_CONCURRENT_DOWNLOADS: p",
        "            1 queued by pool.waits: w",
        "            1 of 9 done, 1 running, 4 queued, 3.0 s",
    ]


def test_what_failed_stays_in_sight() -> None:
    screen = Screen(total=3)
    for name in ("helm: a", "helm: b"):
        screen = screen.over(ran(name, 0, 1, state=State.FAILED))
    assert texts(render(screen, 2.0, 80, 10)) == [
        "            2 failed: helm: a, helm: b",
        "            0 of 3 done, 2 failed, 2.0 s",
    ]
    assert texts(render(screen, 2.0, 34, 10))[0] == "            2 failed"


@pytest.mark.parametrize(("now", "full"), [(0.0, 0), (4.75, 14), (9.5, 28), (19.0, 56), (60.0, 56)])
def test_the_bar_is_the_time_against_the_expected_total(now: float, full: int) -> None:
    bar = texts(render(Screen(total=3, expected_s=19.0), now, 80, 10))[0]
    assert bar == " " * 12 + "█" * full + "░" * (56 - full)


def test_few_lines_are_kept_for_what_runs() -> None:
    screen = busy()
    lines = texts(render(screen, 12.3, 80, 6))
    assert not any("█" in text for text in lines)
    assert any("█" in text for text in texts(render(screen, 12.3, 80, 8)))


def test_expected_seconds_stand_in_a_column() -> None:
    screen = Screen(total=3)
    for name, expected in (("a", 8.0), ("b", None), ("c", 42.0)):
        screen = screen.started(step(name), 0.0, 1, expected).progress(name, "node 1")
    assert texts(render(screen, 1.0, 80, 10))[:3] == [
        "     1.0 s  a  of 8.0 s   node 1",
        "     1.0 s  b             node 1",
        "     1.0 s  c  of 42.0 s  node 1",
    ]


@pytest.mark.parametrize("width", range(13, 90))
def test_nothing_is_cut_twice_or_to_nothing(width: int) -> None:
    screen = Screen(total=3)
    for name in ("cluster: create", "helm: app-b in openframe-datasources ready"):
        screen = screen.started(step(name), 0.0, 1, 5.0).progress(name, "0 of 12 are ready")
    lines = texts(render(screen, 1.0, width, 10))
    ended = [step_line(ran(n, 0, 1, why="one server"), names=12, width=width).text for n in screen.running]
    for text in [*lines, *ended]:
        assert cells(text) <= width
        assert "……" not in text
        assert text.count("…") <= 2
        assert all(len(part) >= 8 for part in re.findall(r"  ([^ ]*(?: [^ ]+)*…)$", text) if width >= 30), text


def test_guards_are_not_shown() -> None:
    screen = Screen(total=2).started(step("g", until=("a",)), 0, 1, None)
    assert texts(render(screen, 1.0, 80, 10)) == ["            0 of 2 done, 1.0 s"]


@pytest.mark.parametrize(
    ("width", "foot"), [(44, "9 of 40 done, 12.3 s of about 19.0 s"), (22, "9 of 40 done, 12.3 s")]
)
def test_a_narrow_screen_keeps_the_time_and_drops_counts(width: int, foot: str) -> None:
    screen = Screen(total=40, expected_s=19.0, waiting=3)
    for number in range(9):
        screen = screen.over(ran(str(number), 0, 1, state=State.SKIPPED if number else State.RAN))
    assert texts(render(screen, 12.3, width, 5))[0].strip() == foot


def test_a_run_that_lasts_longer_than_expected_says_so() -> None:
    screen = Screen(total=1, expected_s=5.0)
    assert "12.0 s, longer than the expected 5.0 s" in texts(render(screen, 12.0, 80, 5))[-1]


def test_a_pause_and_a_later_attempt_are_told_and_time_counts_from_the_first() -> None:
    part = step("pull")
    screen = Screen(total=1).started(part, 1.0, 1, None).retrying("pull", 3.0, 2.0, "rate limit")
    assert texts(render(screen, 4.0, 80, 5, ASCII))[0] == "     3.0 s  pull  ~ again in 1.0 s  rate limit"
    screen = screen.started(part, 5.0, 2, None)
    assert texts(render(screen, 6.0, 80, 5))[0] == "     5.0 s  pull  attempt 2"
