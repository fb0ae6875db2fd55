"""The guard over a cluster's nodes: which ends of nodes end a launch, with what cause, and which do not."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import LaunchError
from tasks.engine.step import Cancel, Report, Stopped
from tasks.facts.facts import Facts
from tasks.k3d import node_watch as module
from tasks.k3d.node_watch import watch_nodes
from tests.given import facts
from tests.programs import Answer, Call, FakePrograms, context, until

SERVER, AGENT = "k3d-openframe-dev-server-0", "k3d-openframe-dev-agent-0"
UNKNOWN_FLAG = 'time="2026-11-24T10:00:09Z" level=fatal msg="kubelet exited: unknown flag: --max-parallelism"'
MAY_PASS = 'time="2026-11-24T10:00:09Z" level=fatal msg="leaderelection lost"'
SOON = 10.0


def event(action: str, node: str = SERVER, *, role: str = "server", at: float = 100.0, **more: str) -> str:
    """A line of `docker events --format {{json .}}` (docker 20.10 and 28: both names of the action)."""
    attributes = {"k3d.role": role, "k3d.cluster": "openframe-dev", "name": node, **more}
    about = {"ID": "9f76b2a69da9", "Attributes": attributes}
    return json.dumps(
        {"status": action, "Type": "container", "Action": action, "Actor": about, "scope": "local",
         "time": int(at), "timeNano": int(at * 1_000_000_000)}
    )  # fmt: skip


def die(node: str = SERVER, code: int = 1, **more: Any) -> str:
    return event("die", node, exitCode=str(code), **more)


@dataclass
class Engine:
    """Docker as the watch sees it: events that tests send, and logs."""

    logs: dict[str, str] = field(default_factory=dict)
    """The end of each node's log."""
    processes: str = "PID CMD\n7 /bin/k3s server --tls-san 127.0.0.1\n8 /bin/k3s kubelet\n"
    """What runs in each node."""
    calls: list[Call] = field(default_factory=list)
    followed: dict[str, list[Call]] = field(default_factory=dict)
    _ready: threading.Event = field(default_factory=threading.Event)

    def programs(self) -> FakePrograms:
        return FakePrograms(
            answers={
                "docker events": self._events,
                "docker logs --follow": self._follow,
                "docker logs --tail": self._tail,
                "docker top": lambda _call: Answer(out=self.processes),
            }
        )

    def send(self, *lines: str) -> None:
        assert self._ready.wait(SOON)
        listen = self.calls[0].listen
        assert listen is not None
        for line in lines:
            listen(line)

    def write(self, node: str, line: str) -> None:
        """A node writes a line into its log."""
        until(lambda: self.followed.get(node))
        listen = self.followed[node][-1].listen
        assert listen is not None
        listen(line)

    def _events(self, asked: Call) -> Answer:
        self.calls.append(asked)
        self._ready.set()
        return self._lasting(asked)

    def _follow(self, asked: Call) -> Answer:
        self.followed.setdefault(asked.command.argv[-1], []).append(asked)
        return self._lasting(asked)

    def _tail(self, asked: Call) -> Answer:
        return Answer(out=self.logs.get(asked.command.argv[-1], ""))

    @staticmethod
    def _lasting(asked: Call) -> Answer:
        assert asked.context is not None
        assert asked.context.cancelled.wait(SOON * 3), "nobody has ended it"
        raise Stopped(asked.context.step)


@dataclass
class Watched:
    """A watch in a thread of its own, as the scheduler runs it."""

    given: Facts
    engine: Engine
    cancelled: Cancel = field(default_factory=Cancel)
    report: Report | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._act, daemon=True)
        self.thread.start()

    def _act(self) -> None:
        try:
            self.report = watch_nodes(self.given, context("cluster: watch the nodes", cancelled=self.cancelled))
        except BaseException as error:  # noqa: BLE001 - it is looked at by the test
            self.error = error

    def end(self) -> Report:
        """The launch is over."""
        self.cancelled.set()
        self.join()
        if self.error is not None:
            raise self.error
        assert self.report is not None
        return self.report

    def join(self) -> None:
        self.thread.join(SOON)
        assert not self.thread.is_alive()

    def died(self) -> LaunchError:
        """The watch ends the launch."""
        self.join()
        assert isinstance(self.error, LaunchError), self.error
        return self.error


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
    result = Watched(facts(tmp_path, engine.programs()), engine)
    yield result
    result.cancelled.set()
    result.join()


def test_nothing_happens(watched: Watched, engine: Engine) -> None:
    until(lambda: engine.calls)
    assert watched.end() == Report(why="no node died")
    (asked,) = engine.calls
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


