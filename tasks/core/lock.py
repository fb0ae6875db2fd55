"""File locks: the system takes one back when its holder dies.

`locked` is the lock itself; `held` also says who holds it, for locks that one waits for at a terminal.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import sweep, unfinished


class Held(LaunchError):
    """Another run holds the cluster."""


class Last(NamedTuple):
    """What a lock tells of those that held it before."""

    killed: int = 0
    """Number of the process that held it last and has not taken its name out; -1: one that it does not tell."""
    changed: float = 0.0
    """When one last took it or gave it back, in seconds of the epoch."""


@contextlib.contextmanager
def locked(
    path: Path, seconds: float = 0.0, *, shared: bool = False, wait: Callable[[float], object] = time.sleep
) -> Iterator[int]:
    """Hold the lock file, whose folder is made with mode 0700 if it is missing; its handle.

    Waits at most that many seconds for its holder, by `wait`. Raises TimeoutError, and OSError where it cannot be
    opened or the file system has no locks (ENOLCK on NFS).
    """
    handle = open_lock(path)
    try:
        take(handle, seconds, shared=shared, wait=wait)
        yield handle
    finally:
        os.close(handle)


def open_lock(path: Path) -> int:
    """A lock file, made if it is missing; a link is not followed. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def take(
    handle: int,
    seconds: float = 0.0,
    *,
    shared: bool = False,
    wait: Callable[[float], object] = time.sleep,
    first: float = 0.05,
    cap: float = 0.5,
) -> None:
    """Lock an open file, with pauses that grow from `first` to `cap` seconds. Raises TimeoutError, OSError."""
    end, pause = time.monotonic() + seconds, first
    while True:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("another process holds the lock") from None
            wait(min(pause, left))
            pause = min(cap, pause * 1.5)
        else:
            return


def release(handle: int) -> None:
    """Unlock an open file, and leave it open."""
    fcntl.flock(handle, fcntl.LOCK_UN)


@contextlib.contextmanager
def locked_itself(path: Path, seconds: float) -> Iterator[None]:
    """Hold a lock on a file that is there, seen through whatever folder it is mounted into.

    One that is not there, whose file system has no locks, or that is held for longer than those seconds, is not locked.
    """
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, handle)
            take(handle, seconds)
        yield


@contextlib.contextmanager
def exclusive_file(lock: Path, seconds: float) -> Iterator[None]:
    """Hold a lock that is the existence of a file, for programs that know no other. Raises TimeoutError, OSError.

    A second name of the file says which process made it: one that a killed run has left is removed.
    """
    end = time.monotonic() + seconds
    while (own := _made(lock)) is None:
        if sweep(lock.parent):
            continue
        if time.monotonic() >= end:
            raise TimeoutError("another process holds the lock")
        time.sleep(0.05)
    linked = own.stat().st_nlink > 1
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if not linked or lock.samefile(own):  # else it was taken from us, and is another's by now
                lock.unlink()
        with contextlib.suppress(OSError):
            own.unlink()


def _made(lock: Path) -> Path | None:
    """Make the lock; its second name, or None if the lock is there."""
    handle, own = unfinished(lock)
    os.close(handle)
    try:
        try:
            lock.hardlink_to(own)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
    except FileExistsError:
        own.unlink()
        return None
    except BaseException:
        own.unlink()
        raise
    return own


@contextlib.contextmanager
def held(path: Path, task: str, seconds: float = 0.0, *, shared: bool = False) -> Iterator[Last]:
    """Hold the lock file with a name in it; wait at most that many seconds. Raises `Held`, naming it, and `BadInput`.

    `shared`: beside others that hold it so, and without a name; of earlier ones nothing is known then.
    """
    with contextlib.ExitStack() as opened:
        try:
            new = not path.exists()
            handle = opened.enter_context(locked(path, seconds, shared=shared))
        except TimeoutError:
            raise _holder(path) from None
        except OSError as error:
            raise _unusable(path, error) from None
        if shared:
            yield Last()
            return
        left = os.pread(handle, 20, 0).split()
        killed = int(left[0]) if left and left[0].isdigit() else -len(left[:1])
        last = Last() if new else Last(killed=killed, changed=os.fstat(handle).st_mtime)
        os.ftruncate(handle, 0)
        try:
            os.pwrite(handle, f"{os.getpid()} {task} {time.strftime('%H:%M:%S')}\n".encode(), 0)
        except OSError as error:
            raise _unusable(path, error) from None
        try:
            yield last
        finally:
            os.ftruncate(handle, 0)


def _unusable(path: Path, error: OSError) -> BadInput:
    said = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BadInput(
            f"the lock {path} cannot be written: {said}",
            why="what is remembered of clusters lies there, and has no room",
            fix=f"make room on the disk of {path.parent}, or set XDG_STATE_HOME to a folder on another",
        )
    mode = 0  # of what is there; a name may be too long to look it up
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
    if stat.S_ISREG(mode) and os.access(path, os.W_OK):
        return BadInput(
            f"the lock {path} cannot be taken: {said}",
            why="its file system has no locks for files, as NFS without a lock service",
            fix="set XDG_STATE_HOME to a folder on a local disk",
        )
    return BadInput(
        f"the lock {path} cannot be opened: {said}",
        why="one run at a time works on a cluster, and its lock lies in your state folder",
        fix=f"remove {path}"
        if mode and not stat.S_ISREG(mode)
        else f"give {path.parent} back to your user (a run as root may have made it), or set XDG_STATE_HOME",
    )


def _holder(path: Path) -> Held:
    name = path.stem.lstrip(".").partition("@")[0]
    words = path.read_text(encoding="utf-8", errors="replace")[:200].split()
    who = f"process {words[0]} runs '{words[1]}' since {words[2]}" if len(words) >= 3 else "another process holds it"
    return Held(
        f"another run is at work on '{name}': {who}",
        why="two runs on one cluster at the same time would undo each other's work",
        fix="wait for it with --wait-lock, or end it"
        + (f": kill {words[0]} (its cluster is completed by the next run)" if words else ""),
    )
