"""Commands as values, where programs are found, what they are given, and what their failures say."""

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO, Any

import pytest

from tasks.core import redact
from tasks.core.errors import LaunchError
from tasks.core.redact import MASK, conceal
from tasks.engine.step import Context
from tasks.process.command import (
    Command,
    CommandFailed,
    Completed,
    DeadlinePassed,
    ProgramMissing,
    duration,
    last_line,
    signal_name,
)
from tasks.process.programs import Programs
from tasks.process.runner import CannotStart
from tests.programs import PATH, context, programs, script

TOKEN = "ghp_correcthorsebatterystaple"


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(redact, "_values", ())
    conceal(TOKEN)
    return TOKEN


def tool(folder: Path, name: str, output: str, mode: int = 0o755) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {output}\n")
    path.chmod(mode)
    return path


def done(*, out: str = "", err: str = "", code: int = 1, quiet: bool = False, **command: object) -> Completed:
    value = Command(**{"argv": ("/opt/bin/tool", "x"), **command})  # type: ignore[arg-type]
    return Completed(command=value, code=code, out=out, err=err, seconds=1.0, quiet=quiet)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (Command(argv=("docker", "ps")), "docker ps"),
        (Command(argv=("echo", "a b", "$HOME", "it's")), "echo 'a b' '$HOME' 'it'\"'\"'s'"),
        (Command(argv=("x",), env={"B": "2", "A": "1 1"}), "A='1 1' B=2 x"),
        (Command(argv=("x",), stdin="hidden"), "x < INPUT"),
        (Command(argv=("x",), stdin="", shown_stdin="VALUES"), "x < VALUES"),
        (Command(argv=("x",), shown_stdin="VALUES"), "x"),
        (Command(argv=("x", "y"), env={"A": "1"}, cwd=Path("/a b")), "cd '/a b' && A=1 x y"),
    ],
)
def test_a_command_can_be_pasted(command: Command, text: str) -> None:
    assert command.paste() == text


def test_what_is_pasted_shows_no_secret(token: str) -> None:
    conceal("it's a 'secret'")
    argv = ("x", f"--password={token}", "it's a 'secret'")
    text = Command(argv=argv, env={"TOKEN": token}, stdin=token).paste()
    assert text == f"TOKEN='{MASK}' x '--password={MASK}' '{MASK}' < INPUT"


def test_the_projects_folder_wins_over_the_path(tmp_path: Path) -> None:
    tool(tmp_path / "own", "k3d", "own")
    tool(tmp_path / "path", "k3d", "path")
    tool(tmp_path / "path", "helm", "path")
    both = Programs(folder=tmp_path / "own", env={"PATH": f"{tmp_path / 'path'}:{PATH}"})
    assert both.run(Command(argv=("k3d",))).out == "own\n"
    assert both.run(Command(argv=("helm",))).out == "path\n"


@pytest.mark.parametrize("spoilt", ["mode", "folder", "link", "closed"])
def test_broken_programs_of_a_project_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    if spoilt == "mode":
        tool(own, "k3d", "own", mode=0o644)
    elif spoilt == "folder":
        (own / "k3d").mkdir()
    elif spoilt == "closed":  # as it is for others than root
        stat, access = os.stat, os.access

        def closed(path: Any, **more: Any) -> os.stat_result:
            if Path(path).parent == own:
                raise PermissionError(13, "Permission denied")
            return stat(path, **more)

        monkeypatch.setattr(os, "stat", closed)
        monkeypatch.setattr(os, "access", lambda path, mode, **more: Path(path).parent != own and access(path, mode))
    else:
        (own / "k3d").symlink_to(tmp_path / "nowhere")
    tool(tmp_path / "path", "k3d", "path")
    found = Programs(folder=own, env={"PATH": str(tmp_path / "path")})
    assert found.where("k3d") == str(tmp_path / "path" / "k3d")


def test_a_program_that_is_nowhere_is_told_with_what_to_do(tmp_path: Path) -> None:
    for env in ({"PATH": str(tmp_path)}, {"PATH": ""}):
        with pytest.raises(ProgramMissing, match="'k3d' is missing") as caught:
            Programs(env=env).run(Command(argv=("k3d", "version")))
        assert "make tools" in caught.value.fix
        assert "PATH" in caught.value.why


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tool(tmp_path, "mine", "mine")
    assert Programs().run(Command(argv=(str(path),))).out == "mine\n"
    assert Programs().where(str(tmp_path)) is None
    assert Programs().where(str(tmp_path / "other")) is None


