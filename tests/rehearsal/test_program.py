"""Stand-ins in the process that calls them behave as programs do; as programs they do the same."""

import threading
import time
from pathlib import Path

import pytest

from tasks.engine.step import Cancel, Context, Stopped
from tasks.process.children import CHILDREN
from tasks.process.command import Command, CommandFailed, DeadlinePassed
from tasks.process.programs import Programs
from tasks.process.runner import run_process
from tasks.rehearsal.faults import write
from tasks.rehearsal.folder import VARIABLE, Folder, prepare
from tasks.rehearsal.program import starter
from tests.rehearsal.played import Played

EVENTS = Command(argv=("docker", "events"), deadline=60.0)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    prepare(tmp_path)
    (tmp_path / "times.json").write_text('{"scale": 0}')
    return Folder(tmp_path)


@pytest.fixture
def programs(folder: Folder) -> Programs:
    env = {VARIABLE: str(folder.root), "PATH": "/usr/bin:/bin"}
    return Programs(folder=folder.bin, env=env, start=starter(folder.bin))


def fault(folder: Folder, name: str, target: str, **more: float) -> None:
    write(folder, [{"name": name, "target": target, **more}])


def test_both_say_the_same(programs: Programs, folder: Folder) -> None:
    as_programs = Programs(folder=folder.bin, env=programs.env)
    for line in ("docker volume create one", "docker volume ls", "docker info --odd", "k3d version", "helm"):
        argv = tuple(line.split())
        command = Command(argv=argv, ok=(0, 1, 125))
        here, there = programs.run(command), as_programs.run(command)
        assert (here.code, here.out, here.err) == (there.code, there.out, there.err), argv


@pytest.mark.parametrize("after", [{}, {"after": 0.0}])
def test_one_that_is_killed(after: dict[str, float], programs: Programs, folder: Folder) -> None:
    fault(folder, "killed", "pull", **after)
    for start in (programs.start, run_process):
        with pytest.raises(CommandFailed) as caught:
            Programs(folder=folder.bin, env=programs.env, start=start).run(Command(argv=("docker", "pull", "a:1")))
        assert caught.value.exit_code == -9
    assert folder.engine.read()["images"] == {}


def test_one_that_hangs_ends_at_its_deadline(programs: Programs, folder: Folder) -> None:
    fault(folder, "hangs", "pull")
    received: list[str] = []
    with pytest.raises(DeadlinePassed):
        programs.run(Command(argv=("docker", "pull", "a:1"), deadline=0.05), listen=received.append)
    assert received == ["1: Pulling from library/a"]


def test_one_that_goes_on_is_ended_on_demand(programs: Programs) -> None:
    cancelled = Cancel()
    threading.Timer(0.05, cancelled.set).start()
    begin = time.monotonic()
    with pytest.raises(Stopped):
        programs.run(EVENTS, Context(step="watch", deadline=60.0, cancelled=cancelled))
    assert time.monotonic() - begin < 30


def test_one_ends_with_the_process_that_called_it(programs: Programs) -> None:
    threading.Timer(0.05, CHILDREN.close, [0.0]).start()
    with pytest.raises(CommandFailed):
        programs.run(EVENTS)


def test_an_error_of_a_listener_ends_it(programs: Programs) -> None:
    def listen(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="Pulling from library/a"):
        programs.run(Command(argv=("docker", "pull", "a:1")), listen=listen)


def test_other_programs_and_those_with_their_own_folder_are_processes(programs: Programs, tmp_path: Path) -> None:
    assert programs.run(Command(argv=("sh", "-c", "echo one"))).out == "one\n"
    output = programs.run(Command(argv=("docker", "volume", "create", "one"), cwd=tmp_path))
    assert output.out == "one\n"


@pytest.mark.whole
def test_a_launch_by_programs_is_one_in_process(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tasks.rehearsal.backend.starter", lambda _folder: run_process)
        assert played.run() == 0
        assert set(played.states().values()) == {"ran"}
    assert played.run() == 0
    assert set(played.states().values()) == {"skipped"}
