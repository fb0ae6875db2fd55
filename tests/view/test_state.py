"""The picture of a running launch, and its rendering at any size."""

from __future__ import annotations

import re
import threading

import pytest

from tasks.core.errors import LaunchError
from tasks.core.redact import conceal
from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, Context, Report, State
from tasks.view.console import ASCII, cells
from tasks.view.launch import step_line
from tasks.view.state import Board, Screen, render
from tests.view.plans import launch, ran, step, texts


def busy() -> Screen:
    screen = Screen(total=40, expected_s=19.0, note="rehearsal: nothing real is made")
    for number, part in enumerate(launch()[:20]):
        screen = screen.started(part, number / 10, 1, 5.0 if number % 2 else None)
        screen = screen.said(part.name, "layer 3 of 7 \x1b[2J" + "x" * number * 9)
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
    screen = screen.said("cluster: create", "node 2 of 3").over(ran("a", 0, 1, state=State.SKIPPED))
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
        screen = screen.started(step(name), 0.0, 1, expected).said(name, "node 1")
    assert texts(render(screen, 1.0, 80, 10))[:3] == [
        "     1.0 s  a  of 8.0 s   node 1",
        "     1.0 s  b             node 1",
        "     1.0 s  c  of 42.0 s  node 1",
    ]


@pytest.mark.parametrize("width", range(13, 90))
def test_nothing_is_cut_twice_or_to_nothing(width: int) -> None:
    screen = Screen(total=3)
    for name in ("cluster: create", "helm: app-b in openframe-datasources ready"):
        screen = screen.started(step(name), 0.0, 1, 5.0).said(name, "0 of 12 are ready")
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


def test_what_a_step_says_after_its_end_is_not_heard() -> None:
    screen = Screen(total=1)
    assert screen.said("a", "late") is screen
    assert screen.retrying("a", 1, 1, "late") is screen


def test_a_run_of_the_scheduler_leaves_an_empty_screen_with_right_counts() -> None:
    def once(context: Context) -> Report | None:
        context.say("trying")
        if context.attempt == 1:
            raise LaunchError("busy", transient=True)
        raise LaunchError("denied")

    steps = [step("a", skip="is there"), step("b", "a"), step("c", "b", action=once), step("d", "c")]
    board = Board(Screen(total=4), {})
    Run(steps=steps, bounds=Bounds(work=2), watcher=board).execute()
    assert dict(board.screen.ended) == {State.SKIPPED: 1, State.RAN: 1, State.FAILED: 1, State.ABORTED: 1}
    assert dict(board.screen.running) == {}


def test_many_threads_may_say_at_once() -> None:
    board = Board(Screen(total=8), {})
    for name in "abcdefgh":
        board.started(step(name), 0.0, 0, 1)

    def talk(name: str) -> None:
        for number in range(200):
            board.said(name, str(number))

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {part.said for part in board.screen.running.values()} == {"199"}


def test_no_half_of_a_secret_is_left_of_a_long_reason() -> None:
    conceal("correct-horse-battery")
    shown = step_line(ran("a", 0, 1, why="x" * 290 + " correct-horse-battery"))
    assert "corr" not in shown.text
