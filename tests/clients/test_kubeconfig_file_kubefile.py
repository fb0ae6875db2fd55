"""kubectl's lock, and files that are written whole."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks.clients import kubeconfig_file
from tasks.clients.kubeconfig_file import locked
from tasks.core.errors import LaunchError
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
    monkeypatch.setattr(kubeconfig_file, "_PATIENCE", 0.2)
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
        "from tasks.clients.kubeconfig_file import locked\n"
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
    monkeypatch.setattr(kubeconfig_file, "_PATIENCE", 0.1)
    with locked(tmp_path / "config"):
        assert (tmp_path / "config.lock").exists()
        with pytest.raises(LaunchError, match="is locked"), locked(tmp_path / "config"):
            pass
    assert list(tmp_path.iterdir()) == []
