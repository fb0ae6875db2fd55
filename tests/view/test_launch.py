"""The views on runs of the scheduler, and which one a run gets."""

import io
import re
import threading
from collections import Counter
from pathlib import Path

import pytest

from tasks.core.errors import LaunchError
from tasks.core.redact import conceal
from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, Context, Report, Retry, State
from tasks.run.finish import choose
from tasks.view import launch as views
from tasks.view.github import GitHub, annotation, escape_property, job_summary
from tasks.view.launch import Board, Plain, Screen, Silent, View, step_line, still
from tasks.view.live import Live
from tests.view.plans import NOT_OURS, ending, failed_command, failing, launch, play, ran, scene, step, texts
from tests.view.terminal import screen


@pytest.mark.parametrize(
    ("environ", "tty", "silent", "kind"),
    [
        ({}, True, False, Live),
        ({"TERM": "xterm"}, True, False, Live),
        ({"TERM": "dumb"}, True, False, Plain),
        ({"CI": "true"}, True, False, Plain),
        ({}, False, False, Plain),
        ({"GITHUB_ACTIONS": "true", "CI": "true"}, False, False, GitHub),
        ({"GITHUB_ACTIONS": "true"}, True, True, Silent),
        ({}, True, True, Silent),
    ],
)
def test_which_view_a_run_gets(environ: dict[str, str], tty: bool, silent: bool, kind: type[View]) -> None:
    assert type(choose(scene(launch()), environ, stdout_isatty=tty, silent=silent)) is kind


def test_plain_tells_each_end_once(capsys: pytest.CaptureFixture[str]) -> None:
    steps = launch()
    with Plain(scene(steps, note="rehearsal: nothing real is made")) as view:
        results = play(steps, view)
    view.conclude(ending(steps, results))
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["rehearsal: nothing real is made", "up: 40 steps, 4 at once"]
    ends = shown[2 : shown.index("")]
    assert len(ends) == 39  # the guard's good end is no news
    assert sum(text.startswith("–  skipped  secrets: ") for text in ends) == 10
    assert all(re.match(r"✓ +\d\.\d s  \S", text) for text in ends if not text.startswith("–"))
    assert shown[shown.index("") + 1].startswith("✓ up took 18.8 s: 30 steps ran, 10 skipped")


def test_plain_tells_of_attempts_and_of_no_step_that_never_began(capsys: pytest.CaptureFixture[str]) -> None:
    def again(context: Context) -> Report | None:
        raise LaunchError(f"busy {context.attempt}\nmore", transient=True)

    steps = [step("pull", action=again, retry=Retry(attempts=2, first=0.01)), step("after", "pull")]
    with Plain(scene(steps)) as view:
        play(steps, view)
    shown = capsys.readouterr().out
    assert "↻           pull   attempt 1 of 2 failed, again in 0.0 s: busy 1\n" in shown
    assert re.search(r"✗ +0\.0 s  pull   busy 2\n", shown)
    assert "  after" not in shown


def test_plain_says_what_still_runs_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    view = Plain(scene([step("create"), step("new"), step("g", until=("create",))]))
    for name, at in (("create", 1.0), ("new", 9.0)):
        view.started(step(name), at, 0, 1)
    view.started(step("g", until=("create",)), 0.0, None, 1)
    for at in (5.0, 12.0, 13.0, 19.9, 20.5):
        view.tick(at, 3)
    assert capsys.readouterr().out.splitlines() == [
        "    12.0 s  still running: create (11.0 s); 3 waiting for a place",
        "    20.5 s  still running: create (19.5 s), new (11.5 s); 3 waiting for a place",
    ]
    assert still(Screen(total=1), 99.0) == []
    assert views._LONG == 10


def test_silent_says_nothing_but_errors(capsys: pytest.CaptureFixture[str]) -> None:
    good = launch()
    with Silent(scene(good)) as view:
        results = play(good, view)
    view.conclude(ending(good, results))
    assert capsys.readouterr() == ("", "")
    bad = launch(failing({"cluster: api": NOT_OURS}))
    with Silent(scene(bad)) as view:
        results = play(bad, view)
    view.conclude(ending(bad, results))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "✗ cluster: api failed" in shown.err


