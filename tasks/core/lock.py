"""File locks: the operating system releases a lock when its holder dies.

`locked` is the lock itself; `held` also records its holder, for locks that a user waits for.
"""

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

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5


class Held(LaunchError):
    """Another run has locked the cluster."""


class Last(NamedTuple):
    """What a lock file says about earlier holders."""

    killed: int = 0
    """Process id of the last holder if it has not removed its name; -1: unknown."""
    changed: float = 0.0
    """When it was last taken or released, in seconds of the epoch."""


@contextlib.contextmanager
def locked(
    path: Path, seconds: float = 0.0, *, shared: bool = False, wait: Callable[[float], object] = time.sleep
) -> Iterator[int]:
    """Lock a file, creating its folder with mode 0700 if it is missing; yields its handle.

    Waits at most that many seconds, using `wait`. Raises TimeoutError, and OSError if the file cannot be
    opened or the file system does not support locks (ENOLCK on NFS).
    """
    handle = open_lock(path)
    try:
        acquire(handle, seconds, shared=shared, wait=wait)
        yield handle
    finally:
        os.close(handle)


def open_lock(path: Path) -> int:
    """Open a lock file, creating it if it is missing; symbolic links are not followed. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def acquire(
    handle: int,
    seconds: float = 0.0,
    *,
    shared: bool = False,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Lock an open file, with growing pauses between attempts. Raises TimeoutError, OSError."""
    end, pause = time.monotonic() + seconds, _FIRST_PAUSE
    while True:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("another process holds the lock") from None
            wait(min(pause, left))
            pause = min(_LONGEST_PAUSE, pause * 1.5)
        else:
            return


def release(handle: int) -> None:
    """Unlock an open file, and leave it open."""
    fcntl.flock(handle, fcntl.LOCK_UN)


@contextlib.contextmanager
def locked_itself(path: Path, seconds: float) -> Iterator[None]:
    """Lock an existing file itself, which works whatever folder it is mounted into.

    A missing file, one on a file system without locks, or one locked for longer than `seconds`, is not locked.
    """
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, handle)
            acquire(handle, seconds)
        yield


@contextlib.contextmanager
def exclusive_file(lock: Path, seconds: float) -> Iterator[None]:
    """Lock by the existence of a file, for programs that know no other locks. Raises TimeoutError, OSError.

    A hard link to the file records the process that created it: a lock of a killed run is removed.
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
            if not linked or lock.samefile(own):  # otherwise another process has taken it over
                lock.unlink()
        with contextlib.suppress(OSError):
            own.unlink()


def _made(lock: Path) -> Path | None:
    """Create the lock; returns its second name, or None if the lock exists."""
    handle, own = unfinished(lock)
    os.close(handle)
    try:
        try:
            lock.hardlink_to(own)
        except FileExistsError:
            raise
        except OSError:  # the file system does not support hard links
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
    """Lock a file and record the holder; wait at most that many seconds. Raises `Held`, naming it, and `BadInput`.

    `shared`: together with other shared holders, without recording a name; earlier holders are unknown then.
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
    message = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BadInput(
            f"the lock {path} cannot be written: {message}",
            why="the state of clusters is stored there, and the disk is full",
            fix=f"free space on the disk of {path.parent}, or set XDG_STATE_HOME to a folder on another disk",
        )
    mode = 0  # mode of an existing file; the name may be too long for stat
    with contextlib.suppress(OSError):
        mode = path.lstat().st_mode
    if stat.S_ISREG(mode) and os.access(path, os.W_OK):
        return BadInput(
            f"the lock {path} cannot be taken: {message}",
            why="its file system does not support file locks, such as NFS without a lock service",
            fix="set XDG_STATE_HOME to a folder on a local disk",
        )
    return BadInput(
        f"the lock {path} cannot be opened: {message}",
        why="only one run at a time may work on a cluster, and its lock is in your state folder",
        fix=f"remove {path}"
        if mode and not stat.S_ISREG(mode)
        else f"give {path.parent} back to your user (a run as root may have made it), or set XDG_STATE_HOME",
    )


def _holder(path: Path) -> Held:
    name = path.stem.lstrip(".").partition("@")[0]
    words = path.read_text(encoding="utf-8", errors="replace")[:200].split()
    who = f"process {words[0]} runs '{words[1]}' since {words[2]}" if len(words) >= 3 else "another process holds it"
    return Held(
        f"another run is working on '{name}': {who}",
        why="two runs on one cluster at the same time would undo each other's work",
        fix="wait for it with --wait-lock, or end it"
        + (f": kill {words[0]} (the next run completes its cluster)" if words else ""),
    )
