"""Real processes: how they end, who ends them, and that nothing of them is left."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tasks.engine.step import Stopped
from tasks.process import runner
from tasks.process.children import CHILDREN
from tasks.process.command import Command, CommandFailed, DeadlinePassed
from tasks.process.runner import CannotStart
from tests.given import ROOT
from tests.programs import context, lives, pid_in, programs, script, soon, until

STUBBORN = 'trap "" TERM; echo $$ > "$1"; while :; do sleep 0.05; done'
"""Goes on whatever TERM says."""


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PATIENCE", 0.4)


@pytest.fixture(autouse=True)
def nobody_left() -> None:
    assert CHILDREN.alive() == frozenset()


@pytest.mark.parametrize("code", [0, 1, 7, 126, 127, 255])
def test_the_exit_code_is_the_programs(code: int) -> None:
    command = Command(argv=("sh", "-c", f"exit {code}"), ok=(code,))
    assert programs().run(command).code == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_the_code_of_a_signal_is_negative_and_named(number: signal.Signals) -> None:
    with pytest.raises(CommandFailed, match=f"sh was ended by {number.name}: it wrote nothing") as caught:
        programs().run(script(f"kill -{number.value} $$"))
    assert caught.value.exit_code == -number


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "text",
    ['echo $$ > "$1"; echo first; sleep 30', f"sh -c '{STUBBORN}' sh \"$1\" & sleep 0.2; echo first; wait"],
    ids=["the program", "grandchildren too"],
)
def test_an_error_of_a_listener_ends_the_program(tmp_path: Path, text: str) -> None:
    def listen(line: str) -> None:
        raise ZeroDivisionError(line)

    began = time.monotonic()
    with pytest.raises(ZeroDivisionError, match="first"):
        programs().run(script(text, str(tmp_path / "pid")), listen=listen)
    until(lambda: not lives(pid_in(tmp_path / "pid")), 2)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("deadline", [30 * 86400.0, 1e12])
def test_a_deadline_may_be_far_away(deadline: float) -> None:
    assert programs().run(script("sleep 0.1", deadline=deadline)).code == 0


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("sleep 30", -signal.SIGTERM),
        ("trap 'exit 0' TERM; while :; do sleep 0.02; done", 0),  # late all the same
        ("trap '' TERM; while :; do sleep 0.05; done", -signal.SIGKILL),
        ("exec >&- 2>&-; sleep 30", -signal.SIGTERM),
    ],
)
def test_the_deadline_ends_a_program(tmp_path: Path, text: str, code: int) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlinePassed, match=r"sh did not end within 0\.3 s") as caught:
        programs().run(script(f'echo $$ > "$1"; echo so far; {text}', str(tmp_path / "pid"), deadline=0.3))
    assert (0.7 if code == -signal.SIGKILL else 0.3) <= time.monotonic() - began < 3
    assert (caught.value.done.out, caught.value.done.code) == ("so far\n", code)
    assert "timeouts" in caught.value.fix
    assert not lives(pid_in(tmp_path / "pid"))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("output", ["", ">/dev/null 2>&1"])
@pytest.mark.parametrize("leader", ["wait", "trap '' TERM; wait; wait"])
def test_the_whole_group_ends_at_the_deadline(tmp_path: Path, output: str, leader: str) -> None:
    """A grandchild may ignore TERM, and may hold the output or not: none outlives its leader's deadline."""
    text = f"sh -c '{STUBBORN}' sh \"$1\" {output} & {leader}"
    began = time.monotonic()
    with pytest.raises(DeadlinePassed):
        programs().run(script(text, str(tmp_path / "pid"), deadline=0.4))
    assert time.monotonic() - began < 4
    until(lambda: not lives(pid_in(tmp_path / "pid")), 2)


def test_a_grandchild_has_time_to_end_well_though_its_leader_is_gone(tmp_path: Path) -> None:
    text = (
        'sh -c \'trap "sleep 0.3; touch $1/clean; exit" TERM; touch $1/set; while :; do sleep 0.02; done\' sh "$1" &'
        ' while [ ! -e "$1/set" ]; do sleep 0.01; done; echo ready; wait'
    )
    run = context()
    with pytest.raises(Stopped):
        programs().run(script(text, str(tmp_path)), run, listen=lambda _line: run.cancelled.set())
    assert (tmp_path / "clean").exists()


@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt])
def test_a_cancelled_step_ends_its_program_and_so_does_ctrl_c(tmp_path: Path, error: type[BaseException]) -> None:
    run = context("pull")
    began = time.monotonic()
    soon(run.cancelled.set if error is Stopped else lambda: os.kill(os.getpid(), signal.SIGINT), 0.3)
    with pytest.raises(error, match="pull" if error is Stopped else None):
        programs().run(script('echo $$ > "$1/pid"; sleep 30', str(tmp_path)), run)
    assert time.monotonic() - began < 2.5
    assert not lives(pid_in(tmp_path / "pid"))


def test_a_step_that_was_cancelled_before_starts_nothing(tmp_path: Path) -> None:
    run = context()
    run.cancelled.set()
    with pytest.raises(Stopped):
        programs().run(script('touch "$1/ran"', str(tmp_path)), run)
    assert not (tmp_path / "ran").exists()


def test_a_program_that_may_be_ended_has_ended_well() -> None:
    run = context()
    soon(run.cancelled.set)
    command = Command(argv=("sleep", "30"), ok=(0, -15))
    assert programs().run(command, run).code == -15


