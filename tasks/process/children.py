"""The registry of living children: each leads its own process group, and all end together."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psutil import Process


class Children:
    """Process groups that are alive. Thread-safe.

    A group is known from the start of its leader until that has been waited for, and, where it was told to end,
    until nobody of it is left: a number that is known here is no other process's.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._groups: set[int] = set()
        self._ending: set[int] = set()
        self._closed = False

    def add(self, group: int) -> None:
        """Register a group; one that comes after `close` is ended at once."""
        with self._changed:
            self._groups.add(group)
            if self._closed:
                self._ending.add(group)
                self.signal(group, signal.SIGKILL)

    def remove(self, group: int) -> None:
        """A group's leader has been waited for."""
        with self._changed:
            self._groups.discard(group)
            self._ending.discard(group)
            self._changed.notify_all()

    def alive(self) -> frozenset[int]:
        """The groups that are known."""
        with self._changed:
            return frozenset(self._groups)

    def end(self, group: int) -> None:
        """TERM to a whole group; one that is not known any more is left alone."""
        with self._changed:
            if group in self._groups:
                self._ending.add(group)
                self.signal(group, signal.SIGTERM)

    def ending(self, group: int) -> bool:
        """Whether the group was told to end."""
        with self._changed:
            return group in self._ending

    @staticmethod
    def exists(group: int) -> bool:
        """Whether anybody of a group lives whom we may signal; who only waits to be waited for does not.

        Such dead ones stay for ever where the first process of a container waits for nobody.
        """
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return False
        import psutil

        for pid in psutil.pids():
            with contextlib.suppress(OSError, psutil.Error):
                if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    return True
        return False

    @staticmethod
    def signal(group: int, number: int) -> None:
        """Signal a whole group; one that is gone already is no error."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)

    def stop(self, seconds: float) -> bool:
        """TERM to all, one shared deadline, then KILL; says whether TERM was enough."""
        end = time.monotonic() + seconds
        for group in self.alive():
            self.end(group)
        with self._changed:
            while self._groups and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            for group in self._groups:
                self.signal(group, signal.SIGKILL)
            return not self._groups

    def close(self, seconds: float) -> None:
        """Stop all, and let none live that is started later."""
        with self._changed:
            self._closed = True
        self.stop(seconds)

    @property
    def closed(self) -> bool:
        """Whether none may live any more."""
        return self._closed

    def open(self) -> None:
        """Let children live again: another task of the same process begins."""
        with self._changed:
            self._closed = False


CHILDREN = Children()
"""The registry of this process."""


MARK = "OPENFRAME_RUN"
"""The variable by which a program's environment says whose it is."""
_OURS = frozenset({"docker", "k3d", "kubectl", "helm"})
"""What may be ended. What these have started on (an agent that keeps a passphrase) leads a group of its own."""
_PATIENCE = 2.0
"""Seconds between TERM and KILL."""
_LOOK = 0.02
"""Seconds between two looks whether they are gone: who is nobody's child tells nobody of its end."""


def mark(lock: Path, place: str, pid: int) -> str:
    """The mark of a process's programs, at work under a lock. `place`: where its number means something."""
    return f"{pid} {place} {lock}"


def end_orphans(marked: str) -> list[int]:
    """End what a process that was killed has left at work, by its mark, under a lock that we hold; their groups.

    What an earlier run has left on purpose (a port-forward of a step of the user's own) goes on, and so does what runs
    in a container, whose numbers are others. A program of another user, or one whose environment the system does not
    show, is left alone.
    """
    import psutil

    found = [group for process in psutil.process_iter() if (group := _orphan(process, marked)) is not None]
    for group in found:
        Children.signal(group, signal.SIGTERM)
    last = time.monotonic() + _PATIENCE
    while (left := [group for group in found if Children.exists(group)]) and time.monotonic() < last:
        time.sleep(_LOOK)
    for group in left:
        Children.signal(group, signal.SIGKILL)
    return found


def _orphan(process: Process, marked: str) -> int | None:
    """The process group that it leads, if it is one."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        if process.environ().get(MARK, "") != marked:
            return None
        named = {Path(word).name for word in process.cmdline()[:3]}  # a script's own name comes after its interpreter's
        if named & _OURS and os.getpgid(process.pid) == process.pid and process.pid not in CHILDREN.alive():
            return process.pid
    return None


_WRITABLE = 0o022
"""Rights of group and others that nothing of ours is made with; what is private gets its own mode besides."""


def close() -> None:
    """No core dump from here on: one would hold every secret that was read. And no files that others could write."""
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    # 1 and not 0: a limit of 0 does not keep Linux from handing the dump to a program, 1 does (fs/coredump.c)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (min(1, hard) if hard != resource.RLIM_INFINITY else 1, hard))
    os.umask(os.umask(_WRITABLE) | _WRITABLE)
