"""The guard over a cluster's nodes: a node that dies fails the launch at once, with its cause.

k3d itself only waits for log lines, and reports "context deadline exceeded" minutes later. A node's end
shows in two ways: its container exits, or, while k3d's entrypoint still waits for `kubectl uncordon`,
k3s has ended in a container that keeps running (k3d 5.9, `k3d-entrypoint.sh`): then only its log shows it, or,
if it was killed and has written nothing, its absence from the container's processes.
"""

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.clients import docker
from tasks.core.errors import LaunchError
from tasks.engine.step import Cancel, Context, Report, Stopped
from tasks.facts.facts import Facts
from tasks.process.command import CommandFailed
from tasks.process.programs import Programs

_K3S = re.compile(r"\bk3s(?:-\w+)? (?:server|agent)\b")
"""k3s itself among a node's processes: no other of them has these two words next to each other."""
_PATIENCE = 4.0
"""Seconds in which k3s must be restarted after an end with unknown cause."""
_DEATHS = 3
"""Ends of one node, all with unknown causes, after which it counts as failed."""
_BEFORE = 50_000_000
"""Nanoseconds before the event of its start in which a node may have logged. Docker restarts after 100 ms or more."""
_SILENT = 2.5
"""Seconds without a line in a node's log after which its processes are checked."""
_LOOK = 0.5
"""Seconds between two checks of a silent node; k3s is gone if two checks do not find it."""
_LEAVE = 5.0
"""Seconds for the watch's own threads to end: the programs that they wait for are terminated."""


