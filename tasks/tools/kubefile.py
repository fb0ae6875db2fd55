"""How a kubeconfig is written: under kubectl's own lock, and whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from tasks.core.files import sweep, unfinished
from tasks.core.lock import take
from tasks.errors import LaunchError

_PATIENCE = 10.0
"""Seconds that another program may hold kubectl's lock; it needs milliseconds."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """The lock of kubectl itself: FILE.lock, made exclusively (client-go: `clientcmd.lockFile`).

    One that a killed run of ours has left is nobody's: it is removed.
    """
    lock = path.with_name(f"{path.name}.lock")
    end = time.monotonic() + _PATIENCE
    if not _may_lock(path):
        yield  # nor may kubectl: it refuses to write there; see `itself`
        return
    while (own := _taken(lock)) is None:
        if sweep(path.parent):
            continue
        if time.monotonic() >= end:
            raise LaunchError(
                f"your kubeconfig {path} is locked by another program",
                why=f"{lock} is there since more than {_PATIENCE:g} s: kubectl makes it while it writes",
                fix=f"if no kubectl runs it was left behind by one that died: rm {shlex.quote(str(lock))}",
                transient=True,
            ) from None
        time.sleep(0.05)
    try:
        yield
    finally:
        for each in (lock, own):
            with contextlib.suppress(OSError):
                each.unlink()


def _may_lock(path: Path) -> bool:
    """Whether a file can be made beside it; where the file alone may be written there is no kubectl's lock."""
    return os.access(path.parent, os.W_OK) or not os.access(path, os.W_OK)


@contextlib.contextmanager
def itself(path: Path) -> Iterator[None]:
    """A lock on the file itself, for one that is written in place: seen through whatever folder it is mounted into.

    A file that is not there, or whose file system has no locks, is not locked.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            take(handle, _PATIENCE)
        yield
    finally:
        os.close(handle)


def _taken(lock: Path) -> Path | None:
    """Make the lock with a second name that says whose it is; the second name, or None if the lock is there."""
    handle, own = unfinished(lock)
    os.close(handle)
    try:
        lock.hardlink_to(own)
    except FileExistsError:
        own.unlink()
        return None
    except OSError:  # a file system without links
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
        except FileExistsError:
            own.unlink()
            return None
        except BaseException:
            own.unlink()
            raise
    return own
