"""One run at a time on one cluster: a lock that the system takes back when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tasks.errors import BadInput, LaunchError


class Held(LaunchError):
    """Another run holds the cluster."""


class Last(NamedTuple):
    """What a lock tells of those that held it before."""

    killed: bool = False
    """The last one has not taken its name out."""
    changed: float = 0.0
    """When one last took it or gave it back, in seconds of the epoch."""


@contextlib.contextmanager
def held(path: Path, task: str, seconds: float = 0.0, *, shared: bool = False) -> Iterator[Last]:
    """Hold the lock file; wait at most that many seconds for its holder. Raises `Held`, naming it, and `BadInput`.

    `shared`: beside others that hold it so, and without a name; of earlier ones nothing is told then.
    """
    handle, new = _opened(path)
    try:
        _take(handle, path, seconds, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if shared:
            yield Last()
            return
        last = Last() if new else Last(killed=bool(os.pread(handle, 1, 0)), changed=os.fstat(handle).st_mtime)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {task} {time.strftime('%H:%M:%S')}\n".encode(), 0)
        try:
            yield last
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _opened(path: Path) -> tuple[int, bool]:
    """The file, and whether it was made now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = not path.exists()
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o600), new
    except OSError as error:
        raise BadInput(
            f"the lock {path} cannot be opened: {error.strerror or error}",
            why="one run at a time works on a cluster, and its lock lies in your state folder",
            fix=f"give {path.parent} back to your user (a run as root may have made it), or set XDG_STATE_HOME",
        ) from None


def _take(handle: int, path: Path, seconds: float, kind: int) -> None:
    end = time.monotonic() + seconds
    pause = 0.05
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise _holder(handle, path) from None
            time.sleep(min(pause, max(0.0, end - time.monotonic())))
            pause = min(0.5, pause * 1.5)
        else:
            return


def _holder(handle: int, path: Path) -> Held:
    name = path.stem.lstrip(".")
    words = os.pread(handle, 200, 0).decode("utf-8", "replace").split()
    who = f"process {words[0]} runs '{words[1]}' since {words[2]}" if len(words) >= 3 else "another process holds it"
    return Held(
        f"another run is at work on '{name}': {who}",
        why="two runs on one cluster at the same time would undo each other's work",
        fix="wait for it with --wait-lock, or end it"
        + (f": kill {words[0]} (its cluster is completed by the next run)" if words else ""),
    )
