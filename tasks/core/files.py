"""Files that are whole or not there: written beside their place under a name of their own, then renamed; and digests.

The names of unfinished files say which process writes them, so that a later run removes what a killed one has left.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import IO

MACHINE = Path("/etc/machine-id")
"""A number of this machine."""
_NAME = re.compile(r"\.(?P<target>.+)\.openframe-(?P<pid>[0-9]+)-(?P<place>[0-9a-f]{8})-[^.]*(\.[a-z]+)?")
_LONG, _LOCK = 2 * 86400.0, 60.0
"""Seconds after which something of another place is nobody's work any more: a file, and a lock, which needs less."""
_NOT_REPLACED = frozenset({errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS})
"""A file that is mounted by itself (EBUSY), or whose folder may not be written to: written in place, not replaced."""


@cache
def place() -> str:
    """Where numbers of processes mean something: a digest of this machine and of its space of process numbers.

    Containers that share a folder, or a home on NFS, have another one each.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(MACHINE.read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def prefix(target: str) -> str:
    """How the name of an unfinished `target` begins: hidden, and with the number and the place of this process."""
    return f".{target}.openframe-{os.getpid()}-{place()}-"


def unfinished(target: Path) -> tuple[int, Path]:
    """A new file beside `target`, mode 0600, open for writing, and its name. Raises OSError."""
    path = target.with_name(f"{prefix(target.name)}{os.urandom(4).hex()}")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), path


@contextlib.contextmanager
def replacing(
    path: Path, mode: int = 0o600, *, owner: tuple[int, int] | None = None, sync: bool = True
) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of `path` when the block ends well; else the old one stays.

    A reader sees the old one or the new one, with `sync` also after a crash of the machine. `owner`: user and group,
    where this process may give files away. Raises OSError, also where no file is: root can replace /dev/null, and
    /dev/stdout, which is a link.
    """
    why = "it is the system's" if path.parent == Path("/dev") and path.is_symlink() else no_file(path)
    if why:
        raise OSError(errno.EINVAL, why, str(path))
    handle, fresh = unfinished(path)
    try:
        with os.fdopen(handle, "wb") as file:
            if owner is not None:
                with contextlib.suppress(PermissionError):  # a group that this user is not in
                    os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


@contextlib.contextmanager
def private_file(folder: Path, name: str, content: bytes, *, suffix: str = "", mode: int = 0o600) -> Iterator[str]:
    """The path of a file in a folder of this user's alone, gone afterwards: `name` begins its own. Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=prefix(name), suffix=suffix) as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        yield file.name


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file by this text. Raises OSError, and leaves the old file then."""
    with replacing(path, mode) as file:
        file.write(text.encode("utf-8", "replace"))


def remembered(path: Path) -> str | None:
    """The text that an earlier run left in a file, without white space around it; None where nobody can read one."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def rewrite(path: Path, text: str) -> None:
    """Replace a file by this text, with the mode and owner that it had; a new one gets mode 0600. Raises OSError.

    One that can be written but not replaced (mounted by itself, as in a dev container), or that has another name too
    (a hard link), is written in place.
    """
    data = text.encode("utf-8")
    try:
        old = path.stat()
    except FileNotFoundError:
        write_whole(path, text)
        return
    if old.st_nlink > 1:
        _write_in_place(path, data)
        return
    try:
        with replacing(path, stat.S_IMODE(old.st_mode), owner=(old.st_uid, old.st_gid)) as file:
            file.write(data)
    except OSError as error:
        if error.errno not in _NOT_REPLACED:
            raise
        _write_in_place(path, data)


def _write_in_place(path: Path, data: bytes) -> None:
    """As whole as it can be: where the new content does not fit, the old one is put back."""
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        before = os.pread(handle, os.fstat(handle).st_size, 0)
        try:
            _fill(handle, data)
        except OSError:
            with contextlib.suppress(OSError):
                _fill(handle, before)
            raise
    finally:
        os.close(handle)


def _fill(handle: int, data: bytes) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(handle, data[done:], done)
    os.ftruncate(handle, len(data))
    os.fsync(handle)


def file_name(text: str) -> str:
    """A step's or a task's name as part of a file's name; the same rule as for the log of a step."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def append(path: Path, text: str) -> None:
    """Add to a file by one write, so that blocks of two processes never mix; raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    handle = os.open(path, flags, 0o600)
    try:
        os.write(handle, text.encode("utf-8", "replace"))
    finally:
        os.close(handle)


def sweep(folder: Path, *, below: bool = False) -> list[Path]:
    """Remove what processes that are gone have left unfinished in a folder, and locks that they held; what that was.

    Whatever else lies there stays, and so does what cannot be removed. `below`: in its folders too.
    """
    found = []
    for at, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            owner = _NAME.fullmatch(name)
            if owner is None or _at_work(Path(at, name), owner):
                continue
            left, lock = Path(at, name), Path(at, owner["target"])
            with contextlib.suppress(OSError):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        if lock.suffix == ".lock" and lock.samefile(left):
                            lock.unlink()
                    left.unlink()
                found.append(left)
        folders[:] = [name for name in folders if below and _NAME.fullmatch(name) is None]
    return found


def _at_work(path: Path, owner: re.Match[str]) -> bool:
    """Whether its process may be alive: what is in doubt stays, as where another process has the number by now."""
    if owner["place"] == place():
        import psutil

        return psutil.pid_exists(int(owner["pid"]))
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime < (_LOCK if owner["target"].endswith(".lock") else _LONG)
    return True


def sha256(data: str | bytes | Iterable[bytes], digits: int = 64) -> str:
    """The first `digits` hexadecimal digits of the SHA-256 of a text (as UTF-8), of bytes, or of pieces one after
    another.
    """
    pieces = (data.encode(),) if isinstance(data, str) else (data,) if isinstance(data, bytes) else data
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()[:digits]


def no_file(path: Path) -> str:
    """What is there instead of a file that can be read at any place, once and again; empty for one, or for nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:  # who opens it tells
        return ""
    if stat.S_ISDIR(mode):
        return "it is a folder"
    return "" if stat.S_ISREG(mode) else "it is a pipe or a device, and no file"


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
