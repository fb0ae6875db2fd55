"""One fetch of a program at a time, among all processes that use this project's folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tasks.engine.step import Context
from tasks.errors import LaunchError

_PAUSE = 0.2


@contextlib.contextmanager
def alone(path: Path, context: Context, end: float) -> Iterator[None]:
    """Hold the lock file; wait for its holder until `end`, of the monotonic clock. Raises `LaunchError`, `Stopped`.

    The system takes the lock back when its holder dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        told = False
        while not _taken(handle):
            if time.monotonic() >= end:
                raise LaunchError(
                    "another process is still fetching the same program",
                    why=f"it holds {path}",
                    fix="wait for it, or end it; what it has downloaded is kept",
                )
            if not told:
                told = True
                context.say("another process is fetching it: waiting for that")
            context.wait(_PAUSE)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
