"""What a process that is gone has left unfinished is found by its name, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.files import prefix, sweep


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(10)
    return process.pid


def of(pid: int, target: str) -> str:
    return prefix(target).replace(str(os.getpid()), str(pid))


def test_files_and_folders_of_the_dead_go(tmp_path: Path, gone: int) -> None:
    left = tmp_path / f"{of(gone, 'latest.json')}abcdefgh"
    left.write_text("half")
    folder = tmp_path / f"{of(gone, 'chart')}x1_y2z3w"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / f"{of(gone, 'cache')}abcdefgh.yml").touch()
    assert len(sweep(tmp_path)) == 3
    assert list(tmp_path.iterdir()) == []


def test_what_others_have_stays(tmp_path: Path, gone: int) -> None:
    names = {"config", ".config.abcdefgh", ".openframe-notes", "a.openframe-1-b", f"{prefix('config')}abcdefgh"}
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / f"{of(gone, 'config')}abcdefgh").touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names


def test_folders_below_only_where_it_is_said(tmp_path: Path, gone: int) -> None:
    left = tmp_path / "clusters" / "dev" / f"{of(gone, 'complete')}abcdefgh"
    left.parent.mkdir(parents=True)
    left.touch()
    assert sweep(tmp_path) == []
    assert sweep(tmp_path, below=True) == [left]
    assert not left.exists()


def test_the_lock_that_the_dead_held_goes_too(tmp_path: Path, gone: int) -> None:
    own, lock = tmp_path / f"{of(gone, 'config.lock')}abcdefgh", tmp_path / "config.lock"
    own.touch()
    lock.hardlink_to(own)
    assert sweep(tmp_path) == [own]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_another_has_taken_since_stays(tmp_path: Path, gone: int) -> None:
    own, lock = tmp_path / f"{of(gone, 'config.lock')}abcdefgh", tmp_path / "config.lock"
    own.touch()
    lock.touch()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [lock]


def test_a_link_is_removed_and_not_followed(tmp_path: Path, gone: int) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / f"{of(gone, 'chart')}abcdefgh").symlink_to(kept)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert sweep(tmp_path / "none", below=True) == []
