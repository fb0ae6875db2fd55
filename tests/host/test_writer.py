"""Files are read and written whole, with their mode and owner, by one's own rights or by sudo."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core.errors import LaunchError
from tasks.host.writer import FileState, Sudo, Writer, replaceable
from tasks.process.command import CommandFailed
from tests.host.dockerd import as_root
from tests.programs import Answer, FakePrograms


def own() -> Writer:
    return Writer(programs=FakePrograms(answers={"kill": ""}))


def by_sudo() -> Writer:
    return Sudo(programs=FakePrograms(answers={"sudo -n": as_root, "sudo -n kill": ""}))


def file(data: bytes, mode: int = 0o644) -> FileState:
    return FileState(data=data, mode=mode, user=os.geteuid(), group=os.getegid())


BOTH = pytest.mark.parametrize("make", [own, by_sudo])


@BOTH
def test_what_is_written_is_read(tmp_path: Path, make: Callable[[], Writer]) -> None:
    writer = make()
    path = tmp_path / "new folder" / "daemon.json"
    assert writer.read(path) is None
    for remaining in (file(b"{}", 0o600), file(b"\x00\xff\r\n", 0o644), file(b"")):
        writer.write(path, remaining)
        assert writer.read(path) == remaining
    assert [each.name for each in path.parent.iterdir()] == ["daemon.json"]
    writer.remove(path)
    writer.remove(path)
    assert writer.read(path) is None


@BOTH
def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path, make: Callable[[], Writer]) -> None:
    before = os.umask(0o077)
    try:
        make().write(tmp_path / "f", file(b"x", 0o644))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o644


@BOTH
def test_a_folder_in_its_place(tmp_path: Path, make: Callable[[], Writer]) -> None:
    (tmp_path / "f" / "x").mkdir(parents=True)
    with pytest.raises(LaunchError, match="cannot be read"):
        make().read(tmp_path / "f")


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f")
    with pytest.raises(LaunchError) as caught:
        own().read(tmp_path / "f")
    assert caught.value.why == "it is not a regular file"


def test_own_leaves_nothing_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "full").touch()
    with pytest.raises(LaunchError, match="cannot be written"):
        own().write(tmp_path / "f", file(b"x"))
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("which", ["install", "mv"])
def test_sudo_leaves_nothing_where_it_cannot_write(tmp_path: Path, which: str) -> None:
    broken = Answer(code=1, err=f"{which}: No space left on device")
    programs = FakePrograms(answers={"sudo -n": as_root, f"sudo -n {which}": broken})
    (tmp_path / "f").write_text("old")
    with pytest.raises(CommandFailed, match="No space left"):
        Sudo(programs=programs).write(tmp_path / "f", file(b"new"))
    assert [each.name for each in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"


def test_sudo_is_asked_to_read_only_where_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text("x")
    programs = FakePrograms(answers={"sudo -n": as_root})
    assert Sudo(programs=programs).read(tmp_path / "f") == file(b"x", stat.S_IMODE((tmp_path / "f").stat().st_mode))
    assert programs.lines == []
    monkeypatch.setattr("tasks.host.writer.look", refuse)
    remaining = Sudo(programs=programs).read(tmp_path / "f")
    assert remaining is not None
    assert remaining.data == b"x"
    assert Sudo(programs=programs).read(tmp_path / "g") is None
    (call,) = programs.calls_of("sudo -n cat")
    assert call.quiet  # a daemon.json may hold a proxy's password


def refuse(path: Path) -> None:
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize(("user", "expected"), [(0, True), (os.geteuid(), True), (os.geteuid() + 4321, False)])
def test_whose_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, expected: bool) -> None:
    (tmp_path / "f").touch()
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert replaceable(tmp_path / "f") is expected
    assert replaceable(tmp_path / "missing" / "folder" / "f") is expected
