"""The registry of living child processes: each leads its own process group, and all are stopped together."""

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

    A group is registered from the start of its leader until that has been waited for, and, if it was told to end,
    until all its members are gone: a registered id is never reused by another process.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._groups: set[int] = set()
        self._ending: set[int] = set()
        self._closed = False

    def add(self, group: int) -> None:
        """Register a group; after `close` it is terminated at once."""
        with self._changed:
            self._groups.add(group)
            if self._closed:
                self._ending.add(group)
                self.signal(group, signal.SIGKILL)

    def remove(self, group: int) -> None:
        """Unregister a group whose leader has been waited for."""
        with self._changed:
            self._groups.discard(group)
            self._ending.discard(group)
            self._changed.notify_all()

    def alive(self) -> frozenset[int]:
        """The registered groups."""
        with self._changed:
            return frozenset(self._groups)

    def end(self, group: int) -> None:
        """Send TERM to a whole group; an unregistered one is ignored."""
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
        """Whether a group has a member that can be signalled, other than zombies.

        Zombies stay forever in a container whose init process does not reap them.
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
        """Signal a whole group; ignored if it is already gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)

    def stop(self, seconds: float) -> bool:
        """TERM to all, one shared deadline, then KILL; returns whether TERM was enough."""
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
        """Stop all, and terminate any that is started later."""
        with self._changed:
            self._closed = True
        self.stop(seconds)

    @property
    def closed(self) -> bool:
        """Whether new children are terminated at once."""
        return self._closed

    def open(self) -> None:
        """Allow children again: another task of the same process starts."""
        with self._changed:
            self._closed = False


CHILDREN = Children()
"""The registry of this process."""


MARK = "OPENFRAME_RUN"
"""The environment variable that marks which launch started a program."""
_OURS = frozenset({"docker", "k3d", "kubectl", "helm"})
"""Programs that may be terminated. Their own daemons (such as an agent for passphrases) lead other groups."""
_PATIENCE = 2.0
"""Seconds between TERM and KILL."""
_LOOK = 0.02
"""Seconds between two checks whether they are gone: nothing notifies of the end of a non-child."""


def mark(lock: Path, place: str, pid: int) -> str:
    """The mark of a process's programs, running under a lock. `place`: the scope in which its pid is valid."""
    return f"{pid} {place} {lock}"


def end_orphans(marked: str) -> list[int]:
    """Terminate programs left by a killed process, by its mark, under a lock that we hold; returns their groups.

    Programs that an earlier run left on purpose (a port-forward of a user's own step) continue, and so do those
    in a container, whose pids differ. A program of another user, or one whose environment the system does not
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
    """The process group that it leads, if it is an orphan with this mark."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        if process.environ().get(MARK, "") != marked:
            return None
        named = {Path(word).name for word in process.cmdline()[:3]}  # a script's name comes after its interpreter's
        if named & _OURS and os.getpgid(process.pid) == process.pid and process.pid not in CHILDREN.alive():
            return process.pid
    return None


_WRITABLE = 0o022
"""Permissions of group and others that are removed from all created files; private files get their own mode."""


def close() -> None:
    """Disable core dumps, which would contain every secret that was read, and group-writable files."""
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    # 1 and not 0: with 0 Linux still pipes the dump to a handler program, with 1 it does not (fs/coredump.c)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (min(1, hard) if hard != resource.RLIM_INFINITY else 1, hard))
    os.umask(os.umask(_WRITABLE) | _WRITABLE)
