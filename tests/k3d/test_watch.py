"""The guard over a cluster's nodes: which ends of nodes end a launch, with what cause, and which do not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core.errors import LaunchError
from tasks.engine.step import Report
from tasks.k3d import watch as module
from tasks.k3d.watch import watch_nodes
from tests.cluster.watched import AGENT, MAY_PASS, SERVER, UNKNOWN_FLAG, Engine, Watched, die, event, until
from tests.given import context, facts
from tests.programs import Answer, Asked, FakePrograms

STARTED = 'time="2026-11-24T10:00:00Z" level=info msg="Starting k3s v1.32.3+k3s1 (079ffa8d)"\n'


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    """Threads of the watch end with it."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) - before == set()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def watched(tmp_path: Path, engine: Engine) -> Iterator[Watched]:
    made = Watched(facts(tmp_path, engine.programs()), engine)
    yield made
    made.cancelled.set()
    made.join()


def test_nothing_happens(watched: Watched, engine: Engine) -> None:
    until(lambda: engine.told)
    assert watched.end() == Report(why="no node died")
    (asked,) = engine.told
    assert "label=k3d.cluster=openframe-dev" in asked.command.argv
    assert asked.quiet


def test_a_node_starts_and_its_log_is_read_from_then_on(watched: Watched, engine: Engine) -> None:
    engine.send(event("start", at=100.25))
    until(lambda: engine.followed.get(SERVER))
    engine.write(SERVER, STARTED)
    engine.write(SERVER, 'level=error msg="something that passes"')
    assert watched.end().why == "no node died"
    assert engine.followed[SERVER][0].line == f"docker logs --follow --since 100.200000000 {SERVER}"


@pytest.mark.parametrize(
    "line",
    [
        "not json at all",
        "{}",
        json.dumps({"Action": "die", "Actor": None}),
        event("die", "k3d-openframe-dev-serverlb", role="loadbalancer"),
        event("die", "k3d-openframe-dev-tools", role="noRole"),
        event("die", "k3d-openframe-registry", role="registry"),
        event("oom"),
        event("exec_create: sh"),
    ],
)
def test_what_is_no_end_of_a_node(watched: Watched, engine: Engine, line: str) -> None:
    engine.send(line)
    assert watched.end().why == "no node died"
    assert engine.followed == {}


@pytest.mark.parametrize("key", ["Action", "status"])
def test_a_node_that_dies_of_a_known_cause_ends_the_launch_at_once(
    watched: Watched, engine: Engine, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 60.0)
    engine.logs[AGENT] = f"{STARTED}{UNKNOWN_FLAG}\n"
    line = json.loads(die(AGENT, role="agent"))
    engine.send(json.dumps({name: value for name, value in line.items() if name in {key, "Actor", "time"}}))
    error = watched.died()
    assert error is not None
    assert error.cause == "component-flag"
    assert "--max-parallelism" in str(error)
    assert AGENT in error.what
    assert not error.transient  # the guard itself is not tried again


@pytest.mark.parametrize(("last", "says"), [(UNKNOWN_FLAG, "--max-parallelism"), (MAY_PASS, "too slow")])
def test_its_last_line_is_enough_where_the_container_goes_on(
    watched: Watched, engine: Engine, last: str, says: str
) -> None:
    """Also of a cause that may pass, since nobody starts k3s again there."""
    engine.logs[SERVER] = f"{STARTED}{last}\n"
    engine.send(event("start"))
    engine.write(SERVER, last)
    error = watched.died()
    assert says in error.what + error.why
    assert not error.transient
    following = engine.followed[SERVER][0].context
    assert following is not None
    assert following.cancelled.is_set()


def test_one_that_comes_back_is_no_failure(watched: Watched, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.3)
    engine.logs[SERVER] = f"{STARTED}{MAY_PASS}\n"
    engine.send(event("start"))
    engine.write(SERVER, MAY_PASS)
    engine.send(die(), event("start", at=101.0))
    time.sleep(0.4)
    assert watched.end().why == "no node died"
    assert [each.command.argv[4] for each in engine.followed[SERVER]] == ["99.950000000", "100.950000000"]


@pytest.mark.parametrize(("before", "code"), [(False, 0), (True, 137)])
def test_one_that_does_not_come_back_in_time_is(watched: Watched, engine: Engine, before: bool, code: int) -> None:
    """Whether it started before the watch or since."""
    engine.send(*([] if before else [event("start")]), die(code=code))
    error = watched.died()
    assert ("memory" if code else f"the node {SERVER} has ended with code 0") in error.what
    assert (error.exit_code or 0) == code
    assert code or error.fix == f"docker logs {SERVER}"