@pytest.mark.parametrize("entry", ["", "bin", "./bin"])
def test_a_relative_entry_of_the_path_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    tool(tmp_path / "bin" if entry else tmp_path, "sh", "not the shell")
    monkeypatch.chdir(tmp_path)
    here = Programs(env={"PATH": f"{entry}:{PATH}"})
    assert Path(here.find("sh")).is_absolute()
    assert here.run(Command(argv=("sh",))).out == "not the shell\n"


def test_a_program_gets_the_environment_that_was_given_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "no business of a program's")
    env = shutil.which("env")
    assert env is not None
    given = Programs(env={"A": "1", "B": "ä b\nc", "RAW": "\udcff"}).with_env({"B": "2", "D": ""})
    finished = given.run(Command(argv=(env, "-0"), env={"A": "3"}))
    assert sorted(finished.raw.split(b"\0")) == [b"", b"A=3", b"B=2", b"D=", b"RAW=\xff"]


def test_a_program_runs_in_the_folder_that_was_given(tmp_path: Path) -> None:
    assert programs().run(Command(argv=("pwd",), cwd=tmp_path)).out == f"{tmp_path.resolve()}\n"
    with pytest.raises(CannotStart, match="cannot be started") as caught:
        programs().run(Command(argv=("pwd",), cwd=tmp_path / "none"))
    assert str(tmp_path / "none") in caught.value.why


def test_codes_that_are_expected_are_no_failure() -> None:
    assert programs().run(Command(argv=("sh", "-c", "exit 4"), ok=(0, 4))).code == 4
    with pytest.raises(CommandFailed):
        programs().run(Command(argv=("sh", "-c", "exit 0"), ok=(4,)))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (done(out="a\nb\n", err="c\nd\n\n \n"), "d"),
        (done(out="a\nb\n", err=" \n"), "b"),
        (done(), "it wrote nothing"),
        (done(out="a", quiet=True), "it wrote nothing that may be shown"),
        (done(out="a", err="b", quiet=True), "b"),
        (done(err="x" * 500), "x" * 400),
        (done(err="it went on\nand ended in:\n"), "and ended in:"),
        (done(err="docker: no space\n\nRun 'docker run --help' for more information\n"), "docker: no space"),
        (done(err="docker: no space.\nSee 'docker run --help'.\n"), "docker: no space."),
        (done(err="Error: 1 error occurred:\n\t* job x failed\n\n"), "Error: 1 error occurred: * job x failed"),
        (done(err="Error: it is missing\n\nUse --debug flag to render out invalid YAML\n"), "Error: it is missing"),
        (
            done(err="Error: UPGRADE FAILED: a hook\nError: it may not change\n  {\n    a: b,\n  }\n"),
            "Error: it may not change",
        ),
    ],
)
def test_the_last_line_says_what_happened(given: Completed, line: str) -> None:
    assert last_line(given) == line
    error = CommandFailed(given)
    assert error.what == f"tool ended with code 1: {line}"
    assert error.exit_code == 1


def test_the_end_of_the_output_stands_beside_an_error() -> None:
    lines = [f"line {number}" for number in range(40)]
    assert CommandFailed(done(err="\n".join(lines) + "\n\n")).tail() == lines[-12:]
    assert CommandFailed(done(out="a\nb\n")).tail() == ["a", "b"]
    assert CommandFailed(done(out="a\nb\n", quiet=True)).tail() == []


