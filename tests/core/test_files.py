"""What a process that is gone has left unfinished is found by its name, and nothing else is."""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import LaunchError, writing
from tasks.core.files import file_digest, place, prefix, replacing, rewrite, sha256, sweep, write_whole
from tasks.core.paths import folder_beside


def of(pid: int, target: str) -> str:
    return prefix(target).replace(f"-{os.getpid()}-", f"-{pid}-")


def elsewhere(target: str) -> str:
    """As a process in another container, or on another machine, names it; its number is nobody's here."""
    return of(1 << 30, target).replace(place(), "0a1b2c3d")


def test_files_and_folders_of_the_dead_go(tmp_path: Path, ended_pid: int) -> None:
    left = tmp_path / f"{of(ended_pid, 'latest.json')}abcdefgh"
    left.write_text("half")
    folder = tmp_path / f"{of(ended_pid, 'chart')}x1_y2z3w"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / f"{of(ended_pid, 'cache')}abcdefgh.yml").touch()
    assert len(sweep(tmp_path)) == 3
    assert list(tmp_path.iterdir()) == []


def test_what_others_have_stays(tmp_path: Path, ended_pid: int) -> None:
    names = {"config", ".config.abcdefgh", ".openframe-notes", "a.openframe-1-b", f"{prefix('config')}abcdefgh"}
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / f"{of(ended_pid, 'config')}abcdefgh").touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names


def test_folders_below_only_where_it_is_said(tmp_path: Path, ended_pid: int) -> None:
    left = tmp_path / "clusters" / "dev" / f"{of(ended_pid, 'complete')}abcdefgh"
    left.parent.mkdir(parents=True)
    left.touch()
    assert sweep(tmp_path) == []
    assert sweep(tmp_path, below=True) == [left]
    assert not left.exists()


def test_the_lock_that_the_dead_held_goes_too(tmp_path: Path, ended_pid: int) -> None:
    own, lock = tmp_path / f"{of(ended_pid, 'config.lock')}abcdefgh", tmp_path / "config.lock"
    own.touch()
    lock.hardlink_to(own)
    assert sweep(tmp_path) == [own]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_another_has_taken_since_stays(tmp_path: Path, ended_pid: int) -> None:
    own, lock = tmp_path / f"{of(ended_pid, 'config.lock')}abcdefgh", tmp_path / "config.lock"
    own.touch()
    lock.touch()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [lock]


@pytest.mark.parametrize(
    ("target", "age", "removed"), [("a", 86400, False), ("a", 3 * 86400, True), ("a.lock", 90, True)]
)
def test_what_another_machine_writes_stays_for_a_time(tmp_path: Path, target: str, age: float, removed: bool) -> None:
    """A dev container has the user's home mounted, and numbers of processes of its own."""
    left = tmp_path / f"{elsewhere(target)}abcdefgh"
    left.touch()
    assert sweep(tmp_path) == []
    os.utime(left, (0, time.time() - age))
    assert sweep(tmp_path) == ([left] if removed else [])


def test_a_link_is_removed_and_not_followed(tmp_path: Path, ended_pid: int) -> None:
    remaining = tmp_path / "kept"
    remaining.mkdir()
    (remaining / "file").touch()
    (tmp_path / f"{of(ended_pid, 'chart')}abcdefgh").symlink_to(remaining)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (remaining / "file").exists()


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def full(_handle: int) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_the_mode_is_the_one_that_was_given_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "helm", 0o755) as file:
            file.write(b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "helm").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "helm").stat().st_mode) == 0o755


