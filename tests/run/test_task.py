"""From functions to invoke's tasks: options, help, each end with its code; one part of a launch alone."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.program import Program

from tasks.core import errors
from tasks.core.lock import Held, held
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.process.children import CHILDREN
from tasks.process.command import Command
from tasks.process.programs import Programs
from tasks.run.session import Session
from tasks.run.task import Options, check_names, run_task, task
from tasks.settings.derived import NEEDS_CLUSTER, PARTS
from tests import given
from tests.given import FakeSession, call, facts, session
from tests.given_direct import DirectApi
from tests.given_live import reached
from tests.programs import Answer, FakePrograms

ALONE = tuple(name for name in PARTS if name != "cluster")


class Seen:
    """What a call of a task came to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: int = 0) -> None:
        self.options: Options | None = None
        self.own: dict[str, Any] = {}
        self.status = status
        monkeypatch.setattr("tasks.run.task.run_task", self._run)

    def _run(self, options: Options, body: Callable[[Session], int | None]) -> int:
        self.options = options
        body(given.session(Path("/nowhere")))
        return self.status


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


def called(seen: Seen, *argv: str) -> Options:
    """Call one task through invoke's own parser."""

    @task(help={"deep": "how deep", "names": "which"})
    def dig_it(session: Session, deep: bool = False, names: list[str] = [], form: str = "text") -> int | None:  # noqa: B006 - as invoke wants it
        """Dig a hole."""
        seen.own = {"deep": deep, "names": names, "form": form}
        return None

    @task("profile", "set")
    def narrow(session: Session) -> int | None:
        """Take few options."""
        return None

    Program(namespace=Collection(dig_it, narrow), version="0").run(["invoke", *argv], exit=True)
    assert seen.options is not None
    return seen.options


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        ([], {}),
        (["--profile", "ci"], {"profile": "ci"}),
        (["--set", "a=1"], {"sets": ("a=1",)}),
        (["--set", "a=1", "--set", "b=2", "--set", "a=3"], {"sets": ("a=1", "b=2", "a=3")}),
        (["--set", "a=[x, y]"], {"sets": ("a=[x, y]",)}),
        (["--engine", "existing", "--context", "team"], {"engine": "existing", "context": "team"}),
        (["--engine="], {"engine": "k3d"}),
        (["--keep-going", "--wait-lock"], {"keep_going": True, "wait_lock": True}),
    ],
)
def test_common_options_reach_the_session(seen: Seen, argv: list[str], options: dict[str, Any]) -> None:
    assert called(seen, "dig-it", *argv) == Options(**{"task": "dig-it", **options})


def test_own_options_reach_the_body(seen: Seen) -> None:
    called(seen, "dig-it", "--deep", "--names", "a", "--names", "b", "--form=json")
    assert seen.own == {"deep": True, "names": ["a", "b"], "form": "json"}
    called(seen, "dig-it")
    assert seen.own == {"deep": False, "names": [], "form": "text"}, "a call leaves nothing for the next"


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["dig-it", "--nonsense"], "--nonsense"),
        (["narrow", "--engine", "existing"], "--engine"),
        (["bury-it"], "bury-it"),
    ],
)
def test_what_nobody_knows_is_told_without_a_traceback(
    seen: Seen, argv: list[str], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        called(seen, *argv)
    assert caught.value.code == 1, "invoke's own code for what its parser refuses"
    err = capsys.readouterr().err
    assert shown in err
    assert "Traceback" not in err
    assert seen.options is None


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, 6, 130])
def test_the_code_of_the_task_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with pytest.raises(SystemExit) as caught:
        called(Seen(monkeypatch, status), "dig-it")
    assert caught.value.code == status


def test_the_first_line_of_the_docstring_is_the_help(seen: Seen, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        called(seen, "--help", "dig-it")
    out = capsys.readouterr().out
    assert "Dig a hole." in out
    assert "how deep" in out
    assert "set any setting: --set path=value" in " ".join(out.split())
    assert " -d," not in out, "short flags would change their meaning with each option that is added"


def test_a_task_can_be_called_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen(monkeypatch, 3)

    @task("profile")
    def dig(session: Session) -> int | None:
        """Dig."""
        return None

    with pytest.raises(Exit) as caught:
        dig(Context())
    assert caught.value.code == 3
    assert seen.options == Options(task="dig")


# -- how a task ends ------------------------------------------------------------------------------------
OPTIONS = Options(task="status")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The environment that `run_task` reads, without what the tests' own has."""
    for name in list(os.environ):
        if name not in ("PATH", "LANG"):
            monkeypatch.delenv(name)
    for name, place in (("HOME", ""), ("XDG_STATE_HOME", "state"), ("XDG_CACHE_HOME", "cache"), ("TMPDIR", "")):
        monkeypatch.setenv(name, str(tmp_path / place))
    yield
    CHILDREN.open()  # a task's end has closed it for this whole process


def ended(body: Callable[[Session], int | None]) -> int:
    return run_task(OPTIONS, body)


def raising(error: BaseException) -> Callable[[Session], int | None]:
    def body(_session: Session) -> int | None:
        raise error

    return body


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.LaunchError, 1),
        (errors.BadInput, 2),
        (errors.PlanError, 2),
        (errors.ClusterStopped, 3),
        (errors.ClusterAbsent, 4),
        (errors.Drifted, 5),
        (errors.NoEngine, 6),
        (errors.Interrupted, 130),
    ],
)
def test_each_expected_error_has_its_code_and_no_traceback(
    error: type[errors.LaunchError], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(raising(error("it happened", why="for a reason", fix="do that"))) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split() for line in err.splitlines()][1:] == [["why:", "for", "a", "reason"], ["do:", "do", "that"]]
    assert "it happened" in err


