"""How the user's kubeconfig is written: through links, with its mode, by several at once, and where rights are few."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.clients import kubeconfig
from tasks.clients.kubeconfig import has_entry, merge, unwritable
from tasks.core.errors import BadInput, LaunchError
from tests.clients.test_kubeconfig import NODE, config, entry, read
from tests.given import ROOT

__all__ = ["config"]


def test_a_link_stays_a_link_and_modes_stay(tmp_path: Path, config: Path) -> None:
    (tmp_path / "home").mkdir()
    link = tmp_path / "home" / "config"
    link.symlink_to("../config")
    config.chmod(0o640)
    assert merge(link, entry())
    assert link.is_symlink()
    assert has_entry(config, entry())
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config", "config", "home"]


@pytest.mark.parametrize("where", ["link", "file"])
def test_locks_of_a_link_and_a_file(tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """kubectl locks the name that it was given; who was given another name for the same file locks that one."""
    monkeypatch.setattr(kubeconfig, "_PATIENCE", 0.1)
    link = tmp_path / "link"
    link.symlink_to(config)
    lock = tmp_path / ("link.lock" if where == "link" else "config.lock")
    lock.touch()
    with pytest.raises(LaunchError, match="locked"):
        merge(link, entry())
    assert not has_entry(config, entry())
    lock.unlink()
    assert merge(link, entry())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "link"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be written") as caught:
        merge(tmp_path / "file" / "config", entry())
    assert "kubeconfig.merge=false" in caught.value.fix


WRITER = """
import sys
import threading
from pathlib import Path
from tasks.clients.kubeconfig import merge, private, remove, switch
path, number, node = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
for name in (f"gone-{number}", f"kept-{number}"):
    merge(path, private(node, name, "https://127.0.0.1:1"))
    switch(path, f"k3d-{name}")
remove(path, f"k3d-gone-{number}")
"""


def test_eight_processes_write_at_once(config: Path) -> None:
    before = read(config)
    command = [sys.executable, "-c", WRITER, str(config)]
    running = [subprocess.Popen([*command, str(number), NODE], cwd=ROOT, stderr=subprocess.PIPE) for number in range(8)]
    errors = [each.communicate(timeout=60)[1] for each in running]
    assert errors == [b""] * 8
    after = read(config)
    for part, form in (("clusters", "k3d-kept-{}"), ("contexts", "k3d-kept-{}"), ("users", "admin@k3d-kept-{}")):
        assert after[part][: len(before[part])] == before[part]
        ours = [row["name"] for row in after[part][len(before[part]) :]]
        assert sorted(ours) == sorted(form.format(number) for number in range(8))
    assert list(config.parent.iterdir()) == [config]


def test_whether_a_file_can_be_written_shows_without_trying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "none" / "config"
    assert unwritable(config, "k3d-dev") == ""
    allowed = {"file": True, "folder": True}
    monkeypatch.setattr(os, "access", lambda path, _mode: allowed["file" if Path(path).is_file() else "folder"])
    config.parent.mkdir()
    config.touch()
    for file, folder, output in ((True, False, ""), (False, True, ""), (False, False, os.strerror(errno.EACCES))):
        allowed.update(file=file, folder=folder)
        assert unwritable(config, "k3d-dev") == output


def test_without_write_access_to_its_folder_no_lock_is_created(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) == config)

    def refused(_target: Path) -> tuple[int, Path]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tasks.core.files.unfinished", refused)
    monkeypatch.setattr("tasks.core.lock.unfinished", refused)
    inode = config.stat().st_ino
    assert merge(config, entry())
    assert has_entry(config, entry())
    assert config.stat().st_ino == inode


def test_two_that_write_in_place_exclude_each_other(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "_PATIENCE", 20.0)
    with config.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=merge, args=(config, entry()))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        assert not has_entry(config, entry())
    waiting.join(20)
    assert has_entry(config, entry())
