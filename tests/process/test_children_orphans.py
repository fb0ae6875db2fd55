"""Programs of a run that was killed are ended by the next one on that cluster; everybody else's go on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.process.children import MARK, end_orphans, mark
from tests.programs import lives, until

HERE = "here"


class Left:
    """Programs that sleep, as a killed run has left them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, list[subprocess.Popen[bytes]]()

    def start(self, name: str, marked: str | None, *, session: bool = True, script: str = "") -> int:
        program = self.folder / name
        program.write_text(f"#!{sys.executable}\n{script}\nimport time\nprint('up', flush=True)\ntime.sleep(60)\n")
        program.chmod(0o700)
        env = {key: value for key, value in os.environ.items() if key != MARK}
        if marked is not None:
            env[MARK] = marked
        process = subprocess.Popen([str(program)], env=env, start_new_session=session, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        self.started.append(process)
        return process.pid


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    result = Left(tmp_path)
    yield result
    for process in result.started:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def test_it_ends(left: Left, tmp_path: Path, ended_pid: int) -> None:
    lock = tmp_path / "dev.lock"
    pid = left.start("k3d", mark(lock, HERE, ended_pid))
    assert end_orphans(mark(lock, HERE, ended_pid)) == [pid]
    assert not lives(pid)


def test_deaf_ones_are_killed(left: Left, tmp_path: Path, ended_pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.process.children._PATIENCE", 0.1)
    lock = tmp_path / "dev.lock"
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    pid = left.start("helm", mark(lock, HERE, ended_pid), script=deaf)
    assert end_orphans(mark(lock, HERE, ended_pid)) == [pid]
    until(lambda: not lives(pid), 5)


@pytest.mark.parametrize(
    "case", ["another cluster", "alive", "another run", "another place", "no mark", "not our program", "no leader"]
)
def test_others_go_on(left: Left, tmp_path: Path, ended_pid: int, case: str) -> None:
    lock = tmp_path / "dev.lock"
    marked = {
        "another cluster": mark(tmp_path / "dev-2.lock", HERE, ended_pid),
        "alive": mark(lock, HERE, os.getpid()),
        "another run": mark(lock, HERE, ended_pid + 1),  # what that has left on purpose, such as a port-forward
        "another place": mark(lock, "elsewhere", ended_pid),  # a container's numbers are others
        "no mark": None,
    }.get(case, mark(lock, HERE, ended_pid))
    pid = left.start("agent" if case == "not our program" else "kubectl", marked, session=case != "no leader")
    assert end_orphans(mark(lock, HERE, ended_pid)) == []
    assert lives(pid)
