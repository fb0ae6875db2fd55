"""The registry of living children: each leads its own process group, and all end together."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time


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

    def open(self) -> None:
        """Let children live again: another task of the same process begins."""
        with self._changed:
            self._closed = False


CHILDREN = Children()
"""The registry of this process."""