def test_a_failure_shows_no_secret(token: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        programs().run(script(f"echo {token} >&2; echo again {token} >&2; exit 1", stdin=token))
    error = caught.value
    shown = [str(error), *error.tail(), error.done.command.paste()]
    assert error.tail() == [MASK, f"again {MASK}"]
    assert not any(token in text for text in shown)


def test_a_quiet_failure_shows_nothing_of_stdout() -> None:
    with pytest.raises(CommandFailed) as caught:
        programs().run(script("echo half-a-secret; exit 1"), quiet=True)
    assert "half-a-secret" not in str(caught.value)
    assert caught.value.tail() == []


def test_a_deadline_names_the_setting() -> None:
    error = DeadlinePassed(done(code=-15), 60)
    assert str(error).startswith("tool did not end within 60 s\n")
    assert error.args == (error.what,)


@pytest.mark.parametrize(("number", "name"), [(15, "SIGTERM"), (9, "SIGKILL"), (999, "signal 999")])
def test_signals_have_names(number: int, name: str) -> None:
    assert signal_name(number) == name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(300.0, "300s"), (0.5, "0.5s"), (1_234_567.0, "1234567s"), (90, "90s"), (1800.25, "1800.25s")],
)
def test_seconds_as_go_reads_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Logged:
    """A run with a folder for logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.programs = Programs(env={"PATH": PATH}, log_dir=folder)

    def run(self, command: Command, step: str = "cluster: create", *, quiet: bool = False) -> None:
        about: Context = context(step)
        about.say = self.said.append
        self.programs.run(command, about, quiet=quiet)


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    return Logged(tmp_path)


def test_a_steps_log_holds_its_commands_one_after_another(logged: Logged) -> None:
    logged.run(script("echo out; printf err >&2"))
    logged.run(Command(argv=("sh", "-c", "exit 3"), ok=(3,)))
    path = logged.folder / "cluster--create.log"
    first, out, err, code, second, last = path.read_text().splitlines()
    assert first.startswith("$ sh -c ")
    assert (out, err) == ("out", "err")
    assert code.startswith("[code 0, 0.")
    assert second == "$ sh -c 'exit 3'"
    assert last.startswith("[code 3, ")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_is_kept_of_failures_and_shows_no_secret(logged: Logged, token: str) -> None:
    with pytest.raises(CommandFailed):
        logged.run(script(f"echo {token}; exit 1", stdin=token))
    text = (logged.folder / "cluster--create.log").read_text()
    assert token not in text
    assert MASK in text
    assert "[code 1" in text


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("helm: install a/b", "helm--install-a-b.log"),
        ("../x", "..-x.log"),
        ("ä ö", "ä-ö.log"),
        ("a\nb\0c", "a-b-c.log"),
    ],
)
def test_any_steps_name_makes_a_file_name(logged: Logged, step: str, name: str) -> None:
    logged.run(Command(argv=("true",)), step)
    assert [path.name for path in logged.folder.iterdir()] == [name]


def test_quiet_commands_and_commands_of_no_step_leave_no_log(logged: Logged) -> None:
    logged.run(Command(argv=("true",)), quiet=True)
    logged.run(Command(argv=("true",), secret=True))
    logged.programs.run(Command(argv=("true",)))
    assert list(logged.folder.iterdir()) == []


def test_a_log_that_cannot_be_written_fails_no_step(logged: Logged) -> None:
    target = logged.folder / "elsewhere"
    (logged.folder / "cluster--create.log").symlink_to(target)
    logged.run(Command(argv=("true",)))
    assert not target.exists()
    logged.run(Command(argv=("true",)), "x" * 300)
    assert len(logged.said) == 2
    assert all(line.startswith("its log could not be written: ") for line in logged.said)


def test_output_that_is_no_text_can_be_logged(logged: Logged) -> None:
    logged.run(script(r"printf 'a\377b\000c'"))
    assert "a\ufffdb\0c\n" in (logged.folder / "cluster--create.log").read_text()


def test_input_that_no_folder_takes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(LaunchError, match="the input of cat cannot be written") as caught:
        programs().run(Command(argv=("cat",), stdin="x"))
    assert caught.value.why == "No space left on device"
    assert "TMPDIR" in caught.value.fix


def test_input_is_bytes_as_the_environment_gave_them() -> None:
    assert programs().run(Command(argv=("cat",), stdin="a\udcffb")).raw == b"a\xffb"


def test_input_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert programs().run(script('cat; ls -A "$1"', str(tmp_path), stdin="x\n")).out == "x\n"
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names are all that is asked for


def _endless(out: IO[bytes]) -> None:
    while True:
        out.write(b"x" * 65536)


def _broken(_out: IO[bytes]) -> None:
    raise LaunchError("the source is gone")


def test_a_program_reads_what_is_written_while_it_runs() -> None:
    def write(out: IO[bytes]) -> None:
        out.write(b"x" * 3_000_000)

    assert programs().run(Command(argv=("wc", "-c"), feed=write)).out.strip() == "3000000"
    assert Command(argv=("x",), feed=_endless, shown_stdin="BUNDLE").paste() == "x < BUNDLE"


def test_a_program_that_reads_no_more_ends_the_writer() -> None:
    assert programs().run(Command(argv=("head", "-c", "3"), feed=_endless)).out == "xxx"
    with pytest.raises(CommandFailed):
        programs().run(Command(argv=("false",), feed=_endless))


def test_the_error_of_the_writer_is_raised() -> None:
    with pytest.raises(LaunchError, match="the source is gone"):
        programs().run(Command(argv=("cat",), feed=_broken))