def test_who_reads_the_old_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "helm"
    path.write_bytes(b"old")
    with path.open("rb") as running:
        write_whole(path, "new")
        assert running.read() == b"old"
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("write", [write_whole, rewrite])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, "new")  # type: ignore[operator]
    assert path.read_text() == "old"
    assert names(tmp_path) == ["f"]


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "f") as file:
        file.write(b"new" * (1 // 0))
    assert (tmp_path / "f").read_text() == "old"
    assert names(tmp_path) == ["f"]


def test_a_link_is_replaced_and_its_target_untouched(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "f").symlink_to("target")
    write_whole(tmp_path / "f", "ours")
    assert (tmp_path / "target").read_text() == "theirs"
    assert not (tmp_path / "f").is_symlink()


@pytest.mark.parametrize("write", [write_whole, rewrite])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    """As root it could be: /dev/null would be a file for all programs."""
    device = tmp_path / "null"
    os.mkfifo(device, 0o666)
    with pytest.raises(OSError, match="not a file") as caught:
        write(device, "a secret")
    assert caught.value.strerror
    assert stat.S_ISFIFO(device.stat().st_mode)
    assert list(tmp_path.iterdir()) == [device]


def test_links_of_the_system_are_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_symlink", lambda _path: True)
    with pytest.raises(OSError, match="to the system"):
        write_whole(Path("/dev/no-such-link-of-openframe"), "")


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    rewrite(tmp_path / "config", "ä")
    assert (tmp_path / "config").read_text(encoding="utf-8") == "ä"
    assert stat.S_IMODE((tmp_path / "config").stat().st_mode) == 0o600


def test_a_file_with_two_names_stays_one(tmp_path: Path) -> None:
    path, other = tmp_path / "config", tmp_path / "dotfiles"
    path.write_text("what was there before")
    other.hardlink_to(path)
    rewrite(path, "new")
    assert (other.read_text(), other.samefile(path)) == ("new", True)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
def test_mode_and_owner_stay(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "config"
    path.write_text("old")
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    rewrite(path, "new")
    after = path.stat()
    assert path.read_text() == "new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def _not_replaced(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """As for a file that is mounted by itself (EBUSY), or in a folder that nobody may write to."""

    def refused(self: Path, _target: Path) -> None:
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "replace", refused)


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS])
@pytest.mark.parametrize(("old", "new"), [("short", "a longer text"), ("a longer text", "short")])
def test_writing_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, old: str, new: str) -> None:
    path = tmp_path / "config"
    path.write_text(old)
    inode = path.stat().st_ino
    _not_replaced(monkeypatch, code)
    rewrite(path, new)
    assert (path.read_text(), path.stat().st_ino) == (new, inode)
    assert names(tmp_path) == ["config"]


def test_in_place_the_old_content_is_restored_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    path.write_text("old and longer")
    _not_replaced(monkeypatch, errno.EBUSY)
    real, calls = os.pwrite, iter([3])

    def fills(handle: int, data: bytes, at: int) -> int:
        """Of the new content three bytes fit, of the old one all."""
        fits = len(data) if data.startswith(b"old") else next(calls, 0)
        return real(handle, data[:fits], at) if fits else full(handle)

    monkeypatch.setattr(os, "pwrite", fills)
    with pytest.raises(OSError, match="No space"):
        rewrite(path, "new content")
    assert path.read_text() == "old and longer"


def test_another_failure_is_not_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("old")
    _not_replaced(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        rewrite(tmp_path / "config", "new")
    assert (tmp_path / "config").read_text() == "old"


def test_texts_bytes_and_pieces_have_the_digest_of_their_bytes(tmp_path: Path) -> None:
    whole = hashlib.sha256("größe".encode()).hexdigest()
    assert sha256("größe") == sha256("größe".encode()) == sha256(iter(["grö".encode(), "ße".encode()])) == whole
    assert sha256("größe", 6) == whole[:6]
    path = tmp_path / "f"
    path.write_bytes("größe".encode())
    assert file_digest(path) == whole


def test_a_folder_for_what_is_written_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with folder_beside(tmp_path / "b") as folder:
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / ".b.x"))

    monkeypatch.setattr("tempfile.TemporaryDirectory", refused)
    with pytest.raises(LaunchError, match="/b cannot be written") as caught, folder_beside(tmp_path / "b"):
        pass
    assert caught.value.why == "Read-only file system"
    with pytest.raises(TimeoutError), writing(tmp_path / "b"):  # of a network
        raise TimeoutError(errno.ETIMEDOUT, "timed out")