@pytest.mark.parametrize(("last", "output"), [(UNKNOWN_FLAG, "--max-parallelism"), (MAY_PASS, "too slow")])
def test_its_last_line_is_enough_if_containers_go_on(watched: Watched, engine: Engine, last: str, output: str) -> None:
    """Also of a cause that may pass, since nobody starts k3s again there."""
    engine.logs[SERVER] = f"{STARTED}{last}\n"
    engine.send(event("start"))
    engine.write(SERVER, last)
    error = watched.died()
    assert output in error.what + error.why
    assert not error.transient
    following = engine.followed[SERVER][0].context
    assert following is not None
    assert following.cancelled.is_set()


def test_one_that_comes_back_is_no_failure(watched: Watched, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    engine.logs[SERVER] = f"{STARTED}{MAY_PASS}\n"
    engine.send(event("start"))
    engine.write(SERVER, MAY_PASS)
    engine.send(die(), event("start", at=101.0))
    time.sleep(0.3)
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
def test_a_third_end_is_final(watched: Watched, engine: Engine, twice: bool, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert not fake(watched).calls_of("docker logs --tail")


@pytest.mark.parametrize("removed", [True, False])
def test_nodes_that_are_removed_while_their_log_is_read(tmp_path: Path, removed: bool) -> None:
    """Their log no longer exists, or their removal has been reported."""
    engine = Engine()
    programs = engine.programs()
    given = facts(tmp_path, programs)

    def read(_call: Call) -> Answer:
        given.outputs.removing = not removed
        missing = Answer(code=1, err="Error response from daemon: No such container: x")
        return missing if removed else Answer(out=UNKNOWN_FLAG)

    programs.answers["docker logs --tail"] = read
    result = Watched(given, engine)
    engine.send(die())
    until(lambda: programs.calls_of("docker logs --tail"))
    time.sleep(0.1)
    assert result.end().why == "no node died"


MISSING = "PID CMD\n7 /bin/sh /bin/k3d-entrypoint.sh server --tls-san 127.0.0.1\n9 /bin/k3s kubectl uncordon x\n"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SILENT", 0.05)
    monkeypatch.setattr(module, "_LOOK", 0.02)


@pytest.mark.usefixtures("silent")
def test_k3s_that_was_killed_in_a_container_that_goes_on(watched: Watched, engine: Engine) -> None:
    engine.processes = MISSING
    engine.send(event("start"))
    engine.write(SERVER, STARTED)
    error = watched.died()
    assert f"the node {SERVER} has ended: its k3s was killed" in error.what
    assert error.exit_code == 137
    assert watched.given.outputs.ended == {SERVER: f"k3s in {SERVER} was killed"}


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(
    ("started", "processes"),
    [
        (STARTED, "PID CMD\n7 /bin/k3s server --tls-san 127.0.0.1\n"),
        (STARTED, "PID CMD\n7 k3s-server server\n7 {k3s-server} /bin/k3s server\n"),
        (STARTED, ""),
        ("a line of the entrypoint's own scripts", MISSING),
    ],
    ids=["runs", "has-another-title", "nothing-is-told", "has-not-begun"],
)
def test_a_silent_node_that_lives(watched: Watched, engine: Engine, started: str, processes: str) -> None:
    engine.processes = processes
    engine.send(event("start"))
    engine.write(SERVER, started)
    checks = 3 if started == STARTED else 0
    until(lambda: len(fake(watched).calls_of("docker top")) >= checks)
    time.sleep(0.0 if checks else 0.1)
    assert watched.end().why == "no node died"
    assert bool(fake(watched).calls_of("docker top")) is bool(checks)


@pytest.mark.usefixtures("silent")
def test_one_look_that_finds_nothing_may_have_met_a_restart(watched: Watched, engine: Engine) -> None:
    checks = iter([MISSING])
    fake(watched).answers["docker top"] = lambda _call: Answer(out=next(checks, engine.processes))
    engine.send(event("start"))
    engine.write(SERVER, STARTED)
    until(lambda: len(fake(watched).calls_of("docker top")) >= 3)
    assert watched.end().why == "no node died"


@pytest.mark.parametrize("answer", [Answer(), Answer(err="unexpected EOF", code=1)])
def test_the_engine_ends(tmp_path: Path, answer: Answer) -> None:
    given = facts(tmp_path, FakePrograms(answers={"docker events": answer}))
    with pytest.raises(LaunchError, match="the Docker engine has stopped, or was restarted"):
        watch_nodes(given, context())


def test_a_client_that_a_signal_has_ended_is_not_the_engine(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"docker events": [Answer(code=-15), Answer(code=137), Answer()]})
    with pytest.raises(LaunchError, match="the Docker engine has stopped, or was restarted"):
        watch_nodes(facts(tmp_path, programs), context())
    assert len(programs.calls_of("docker events")) == 3, "only an end without a signal is the engine's"
