"""Queries to the engine that are started ahead: once each, and never used for longer than they are true."""

import os
import time
from pathlib import Path

import pytest
from invoke.context import Context as Invoked

from tasks.core.errors import BadInput
from tasks.core.lock import held
from tasks.facts.cluster import Presence
from tasks.process.children import CHILDREN
from tasks.run.engine_queries import EngineQueries
from tasks.run.gather import gather
from tasks.run.session import Session
from tasks.run.task import Options, run_task, task
from tests.given_engine import Machine


def queried(session: Session) -> EngineQueries:
    """Asked, and answered."""
    session.queries = queries = EngineQueries(session)
    assert queries.creation is not None
    for each in (queries.engine, queries.creation.registries, queries.creation.published, queries.creation.images):
        each.result(5)
    return queries


def left(session: Session) -> EngineQueries | None:
    return session.queries


def lines(machine: Machine) -> list[str]:
    return [line.split(" --format")[0] for line in machine.programs.lines]


# -- what is asked ------------------------------------------------------------------------------------------


def test_gather_uses_the_answers_and_queries_nothing_again(machine: Machine) -> None:
    session = machine.session()
    queried(session)
    before = sorted(lines(machine))
    gather(session, ())
    assert left(session) is None, "the next one queries again"
    assert sorted(lines(machine)) == before
    gather(session, ())
    assert sorted(lines(machine)) == sorted([*before, *before])


def test_ports_are_asked_only_for_a_cluster_that_has_yet_to_be_made(machine: Machine) -> None:
    gather(machine.session(), ())
    assert "docker ps --no-trunc" in lines(machine)
    machine.make()
    machine.programs.calls.clear()
    assert gather(machine.session(), ()).cluster.presence is Presence.RUNNING
    assert "docker ps --no-trunc" not in lines(machine)


def test_parts_inside_a_cluster_query_only_what_they_use(machine: Machine) -> None:
    machine.make()
    everything = len(lines(machine))
    gather(machine.session(), ())
    everything = len(lines(machine)) - everything
    machine.programs.calls.clear()
    gather(machine.session(), ("secrets",))
    assert not [line for line in lines(machine) if line.startswith("docker image")]
    assert len(lines(machine)) < everything


# -- how long an answer holds -------------------------------------------------------------------------------


@pytest.mark.parametrize(("changed", "again"), [(-60.0, False), (0.001, True), (60.0, True)])
def test_answers_of_before_another_run_ended_are_dropped(machine: Machine, changed: float, again: bool) -> None:
    session = machine.session()
    with held(session.lock, "down"):
        pass
    moment = queried(session).started + changed
    os.utime(session.lock, (moment, moment))
    with session.locked():
        assert (left(session) is None) is again
    session.cancel_queries()


def test_answers_are_dropped_after_a_run_that_was_killed(machine: Machine) -> None:
    session = machine.session()
    session.lock.parent.mkdir(parents=True)
    session.lock.write_text("1 up 00:00:00\n")
    os.utime(session.lock, (1000.0, 1000.0))
    queried(session)
    with session.locked():
        assert left(session) is None


def test_the_first_run_of_all_keeps_them(machine: Machine) -> None:
    session = machine.session()
    queried(session)
    with session.locked():
        assert left(session) is not None
    session.cancel_queries()


# -- by a task ----------------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker that records its calls, and hangs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    docker = folder / "docker"
    docker.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\nexec sleep 60\n')
    docker.chmod(0o755)
    for name in list(os.environ):
        if name.startswith(("DOCKER", "K3D", "OPENFRAME", "CLUSTER")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path / "asked"


def wait_for(file: Path, count: int) -> None:
    end = time.monotonic() + 10
    while not file.exists() or len(file.read_text().split()) < count:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_task_that_asks_ahead_ends_what_hangs(engine: Path) -> None:
    def body(session: Session) -> None:
        session.queries = EngineQueries(session)
        wait_for(engine, 3)
        raise BadInput("it ends", why="for a reason", fix="do that")

    try:
        assert run_task(Options(task="up"), body) == 2
        assert set(engine.read_text().split()) == {"info", "ps"}
        assert not CHILDREN.alive()
    finally:
        CHILDREN.open()


def test_another_engine_is_not_asked(engine: Path) -> None:
    seen: list[EngineQueries | None] = []

    @task(query_ahead=True)
    def probe(session: Session) -> None:
        """One that would ask."""
        seen.append(left(session))

    probe.body(Invoked(), engine="existing", context="theirs")
    assert seen == [None]
    assert not engine.exists()
