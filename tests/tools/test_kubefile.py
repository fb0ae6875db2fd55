"""kubectl's lock, and files that are written whole."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks.errors import LaunchError
from tasks.tools import kubefile
from tasks.tools.kubefile import locked, replace
from tests.given import ROOT


def test_the_lock_is_kubectls_own_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "config"
    with locked(path):
        assert (tmp_path / "config.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_gone_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "config"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "config.lock"
    lock.touch()
    threading.Timer(0.2, lock.unlink).start()
    began = time.monotonic()
    with locked(tmp_path / "config"):
        assert time.monotonic() - began >= 0.2


def test_a_lock_that_stays_is_told_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubefile, "_PATIENCE", 0.2)
    lock = tmp_path / "my config.lock"
    lock.touch()
    with pytest.raises(LaunchError, match="is locked by another program") as caught, locked(tmp_path / "my config"):
        raise AssertionError("it was taken")
    assert f"rm '{lock}'" in caught.value.fix
    assert caught.value.transient
    assert lock.exists()


def test_a_lock_of_a_killed_run_of_ours_is_nobodys(tmp_path: Path) -> None:
    source = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tasks.tools.kubefile import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "config"
    killed = subprocess.run([sys.executable, "-c", source, str(path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "config.lock").exists()
    with locked(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    monkeypatch.setattr(kubefile, "_PATIENCE", 0.1)
    with locked(tmp_path / "config"):
        assert (tmp_path / "config.lock").exists()
        with pytest.raises(LaunchError, match="is locked"), locked(tmp_path / "config"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    replace(tmp_path / "config", "ä")
    assert (tmp_path / "config").read_text(encoding="utf-8") == "ä"
    assert stat.S_IMODE((tmp_path / "config").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
def test_mode_and_owner_stay(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "config"
    path.write_text("old")
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    before = path.stat()
    replace(path, "new")
    after = path.stat()
    assert path.read_text() == "new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    path.write_text("old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