@pytest.mark.parametrize("twice", [False, True], ids=["event", "event-and-log"])
def test_the_third_end_of_a_node_is_the_last(
    watched: Watched, engine: Engine, twice: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end that shows in the log and as an event is one end."""
    monkeypatch.setattr(module, "_PATIENCE", 60.0)
    engine.logs[SERVER] = f"{STARTED}{MAY_PASS}\n"

    def asked() -> int:
        return len([call for call in fake(watched).calls if "--tail" in call.line])

    for number in range(1, 4):
        engine.send(event("start", at=100.0 + number))
        until(lambda number=number: len(engine.followed.get(SERVER, [])) == number)  # type: ignore[misc]
        before = asked()
        if twice:
            engine.write(SERVER, MAY_PASS)
        engine.send(die())
        until(lambda before=before: asked() == before + 1 + twice or not watched.thread.is_alive())  # type: ignore[misc]
        if number < 3:
            time.sleep(0.02)
            assert watched.thread.is_alive(), f"given up after {number}"
    assert "too slow" in watched.died().what


def fake(watched: Watched) -> FakePrograms:
    assert isinstance(watched.given.programs, FakePrograms)
    return watched.given.programs


def test_nodes_that_are_removed_on_purpose(watched: Watched, engine: Engine) -> None:
    engine.logs[SERVER] = UNKNOWN_FLAG
    engine.send(event("start"))
    until(lambda: engine.followed.get(SERVER))
    watched.given.outputs.removing = True
    engine.send(die(code=137))
    engine.write(SERVER, UNKNOWN_FLAG)
    time.sleep(0.1)
    assert watched.end().why == "no node died"
    assert not fake(watched).told("docker logs --tail")


@pytest.mark.parametrize("removed", [True, False])
def test_nodes_that_are_removed_while_their_log_is_read(tmp_path: Path, removed: bool) -> None:
    """Their log is gone, or their removal has been told of."""
    engine = Engine()
    programs = engine.programs()
    given = facts(tmp_path, programs)

    def read(_asked: Asked) -> Answer:
        given.outputs.removing = not removed
        gone = Answer(code=1, err="Error response from daemon: No such container: x")
        return gone if removed else Answer(out=UNKNOWN_FLAG)

    programs.answers["docker logs --tail"] = read
    made = Watched(given, engine)
    engine.send(die())
    until(lambda: programs.told("docker logs --tail"))
    time.sleep(0.1)
    assert made.end().why == "no node died"


GONE = "PID CMD\n7 /bin/sh /bin/k3d-entrypoint.sh server --tls-san 127.0.0.1\n9 /bin/k3s kubectl uncordon x\n"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENT", 0.05)
    monkeypatch.setattr(module, "_LOOK", 0.02)


@pytest.mark.usefixtures("silent")
def test_k3s_that_was_killed_in_a_container_that_goes_on(watched: Watched, engine: Engine) -> None:
    engine.processes = GONE
    engine.send(event("start"))
    engine.write(SERVER, STARTED)
    error = watched.died()
    assert f"the node {SERVER} has ended: its k3s was killed" in error.what
    assert error.exit_code == 137
    assert watched.given.outputs.ended == {SERVER: f"k3s in {SERVER} was killed"}


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(
    ("begun", "processes"),
    [
        (STARTED, "PID CMD\n7 /bin/k3s server --tls-san 127.0.0.1\n"),
        (STARTED, "PID CMD\n7 k3s-server server\n7 {k3s-server} /bin/k3s server\n"),
        (STARTED, ""),
        ("a line of the entrypoint's own scripts", GONE),
    ],
    ids=["runs", "has-another-title", "nothing-is-told", "has-not-begun"],
)
def test_a_silent_node_that_lives(watched: Watched, engine: Engine, begun: str, processes: str) -> None:
    engine.processes = processes
    engine.send(event("start"))
    engine.write(SERVER, begun)
    time.sleep(0.3)
    assert watched.end().why == "no node died"
    assert bool(fake(watched).told("docker top")) is (begun == STARTED)


@pytest.mark.usefixtures("silent")
def test_one_look_that_finds_nothing_may_have_met_a_restart(watched: Watched, engine: Engine) -> None:
    looks = iter([GONE])
    fake(watched).answers["docker top"] = lambda _asked: Answer(out=next(looks, engine.processes))
    engine.send(event("start"))
    engine.write(SERVER, STARTED)
    until(lambda: len(fake(watched).told("docker top")) >= 3)
    assert watched.end().why == "no node died"


@pytest.mark.parametrize("answer", [Answer(), Answer(err="unexpected EOF", code=1)])
def test_the_engine_ends(tmp_path: Path, answer: Answer) -> None:
    given = facts(tmp_path, FakePrograms(answers={"docker events": answer}))
    with pytest.raises(LaunchError, match="the Docker engine has stopped, or was restarted"):
        watch_nodes(given, context())
