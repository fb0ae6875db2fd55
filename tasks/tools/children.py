"""The registry of living children: each leads its own process group, and all end together."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time


class Children:
    """Process groups that are alive. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._groups: set[int] = set()
        self._closed = False

    def add(self, group: int) -> None:
        """Register a group; one that comes after `stop` is ended at once."""
        with self._changed:
            self._groups.add(group)
            closed = self._closed
        if closed:
            self.signal(group, signal.SIGKILL)

    def remove(self, group: int) -> None:
        """A group's leader has been waited for."""
        with self._changed:
            self._groups.discard(group)
            self._changed.notify_all()

    def alive(self) -> frozenset[int]:
        """The groups whose leader has not been waited for."""
        with self._changed:
            return frozenset(self._groups)

    @staticmethod
    def signal(group: int, number: int) -> None:
        """Signal a whole group; one that is gone already is no error."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)

    def stop(self, seconds: float) -> bool:
        """TERM to all, one shared deadline, then KILL; says whether TERM was enough."""
        end = time.monotonic() + seconds
        for group in self.alive():
            self.signal(group, signal.SIGTERM)
        with self._changed:
            while self._groups and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            late = frozenset(self._groups)
        for group in late:
            self.signal(group, signal.SIGKILL)
        return not late

    def close(self, seconds: float) -> None:
        """Stop all, and let none live that is started later."""
        with self._changed:
            self._closed = True
        self.stop(seconds)


CHILDREN = Children()
"""The registry of this process."""
