"""Where a secret's value comes from, what is no part of it, and that no error gives it away."""

import base64
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.core.redact import redact
from tasks.facts.secrets import Empty, ReadFile, RunCommand, Sources, reader, value_of
from tasks.process.command import Command, CommandFailed, Completed, DeadlinePassed, ProgramMissing
from tasks.settings.types import SecretSource
from tests.facts.test_secrets import no_command


def no_file(name: str) -> bytes:
    raise AssertionError(f"{name} was read")


def value(source: Mapping[str, Any], environ: Mapping[str, str], read: ReadFile, run: RunCommand) -> bytes:
    given = Sources(environ=environ, read_file=read, run_command=run)
    return value_of(SecretSource.model_validate(source), given, "the value 'k' of secret 's'", "secrets")


def from_env(environ: Mapping[str, str], name: str = "TOKEN") -> bytes:
    return value({"env": name}, environ, no_file, no_command)


def from_file(content: bytes) -> bytes:
    return value({"file": "f"}, {}, lambda name: content, no_command)


def from_command(run: Callable[[Sequence[str]], bytes], *argv: str) -> bytes:
    return value({"command": argv or ("gh", "auth", "token")}, {}, no_file, run)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"value-1", b"value-1"),
        (b"value-2\n", b"value-2"),
        (b"value-3\r\n", b"value-3"),
        (b"value-4\n\n", b"value-4"),
        (b"  value-5 \n", b"  value-5 "),
        ("wört-6\n".encode(), "wört-6".encode()),
        (b"several-7\nlines\n", b"several-7\nlines\n"),
        (b"several-8\r\nlines\r\n", b"several-8\r\nlines\r\n"),
        (b"several-9\nlines", b"several-9\nlines"),
    ],
)
def test_a_single_line_is_taken_without_its_end(content: bytes, value: bytes) -> None:
    assert from_file(content) == value
    assert from_command(lambda argv: content) == value


def test_bytes_that_are_no_text_are_kept() -> None:
    content = b"\xfe\xed\x00store\r\n"
    assert from_file(content) == content
    assert redact(f"<{base64.b64encode(content).decode()}>") == "<***>"


def test_a_variable_is_taken_as_it_is() -> None:
    assert from_env({"TOKEN": " value\n"}) == b" value\n"
    assert from_env({"TOKEN": os.fsdecode(b"\xff\xfevalue")}) == b"\xff\xfevalue"


def test_a_file_gets_its_name_and_a_command_its_arguments() -> None:
    names: list[object] = []

    def read(name: str) -> bytes:
        names.append(name)
        return b"value"

    def run(argv: Sequence[str]) -> bytes:
        names.append(tuple(argv))
        return b"value"

    value({"file": "~/token"}, {}, read, no_command)
    from_command(run, "pass", "show", "a b")
    assert names == ["~/token", ("pass", "show", "a b")]


@pytest.mark.parametrize("nothing", ["", " ", "\n", "\r\n\t"])
def test_a_source_without_a_value_says_which_one(nothing: str) -> None:
    with pytest.raises(Empty, match=r"^TOKEN is empty$"):
        from_env({"TOKEN": nothing})
    with pytest.raises(Empty, match=r"^the file f is empty$"):
        from_file(nothing.encode())
    with pytest.raises(Empty, match=r"^the output of gh is empty$"):
        from_command(lambda argv: nothing.encode())


def test_a_variable_that_is_not_there_is_told_apart() -> None:
    with pytest.raises(Empty, match=r"^TOKEN is not set$"):
        from_env({"TOKEN_2": "x"})


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({}, "0 sources (none)"),
        ({"env": "A", "file": "b"}, "2 sources (env, file)"),
        ({"env": "", "file": "b", "command": ["c"]}, "3 sources (env, file, command)"),
        ({"env": ""}, "its env is empty"),
        ({"file": ""}, "its file is empty"),
        ({"command": []}, "its command is empty"),
    ],
)
def test_exactly_one_source_is_needed(source: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match="'k' of secret 's'") as error:
        value(source, {"A": "x"}, no_file, no_command)
    assert why in error.value.why
    assert error.value.fix.endswith("(settings: secrets)")


def failed(out: str, err: str, code: int = 3) -> CommandFailed:
    done = Completed(command=Command(argv=("/usr/bin/gh",)), code=code, out=out, err=err, seconds=0.1)
    return CommandFailed(done) if code != -15 else DeadlinePassed(done, 60)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (failed("", "first\nnot logged in\n\n"), "gh ended with code 3: not logged in"),
        (failed("half-of-canary-a", ""), "gh ended with code 3"),
        (failed("half-of-canary-b\n", "+ echo half-of-canary-b\n"), "gh ended with code 3: + echo ***"),
        (failed("half-of-canary-c", "slow", code=-15), "gh did not end within 60 s"),
        (ProgramMissing("the program 'gh' is missing", why="x", fix="make tools"), "the program 'gh' is missing"),
    ],
)
def test_a_command_that_fails_is_told_without_what_it_wrote_to_stdout(error: Exception, why: str) -> None:
    def run(argv: Sequence[str]) -> bytes:
        raise error

    with pytest.raises(BadInput) as caught:
        from_command(run)
    assert caught.value.why == why
    shown = f"{caught.value!s}{caught.value!r}{caught.value.__dict__}{traceback.format_exception(caught.value)}"
    assert "canary" not in shown
    assert "make tools" not in shown
    assert caught.value.__context__ is None  # a failure is told with what it came from


def test_output_may_be_any_bytes() -> None:
    assert from_command(lambda argv: b"\xfe\xed\xfe\xed\n") == b"\xfe\xed\xfe\xed\n"


@pytest.mark.parametrize("value", ["c4n4ry-text", "c4n4ry-zeile-äöü", "c4n4ry of\nseveral-lines-that-are-long\n"])
def test_a_value_is_concealed_in_every_form(value: str) -> None:
    assert from_env({"TOKEN": value}).decode() == value
    for form in (value, base64.b64encode(value.encode()).decode(), value.splitlines()[-1]):
        assert redact(f"<{form}>") == "<***>"


def test_files_are_seen_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, home = tmp_path / "root", tmp_path / "home"
    for folder in (root, home):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "token").write_bytes(folder.name.encode())
    (root / "link").symlink_to("sub/token")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    read = reader(root)
    assert [read(name) for name in ("sub/token", "~/sub/token", str(home / "sub/token"), "link")] == [
        b"root",
        b"home",
        b"home",
        b"root",
    ]


def test_as_much_is_read_as_a_secret_may_hold(tmp_path: Path) -> None:
    (tmp_path / "most").write_bytes(b"x" * (1 << 20))
    assert len(reader(tmp_path)("most")) == 1 << 20


def opened() -> int:
    """Files that this process has open, on systems that report them."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "No such file"),
        ("folder", "not a regular file"),
        ("pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("large", "larger than 1 MiB"),
        ("~nobody-of-that-name/x", "no home folder"),
        ("nul\0", "no file can have that name"),
    ],
)
@pytest.mark.timeout(10)
def test_what_is_no_file_to_read_is_refused_without_waiting(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"canary-e" * (1 << 17) + b"x")
    before = opened()
    with pytest.raises(BadInput, match="'k' of secret 's'") as error:
        value({"file": name}, {}, reader(tmp_path), no_command)
    assert error.value.why.startswith(f"{name}: ")
    assert why in error.value.why
    assert "canary" not in str(error.value)
    assert opened() == before
