"""The guard over a cluster's nodes: a node that dies ends the launch when it dies, with its cause.

k3d itself only waits for log lines, and says "context deadline exceeded" minutes later. A node's end
shows in two ways: its container exits, or, where k3d's entrypoint still waits for `kubectl uncordon`,
k3s has ended in a container that goes on (k3d 5.9, `k3d-entrypoint.sh`): then only its log tells.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.causes.node_death import is_last, node_death
from tasks.engine.step import Action, Cancel, Context, Report, Stopped
from tasks.errors import LaunchError
from tasks.situation import Situation
from tasks.tools import docker
from tasks.tools.program import Programs

_PATIENCE = 4.0
"""Seconds that k3s has to be started again after an end whose cause is not known."""
_DEATHS = 3
"""Ends of one node, none of a known cause, after which it is not coming back."""


@dataclass
class Watch:
    """What is known of the nodes while they are watched. Thread-safe."""

    programs: Programs
    cluster: str
    deliberate: Any
    """Says whether nodes are being removed on purpose."""
    outer: Context
    stop: Cancel = field(default_factory=Cancel)
    verdict: LaunchError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _deaths: dict[str, int] = field(default_factory=dict)
    _followed: set[str] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)

    def context(self) -> Context:
        """A context for the programs of this watch: ended with it."""
        return Context(step=self.outer.step, deadline=86400.0, cancelled=self.stop)

    def event(self, line: str) -> None:
        """One line of `docker events`."""
        try:
            event = json.loads(line)
        except ValueError:
            return
        about: Mapping[str, str] = (event.get("Actor") or {}).get("Attributes") or {}
        if about.get("k3d.role") not in ("server", "agent"):
            return
        node = about.get("name", "")
        action = event.get("Action") or event.get("status")
        if action == "start":
            self._spawn(self._follow, node, str(event.get("time", 0)))
        elif action == "die" and not self.deliberate():
            self._spawn(self._died, node, int(about.get("exitCode") or 0))

    def _spawn(self, target: Any, *args: object) -> None:  # noqa: ANN401 - any bound method of this class
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _follow(self, node: str, since: str) -> None:
        """Read a node's log until it says that it is up, or that it ends."""
        with self._lock:
            if node in self._followed:
                return
            self._followed.add(node)
        done = Cancel()
        release = self.stop.call(done.set)

        def listen(line: str) -> None:
            if is_last(line) and not self.deliberate():
                done.set()
                self._spawn(self._died, node, 1)

        try:
            self.programs.run(
                docker.follow(node, since),
                Context(step=self.outer.step, deadline=86400.0, cancelled=done),
                listen=listen,
                quiet=True,
            )
        except (LaunchError, Stopped):
            pass  # the log ends with its node: the event says so
        finally:
            release()
            with self._lock:
                self._followed.discard(node)

    def _died(self, node: str, code: int) -> None:
        try:
            logs = self.programs.run(docker.logs(node), self.context(), quiet=True)
        except (LaunchError, Stopped):
            return
        if self.deliberate():
            return
        error = node_death(node, code, False, logs.out + logs.err)
        with self._lock:
            self._deaths[node] = self._deaths.get(node, 0) + 1
            often = self._deaths[node] >= _DEATHS
        hopeless = often or not error.transient
        if hopeless or (not self.stop.wait(_PATIENCE) and node not in self._followed):
            self._decide(error)

    def _decide(self, error: LaunchError) -> None:
        with self._lock:
            if self.verdict is None:
                error.transient = False
                self.verdict = error
        self.stop.set()


def watching(situation: Situation) -> Action:
    """Watch until the launch is over; raises what a node died of."""

    def act(context: Context) -> Report | None:
        watch = Watch(
            programs=situation.programs,
            cluster=situation.name,
            deliberate=lambda: situation.handover.removing,
            outer=context,
        )
        release = context.cancelled.call(watch.stop.set)
        try:
            situation.programs.run(docker.events(situation.name), watch.context(), listen=watch.event, quiet=True)
        except Stopped:
            pass
        finally:
            release()
            watch.stop.set()
        if watch.verdict is not None:
            raise watch.verdict
        return Report(why="no node died")

    return act
