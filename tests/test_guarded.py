"""How a task ends: each error with its code, and nothing of it left behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.core.errors import (
    BadInput,
    ClusterAbsent,
    ClusterStopped,
    Drifted,
    Interrupted,
    LaunchError,
    NoEngine,
    PlanError,
)
from tasks.process.children import CHILDREN
from tasks.process.command import Command, Programs
from tasks.run.session import Ended, Session, guarded
from tasks.run.task import Options
from tests import given

OPTIONS = Options(task="status")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The environment that `guarded` reads, without what the tests' own has."""
    monkeypatch.setattr("tasks.core.redact._values", ())  # words that other tests have concealed
    for name in list(os.environ):
        if name not in ("PATH", "LANG"):
            monkeypatch.delenv(name)
    for name, place in (("HOME", ""), ("XDG_STATE_HOME", "state"), ("XDG_CACHE_HOME", "cache"), ("TMPDIR", "")):
        monkeypatch.setenv(name, str(tmp_path / place))
    yield
    CHILDREN.open()  # a task's end has closed it for this whole process


def ended(body: Callable[[Session], int | None]) -> int:
    return guarded(OPTIONS, given.ROOT, body)


def raising(error: BaseException) -> Callable[[Session], int | None]:
    def body(_session: Session) -> int | None:
        raise error

    return body


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LaunchError, 1),
        (BadInput, 2),
        (PlanError, 2),
        (ClusterStopped, 3),
        (ClusterAbsent, 4),
        (Drifted, 5),
        (NoEngine, 6),
        (Interrupted, 130),
    ],
)
def test_each_expected_error_has_its_code_and_no_traceback(
    error: type[LaunchError], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(raising(error("it happened", why="for a reason", fix="do that"))) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split() for line in err.splitlines()][1:] == [["why:", "for", "a", "reason"], ["do:", "do", "that"]]
    assert "it happened" in err


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("given_", "status"), [(None, 0), (0, 0), (5, 5)])
def test_what_a_body_returns_is_the_code(given_: int | None, status: int) -> None:
    assert ended(lambda _session: given_) == status


@pytest.mark.usefixtures("quiet")
def test_a_run_that_was_told_already_is_not_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(Ended(130))) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("quiet")
def test_a_bug_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        ended(raising(ZeroDivisionError()))


@pytest.mark.usefixtures("quiet")
def test_wrong_settings_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("K3D_AGENTS", "many")
    assert ended(lambda _session: pytest.fail("it must not begin")) == 2
    assert "K3D_AGENTS" in capsys.readouterr().err


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_is_an_interrupt(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    """A job that is cancelled, a terminal that is closed: programs of the task must not outlive it."""
    before = signal.getsignal(number)

    def body(_session: Session) -> int | None:
        signal.raise_signal(number)
        pytest.fail("it goes on")

    assert ended(body) == 130
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(number) is before


@pytest.mark.usefixtures("quiet")
def test_who_asked_that_a_closed_terminal_is_ignored_gets_that() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ended(lambda _session: signal.raise_signal(signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("quiet")
def test_a_second_task_of_one_process_can_start_programs() -> None:
    """`invoke namespaces secrets`: the first task's end lets no program live that is started after it."""

    def body(session: Session) -> int | None:
        return Programs(env=session.environ).run(Command(argv=(sys.executable, "-c", "print(1)"))).code

    assert [ended(body), ended(body)] == [0, 0]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("task", ["status", "helm"])
def test_a_rehearsal_says_once_that_nothing_is_real_also_over_an_error(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEPLOY_LOG_DIR", str(tmp_path / "openframe-logs"))
    options = Options(task=task, engine="rehearsal")
    assert guarded(options, given.ROOT, raising(BadInput("--format is 'x'"))) == 2
    told = capsys.readouterr()
    assert (told.out + told.err).count("REHEARSAL: ") == 1