@pytest.mark.usefixtures("quiet")
def test_a_run_that_was_told_already_is_not_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(Exit(code=130))) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("found", ["/users/me", None])
def test_programs_have_a_home_where_the_shell_has_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: str | None
) -> None:
    def account() -> Path:
        if found is None:
            raise RuntimeError
        return Path(found)

    homes: list[str] = []
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(Path, "home", account)
    status = run_task(Options(task="x"), lambda session: homes.append(session.programs().env["HOME"]))
    assert (status, homes) == ((0, [found]) if found else (errors.BadInput.status, []))
    assert ("set HOME" in capsys.readouterr().err) is (found is None)


def test_a_bug_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        ended(raising(ZeroDivisionError()))


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
    assert run_task(options, raising(errors.BadInput("--format is 'x'"))) == 2
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("REHEARSAL: ") == 1


class Around:
    """What surrounds the task: its facts, the fetching of programs, and the run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: Facts = facts(folder, FakePrograms(otherwise=Answer()))
        self.session: FakeSession = session(folder, self.given.programs, task="namespaces")
        self.happened: list[str] = []
        self.looked_at: list[tuple[str, ...]] = []
        self.runs: list[dict[str, Any]] = []
        self.held: list[bool] = []
        monkeypatch.setattr("tasks.run.gather.gather", self._gather)
        monkeypatch.setattr(FakeSession, "ensure_programs", lambda _session: self.happened.append("programs"))
        monkeypatch.setattr(FakeSession, "run", self._run)

    def _gather(self, _session: FakeSession, parts: tuple[str, ...], *, refuse: bool) -> Facts:
        assert refuse is (parts[0] not in ("prepull", "registry", "build"))
        self.happened.append("gather")
        self.looked_at.append(parts)
        return self.given

    def _run(self, steps: Any, bounds: Any, **more: Any) -> None:
        self.happened.append("run")
        self.runs.append({"steps": steps, "bounds": bounds, **more})
        try:
            with held(self.session.lock, "another"):
                self.held.append(False)
        except Held:
            self.held.append(True)


def alone(around: Around, name: str) -> int:
    return call(getattr(import_module(f"tasks.{name}"), name), around.session)


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Around:
    return Around(tmp_path, monkeypatch)


def cluster_is(around: Around, tmp_path: Path, presence: Presence, **more: Any) -> None:
    around.given = facts(tmp_path, around.given.programs, presence=presence, **more)


@pytest.mark.parametrize("name", ALONE)
def test_only_what_it_needs_is_looked_at_and_run(around: Around, tmp_path: Path, name: str) -> None:
    cluster_is(around, tmp_path, Presence.RUNNING)
    assert alone(around, name) == 0
    assert around.happened == ["programs", "gather", "run"]  # programs first: gather queries them
    assert around.looked_at == [(name,)]
    (run,) = around.runs
    assert {step.task for step in run["steps"]} <= {name, "namespaces", "prepull"}
    assert run["facts"] is around.given
    assert run["bounds"].kinds["download"] == 3


@pytest.mark.parametrize("name", sorted(NEEDS_CLUSTER))
@pytest.mark.parametrize(
    ("presence", "error", "status", "fix"),
    [
        (Presence.ABSENT, errors.ClusterAbsent, errors.ABSENT, "invoke cluster creates it"),
        (Presence.INCOMPLETE, errors.ClusterAbsent, errors.ABSENT, "invoke cluster creates it"),
        (Presence.STOPPED, errors.ClusterStopped, errors.STOPPED, "invoke cluster starts it"),
    ],
)
def test_without_a_cluster_that_runs_nothing_is_done(
    around: Around, tmp_path: Path, name: str, presence: Presence, error: type[Exception], status: int, fix: str
) -> None:
    cluster_is(around, tmp_path, presence)
    with pytest.raises(error) as caught:
        alone(around, name)
    assert (caught.value.status, around.runs) == (status, [])  # type: ignore[attr-defined]
    assert fix in str(caught.value)


@pytest.mark.parametrize("name", ["prepull", "registry", "build"])
@pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.INCOMPLETE, Presence.STOPPED])
def test_images_and_registries_need_no_cluster(around: Around, tmp_path: Path, name: str, presence: Presence) -> None:
    cluster_is(around, tmp_path, presence)
    assert alone(around, name) == 0
    assert len(around.runs) == 1


def test_somebody_elses_cluster_is_there(around: Around, tmp_path: Path) -> None:
    cluster_is(around, tmp_path, Presence.RUNNING, engine="existing")
    reached(around.given, DirectApi())
    assert alone(around, "namespaces") == 0


@pytest.mark.parametrize("name", ALONE)
def test_what_changes_the_cluster_holds_it_meanwhile(around: Around, tmp_path: Path, name: str) -> None:
    cluster_is(around, tmp_path, Presence.RUNNING)
    alone(around, name)
    assert around.held == [name not in ("health", "prepull", "build")]


def test_health_only_looks(around: Around, tmp_path: Path) -> None:
    cluster_is(around, tmp_path, Presence.RUNNING)
    for name in ALONE:
        alone(around, name)
    assert [run["acts"] for run in around.runs] == [name != "health" for name in ALONE]


@pytest.mark.parametrize(("name", "reported"), [("dump", "steps.dump.when=down"), ("sed", "did you mean seed?")])
def test_a_name_that_a_task_does_not_take(name: str, reported: str) -> None:
    check_names(["seed"], ["seed"], "step", {})
    with pytest.raises(errors.BadInput) as caught:
        check_names([name], ["seed"], "step", {"dump": "when=down"})
    assert reported in f"{caught.value.why} {caught.value.fix}"