@pytest.mark.parametrize("size", [(80, 24), (40, 6), (20, 3)])
def test_live_leaves_one_line_for_each_step_and_no_area(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", str(size[0]))
    steps = launch(failing({"helm: cert-manager": LaunchError("[red]no[/red] :smile:")}))
    file = io.StringIO()
    console = Console(
        file=file, width=size[0], height=size[1], force_terminal=True, highlight=False, markup=False, emoji=False
    )
    with Live(scene(steps), console=console) as view:
        play(steps, view, keep_going=True)
        view.tick(99.0, 0)
    shown = screen(file.getvalue())
    assert max(len(text) for text in shown) <= size[0]
    marks = Counter(text[0] for text in shown)
    assert marks == {"✓": 24, "–": 10, "✗": 1}
    assert all(re.match(r"[✓✗] +\d\.\d s  \S|–  skipped  \S", text) for text in shown)
    assert file.getvalue().count("\x1b[?25l") == file.getvalue().count("\x1b[?25h") == 1


def test_github_annotates_each_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = launch(failing({"helm: cert-manager": NOT_OURS}))
    with GitHub(scene(steps), summary_file=tmp_path / "summary.md") as view:
        results = play(steps, view, keep_going=True)
    view.conclude(ending(steps, results, logs=tmp_path))
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    found = [text for text in lines if text.startswith("::error title=up%3A helm%3A cert-manager failed::")]
    assert len(found) == 1
    assert "✗ helm: cert-manager failed" in shown.err
    assert "### ✗ up: failed in 18.8 s" in (tmp_path / "summary.md").read_text()


def test_a_job_summary_that_cannot_be_written_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = GitHub(scene([step("a")]), summary_file=tmp_path / "none" / "summary.md")
    view.conclude(ending([step("a")], [ran("a", 0, 1)]))
    assert "up took" in capsys.readouterr().out


def test_commands_of_the_runner_are_escaped() -> None:
    bad = failed_command("helm", "x", err="100% of\r\n::it")
    result = ran("a,b: c", 0, 1, error=LaunchError("100% of\nit", why="w", fix="f"))
    expected = "::error title=up%3A a%2Cb%3A c failed::100%25 of%0Ait%0Awhy: w%0Afix: f"
    assert annotation(result, "up") == expected
    assert "\n" not in annotation(ran("x", 0, 1, error=bad), "up")
    assert escape_property("a:b,c%\n") == "a%3Ab%2Cc%25%0A"


def test_the_job_summary_holds_text_and_no_markup() -> None:
    odd = "a|b <script>`x` *y*"
    lines = job_summary(ending([step(odd)], [ran(odd, 0, 2)], wall_s=2.0, note="nothing real"))
    assert lines[0] == "### ✓ up: done in 2.0 s"
    row = "| a\\|b &lt;script&gt;\\`x\\` \\*y\\* | ran | 0.0 s | 2.0 s |  |"
    assert row in lines
    assert "| Longest chain of needs | 2.0 s |" in lines
    assert "nothing real" in lines


def test_an_expected_total_is_only_told_where_earlier_runs_tell(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [step("a"), step("b", "a")]
    with Plain(scene(steps, history={"a": 2.0, "b": 3.0}, bounds=Bounds(work=2))):
        pass
    with Plain(scene(steps)):
        pass
    assert capsys.readouterr().out.splitlines() == [
        "up: 2 steps, 2 at once, about 5.0 s expected",
        "up: 2 steps, 4 at once",
    ]
    assert texts([]) == []


def test_what_a_step_says_after_its_end_is_not_heard() -> None:
    screen = Screen(total=1)
    assert screen.progress("a", "late") is screen
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
            board.progress(name, str(number))

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {part.message for part in board.screen.running.values()} == {"199"}


def test_no_half_of_a_secret_is_left_of_a_long_reason() -> None:
    conceal("correct-horse-battery")
    shown = step_line(ran("a", 0, 1, why="x" * 290 + " correct-horse-battery"))
    assert "corr" not in shown.text