@dataclass
class Watch:
    """The state of the nodes while they are watched. Thread-safe."""

    programs: Programs
    deliberate: Any
    """Returns whether nodes are being removed on purpose."""
    outer: Context
    ended: dict[str, str] = field(default_factory=dict)
    """Details of nodes that have ended, by name."""
    stop: Cancel = field(default_factory=Cancel)
    verdict: LaunchError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _starts: dict[str, int] = field(default_factory=dict)
    """How often each node was started; 0 or missing: before the watch started."""
    _heard: dict[str, float] = field(default_factory=dict)
    """When each node that runs k3s last wrote a line, or was seen alive (`time.monotonic`)."""
    _deaths: dict[str, set[int]] = field(default_factory=dict)
    """The starts whose end is known, by node: an end shows in the log and as an event, and counts once."""
    _threads: list[threading.Thread] = field(default_factory=list)

    def context(self) -> Context:
        """A context for the programs of this watch: cancelled with it."""
        return Context(step=self.outer.step, deadline=86400.0, cancelled=self.stop)

    def begin(self) -> None:
        """Start checking nodes that fall silent."""
        self._spawn(self._look)

    def event(self, line: str) -> None:
        """Process one line of `docker events`."""
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
            with self._lock:
                start = self._starts[node] = self._starts.get(node, 0) + 1
                self._heard.pop(node, None)
            self._spawn(self._follow, node, start, _since(event))
        elif action == "die" and not self.deliberate():
            self._forget(node)
            self._spawn(self._died, node, self._starts.get(node, 0), int(about.get("exitCode") or 0))

    def close(self) -> None:
        """End everything that this watch has started, and wait for it."""
        self.stop.set()
        end = time.monotonic() + _LEAVE
        while self._threads and (left := end - time.monotonic()) > 0:
            self._threads[0].join(left)
            if not self._threads[0].is_alive():
                self._threads.pop(0)

    def _spawn(self, target: Any, *args: object) -> None:  # noqa: ANN401 - any bound method of this class
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self._lock:
            if self.stop.is_set():
                return
            thread.start()
            self._threads.append(thread)

    def _follow(self, node: str, start: int, since: str) -> None:
        """Read a node's log until it says that k3s exits, or until the node has ended."""
        from tasks.diagnose.node import is_first, is_last

        done = Cancel()
        release = self.stop.call(done.set)

        def listen(line: str) -> None:
            with self._lock:
                if is_first(line) or node in self._heard:
                    self._heard[node] = time.monotonic()
            if is_last(line) and not self.deliberate():
                done.set()
                self._spawn(self._died, node, start, 1)

        try:
            self.programs.run(
                docker.follow(node, since),
                Context(step=self.outer.step, deadline=86400.0, cancelled=done),
                listen=listen,
                quiet=True,
            )
        except (LaunchError, Stopped):
            pass  # the log ends with its node: an event reports that
        finally:
            release()

    def _look(self) -> None:
        """Check nodes that have fallen silent, until the watch ends."""
        missed: dict[str, int] = {}
        while not self.stop.wait(_LOOK):
            with self._lock:
                now = time.monotonic()
                silent = {node: self._starts.get(node, 0) for node, at in self._heard.items() if now - at > _SILENT}
            for node, start in silent.items():
                if self._runs(node):
                    missed.pop(node, None)
                    with self._lock:
                        if node in self._heard:
                            self._heard[node] = time.monotonic()
                    continue
                missed[node] = missed.get(node, 0) + 1
                if missed[node] >= 2:  # the first may be due to a restart
                    self._forget(node)
                    self._killed(node, start)

    def _runs(self, node: str) -> bool:
        """Whether k3s is among a node's processes, as far as the engine shows."""
        try:
            shown = self.programs.run(docker.top(node), self.context(), quiet=True)
        except (LaunchError, Stopped):
            return True  # unknown
        return shown.code != 0 or not shown.out.strip() or _K3S.search(shown.out) is not None

    def _forget(self, node: str) -> None:
        with self._lock:
            self._heard.pop(node, None)

    def _killed(self, node: str, start: int) -> None:
        """k3s is gone from a container that keeps running: nothing restarts it."""
        from tasks.diagnose.node import killed_silently

        with self._lock:
            known = start in self._deaths.get(node, ()) or self._starts.get(node, 0) != start
        if not known and not self.deliberate():
            self.ended[node] = f"k3s in {node} was killed"
            self._decide(killed_silently(node))

    def _died(self, node: str, start: int, code: int) -> None:
        from tasks.diagnose.node import node_death

        try:
            logs = self.programs.run(docker.logs(node), self.context(), quiet=True)
        except (LaunchError, Stopped):
            return
        if self.deliberate():
            return
        error = node_death(node, code, False, logs.out + logs.err)
        self.ended[node] = error.what
        with self._lock:
            ends = self._deaths.setdefault(node, set())
            ends.add(start)
            final = len(ends) >= _DEATHS or not error.transient
        if final or (not self.stop.wait(_PATIENCE) and self._starts.get(node, 0) == start):
            self._decide(error)

    def _decide(self, error: LaunchError) -> None:
        with self._lock:
            if self.verdict is None:
                error.amend(transient=False)
                self.verdict = error
        self.stop.set()


def _since(event: Mapping[str, Any]) -> str:
    """Start of the current life of a node in its log: a resolution of seconds would include its previous last line."""
    nano = int(event.get("timeNano") or int(event.get("time") or 0) * 10**9) - _BEFORE
    return f"{nano // 10**9}.{nano % 10**9:09d}"


def engine_gone() -> LaunchError:
    """The Docker engine has ended during a launch: endless streams from it have ended."""
    return LaunchError(
        "the Docker engine has stopped, or was restarted, in the middle of the launch",
        why="it closed its stream of events, which it does only when it ends itself",
        fix="check that it runs (docker info); `invoke up` continues from here",
    )


def watch_nodes(facts: Facts, context: Context) -> Report | None:
    """Watch until the launch is over; raises the cause of a node's death."""
    watch = Watch(
        programs=facts.programs,
        deliberate=lambda: facts.outputs.removing,
        outer=context,
        ended=facts.outputs.ended,
    )
    release = context.cancelled.call(watch.stop.set)
    watch.begin()
    try:
        while facts.programs.run(docker.events(facts.name), watch.context(), listen=watch.event, quiet=True).code:
            pass  # a signal has ended this client, not the engine: watch again
        if not watch.stop.is_set():
            raise engine_gone()
    except CommandFailed as error:
        if not watch.stop.is_set():
            raise engine_gone() from error
    except Stopped:
        pass
    finally:
        release()
        watch.close()
    if watch.verdict is not None:
        raise watch.verdict
    return Report(why="no node died")
