"""One run at a time: among threads and processes, until the holder lets go or is gone."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.core.errors import FAILED, BadInput
from tasks.core.lock import Held, exclusive_file, held, locked
from tests.given import ROOT

HOLDER = """
import sys, time
from pathlib import Path
from tasks.core.lock import held
with held(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another(path: Path, task: str = "up") -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is signalled."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), task],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clusters" / "openframe-dev.lock"


def test_another_process_holds_it_until_it_is_killed(path: Path) -> None:
    with another(path, "down") as process:
        with pytest.raises(Held) as caught, held(path, "up"):
            pass
        assert caught.value.status == FAILED
        assert f"on 'openframe-dev': process {process.pid} runs 'down' since " in caught.value.what
        assert "--wait-lock" in caught.value.fix
        assert f"kill {process.pid} " in caught.value.fix
        process.send_signal(signal.SIGKILL)
        process.wait(5)
        with held(path, "up") as last:  # what it has left in the file is nobody's any more
            assert last.killed == process.pid
            assert path.read_text(encoding="utf-8").startswith(f"{os.getpid()} up ")


def test_it_is_waited_for(path: Path) -> None:
    with another(path) as process:
        assert process.stdin is not None
        threading.Timer(0.15, lambda: process.communicate("\n")).start()
        begin = time.monotonic()
        with held(path, "up", 20.0):
            assert time.monotonic() - begin > 0.1
        process.wait(5)


def test_the_wait_has_an_end(path: Path) -> None:
    with held(path, "up"):
        begin = time.monotonic()
        with pytest.raises(Held), held(path, "up", 0.2):
            pass
        assert 0.15 < time.monotonic() - begin < 2.0


def test_it_can_be_taken_again(path: Path) -> None:
    for _ in range(2):
        with held(path, "up") as last:
            assert not last.killed
            assert path.read_text(encoding="utf-8")
        assert path.read_text(encoding="utf-8") == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_full_disk_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(BadInput, match="No space left") as caught, held(path, "up"):
        pass
    assert "free space" in caught.value.fix


def test_it_tells_when_somebody_else_last_had_it(path: Path) -> None:
    with held(path, "up") as last:
        assert last.changed == 0.0, "nobody had: the file was made now"
    os.utime(path, (1000.0, 1000.0))
    with held(path, "up") as last:
        assert last.changed == 1000.0
    before = time.time()
    with another(path) as process:
        process.communicate("\n")
    with held(path, "up") as last:
        assert before - 1.0 < last.changed <= time.time()
    with held(path, "registry", shared=True) as last:
        assert last.changed == 0.0


def test_it_is_let_go_when_what_it_protects_fails(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(path, "up"):
        raise ZeroDivisionError
    with held(path, "down"):
        assert " down " in path.read_text(encoding="utf-8")


def test_a_holder_that_has_not_said_who_it_is(path: Path) -> None:
    with held(path, "up"):
        path.write_text("", encoding="utf-8")
        with pytest.raises(Held, match="another process holds it") as caught, held(path, "up"):
            pass
        assert "kill" not in caught.value.fix


@pytest.mark.parametrize(("first", "second", "both"), [(True, True, True), (True, False, False), (False, True, False)])
def test_some_hold_it_beside_each_other(path: Path, first: bool, second: bool, both: bool) -> None:
    with held(path, "registry", shared=first):
        if both:
            with held(path, "registry", shared=second):
                pass
        else:
            with pytest.raises(Held), held(path, "registry", shared=second):
                pass


def test_a_hidden_lock_is_named_without_its_dot(tmp_path: Path) -> None:
    path = tmp_path / ".registries.lock"
    with held(path, "registry"), pytest.raises(Held, match="on 'registries': process"), held(path, "up"):
        pass


@pytest.mark.parametrize(
    ("make", "below", "reason", "fix"),
    [
        (Path.touch, "/up.lock", "File exists", "XDG_STATE_HOME"),  # a folder that is not ours
        (Path.touch, "x" * 300, "File name too long", "XDG_STATE_HOME"),
        (Path.mkdir, "", "Is a directory", "remove {}"),
        (lambda lock: lock.symlink_to("target"), "", "Too many levels of symbolic links", "remove {}"),
    ],
)
def test_a_lock_that_cannot_be_opened(
    tmp_path: Path, make: Callable[[Path], object], below: str, reason: str, fix: str
) -> None:
    make(tmp_path / "a")
    lock = Path(f"{tmp_path}/a{below}")
    with pytest.raises(BadInput, match=f"cannot be opened: {reason}") as caught, held(lock, "up"):
        pass
    assert fix.format(lock) in caught.value.fix
    assert not (tmp_path / "target").exists(), "a link is not followed"


def test_a_file_system_without_locks_is_no_traceback(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(BadInput, match="cannot be taken: No locks available") as caught, held(path, "up"):
        pass
    assert "NFS" in caught.value.why
    assert "XDG_STATE_HOME" in caught.value.fix


def test_a_waiter_may_be_stopped_by_its_own_wait(path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(_seconds: float) -> None:
        raise Stop

    with locked(path), pytest.raises(Stop), locked(path, 20.0, wait=stop):
        pass


def test_a_lock_that_is_a_file_is_gone_afterwards_and_after_a_failure(tmp_path: Path) -> None:
    lock = tmp_path / "config.lock"
    with exclusive_file(lock, 1.0):
        assert lock.exists()
    with pytest.raises(ZeroDivisionError), exclusive_file(lock, 1.0):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_is_waited_for_and_left_where_it_stays(tmp_path: Path) -> None:
    lock = tmp_path / "config.lock"
    lock.touch()
    with pytest.raises(TimeoutError), exclusive_file(lock, 0.1):
        raise AssertionError("it was taken")
    threading.Timer(0.2, lock.unlink).start()
    began = time.monotonic()
    with exclusive_file(lock, 20.0):
        assert time.monotonic() - began >= 0.2


def test_a_file_of_a_killed_run_is_nobodys(tmp_path: Path) -> None:
    source = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tasks.core.lock import exclusive_file\n"
        "with exclusive_file(Path(sys.argv[1]), 1.0):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    lock = tmp_path / "config.lock"
    subprocess.run([sys.executable, "-c", source, str(lock)], cwd=ROOT, check=False)
    assert lock.exists()
    with exclusive_file(lock, 1.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_taken_from_us_is_not_removed(tmp_path: Path) -> None:
    lock = tmp_path / "config.lock"
    with exclusive_file(lock, 1.0):
        lock.unlink()
        lock.touch()
    assert list(tmp_path.iterdir()) == [lock]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    lock = tmp_path / "config.lock"
    with exclusive_file(lock, 1.0):
        assert lock.exists()
        with pytest.raises(TimeoutError), exclusive_file(lock, 0.1):
            pass
    assert list(tmp_path.iterdir()) == []