def test_a_program_that_closes_its_output_is_waited_for() -> None:
    done = programs().run(Command(argv=("sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 3"), ok=(3,)))
    assert done.seconds >= 0.3


@pytest.mark.parametrize(
    ("content", "mode", "why", "fix"),
    [
        (b"\x7fELF-no-program", 0o755, "for another processor", "put its interpreter first"),
        (b"echo no first line\n", 0o755, "without a first line such as #!/bin/sh", "add that line"),
        (b"#!/no/where\n", 0o755, "its first line names '/no/where', which does not exist", "correct the line"),
        (b"#!/bin/sh\r\necho\r\n", 0o755, "it has Windows line endings", "sed -i 's/\\r$//' "),
        (b"#!/bin/sh\n", 0o644, "may not be executed", "chmod +x"),
    ],
)
def test_a_program_that_the_system_cannot_run(tmp_path: Path, content: bytes, mode: int, why: str, fix: str) -> None:
    path = tmp_path / "tool"
    path.write_bytes(content)
    path.chmod(mode)
    before = psutil.Process().num_fds()
    for _ in range(3):
        with pytest.raises(CannotStart, match="cannot be started") as caught:
            programs().run(Command(argv=(str(path),)))
        assert why in caught.value.why
        assert not caught.value.transient
        assert fix in caught.value.fix
    assert (programs().where(str(path)) is None) is (mode == 0o644)
    assert psutil.Process().num_fds() == before
    assert zombies() == []


@pytest.mark.parametrize("argument", ["a\0b", "\udcff", "x" * 4_000_000])
def test_an_argument_that_the_system_does_not_take(argument: str) -> None:
    with pytest.raises(CannotStart):
        programs().run(Command(argv=("true", argument)))
    assert zombies() == []


def test_no_place_for_pipes_is_a_failure_that_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    before = psutil.Process().num_fds()
    monkeypatch.setattr(os, "pipe", none_left)
    with pytest.raises(CannotStart, match="cannot be started") as caught:
        programs().run(Command(argv=("true",)))
    assert caught.value.transient
    assert "Too many open files" in caught.value.why
    assert psutil.Process().num_fds() == before


def test_stopping_all_ends_programs_of_no_step(tmp_path: Path) -> None:
    ends: list[str] = []

    def run() -> None:
        try:
            programs().run(script(f"sh -c '{STUBBORN}' sh \"$1\" & wait", str(tmp_path / "pid")))
        except CommandFailed as error:
            ends.append(error.what)

    thread = threading.Thread(target=run)
    thread.start()
    pid = pid_in(tmp_path / "pid")
    until(CHILDREN.alive, 2)  # a program may write before who has started it knows its number
    began = time.monotonic()
    assert not CHILDREN.stop(0.4)
    thread.join(5)
    assert time.monotonic() - began < 2
    assert ends
    assert "SIGTERM" in ends[0]
    until(lambda: not lives(pid), 2)


def test_a_run_that_is_over_is_not_called_back() -> None:
    run = context()
    programs().run(Command(argv=("true",)), run)
    assert run.cancelled._callbacks == []
    run.cancelled.set()


def test_nothing_lives_that_is_started_after_the_end() -> None:
    CHILDREN.close(0)
    try:
        with pytest.raises(CommandFailed, match="SIGKILL"):
            programs().run(Command(argv=("sleep", "30")))
    finally:
        CHILDREN.open()
    assert programs().run(Command(argv=("true",))).code == 0


def test_nothing_is_left_of_many_programs() -> None:
    programs().run(Command(argv=("true",)))
    own = psutil.Process()
    before = own.num_fds(), threading.active_count()
    for count in range(60):
        programs().run(Command(argv=("sh", "-c", f"exit {count % 2}"), ok=(0, 1), stdin="x" if count % 3 else None))
    until(lambda: threading.active_count() <= before[1], 5)
    assert own.num_fds() == before[0]
    assert zombies() == []


MANY = """
import sys, threading
from tasks.process.command import Command
from tasks.process.programs import Programs
start, bad = threading.Barrier(16), []
programs = Programs(env={"PATH": sys.argv[1]})
def work(number):
    start.wait()
    for turn in range(8):
        text = f"{number} {turn}"
        if programs.run(Command(argv=("cat",), stdin=text)).out != text:
            bad.append(text)
threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
[t.start() for t in threads]
[t.join() for t in threads]
sys.exit(len(bad))
"""

DEAF = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from tasks.core.errors import LaunchError
from tasks.process.command import Command
from tasks.process.programs import Programs
try:
    Programs(env={"PATH": sys.argv[1]}).run(Command(argv=("true",)))
except LaunchError as error:
    print(error)
"""


def python(code: str, warnings: str = "error") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", warnings, "-c", code, os.environ["PATH"]]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("warnings", ["error", "always"])
def test_many_threads_start_programs_at_once_and_nothing_warns(warnings: str) -> None:
    """The first of them import sh at the same moment, too.

    Python swallows its warning of forks beside threads where warnings are errors: so it is asked to show them, too.
    """
    done = python(MANY, warnings)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_parent_that_ignores_the_end_of_children_is_told_of() -> None:
    done = python(DEAF)
    assert "how true ended is unknown" in done.stdout
    assert "SIGCHLD" in done.stdout
    assert done.stderr == ""


def zombies() -> list[int]:
    found = []
    for child in psutil.Process().children():
        try:
            if child.status() == psutil.STATUS_ZOMBIE:
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found
