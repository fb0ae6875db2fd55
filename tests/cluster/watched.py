"""A watch in a thread of its own, and an engine whose events and logs the tests write."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tasks.core.errors import LaunchError
from tasks.engine.step import Cancel, Report, Stopped
from tasks.facts.facts import Facts
from tasks.k3d.watch import watch_nodes
from tests.given import context
from tests.programs import Answer, Asked, FakePrograms

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
    told: list[Asked] = field(default_factory=list)
    followed: dict[str, list[Asked]] = field(default_factory=dict)
    _ready: threading.Event = field(default_factory=threading.Event)

    def programs(self) -> FakePrograms:
        return FakePrograms(
            answers={
                "docker events": self._events,
                "docker logs --follow": self._follow,
                "docker logs --tail": self._tail,
                "docker top": lambda _asked: Answer(out=self.processes),
            }
        )

    def send(self, *lines: str) -> None:
        assert self._ready.wait(SOON)
        listen = self.told[0].listen
        assert listen is not None
        for line in lines:
            listen(line)

    def write(self, node: str, line: str) -> None:
        """A node writes a line into its log."""
        until(lambda: self.followed.get(node))
        listen = self.followed[node][-1].listen
        assert listen is not None
        listen(line)

    def _events(self, asked: Asked) -> Answer:
        self.told.append(asked)
        self._ready.set()
        return self._lasting(asked)

    def _follow(self, asked: Asked) -> Answer:
        self.followed.setdefault(asked.command.argv[-1], []).append(asked)
        return self._lasting(asked)

    def _tail(self, asked: Asked) -> Answer:
        return Answer(out=self.logs.get(asked.command.argv[-1], ""))

    @staticmethod
    def _lasting(asked: Asked) -> Answer:
        assert asked.context is not None
        assert asked.context.cancelled.wait(SOON * 3), "nobody has ended it"
        raise Stopped(asked.context.step)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.002)


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
