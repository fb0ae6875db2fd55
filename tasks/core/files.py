"""Atomic file writes: to a temporary file beside the target, which is then renamed; and digests.

Names of temporary files contain the process that writes them, so that a later run removes what a killed one has left.
"""

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
"""An id of this machine."""
_NAME = re.compile(r"\.(?P<target>.+)\.openframe-(?P<pid>[0-9]+)-(?P<place>[0-9a-f]{8})-[^.]*(\.[a-z]+)?")
_LONG, _LOCK = 2 * 86400.0, 60.0
"""Seconds after which a temporary file or a lock of another machine or container counts as abandoned."""
_NOT_REPLACED = frozenset({errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS})
"""A file that is a bind mount (EBUSY), or whose folder is read-only: written in place, not replaced."""


@cache
def place() -> str:
    """The scope in which process ids are valid: a digest of this machine and its PID namespace.

    Containers that share a folder, or machines with a home on NFS, have different ones.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(MACHINE.read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def prefix(target: str) -> str:
    """The prefix of a temporary file for `target`: hidden, with the id and the scope of this process."""
    return f".{target}.openframe-{os.getpid()}-{place()}-"


def unfinished(target: Path) -> tuple[int, Path]:
    """A new temporary file beside `target`, mode 0600, open for writing, and its name. Raises OSError."""
    path = target.with_name(f"{prefix(target.name)}{os.urandom(4).hex()}")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), path


@contextlib.contextmanager
def replacing(
    path: Path, mode: int = 0o600, *, owner: tuple[int, int] | None = None, sync: bool = True
) -> Iterator[IO[bytes]]:
    """A file to write to that replaces `path` when the block succeeds; otherwise `path` stays unchanged.

    A reader sees the old file or the new one, with `sync` also after a crash of the machine. `owner`: user and group,
    if this process may change them. Raises OSError, also if `path` is no regular file: root could replace /dev/null
    and /dev/stdout, which is a link.
    """
    why = "it belongs to the system" if path.parent == Path("/dev") and path.is_symlink() else no_file(path)
    if why:
        raise OSError(errno.EINVAL, why, str(path))
    handle, fresh = unfinished(path)
    try:
        with os.fdopen(handle, "wb") as file:
            if owner is not None:
                with contextlib.suppress(PermissionError):  # the user is not a member of the group
                    os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # of a write
            error.filename = str(path)
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


@contextlib.contextmanager
def private_file(folder: Path, name: str, content: bytes, *, suffix: str = "", mode: int = 0o600) -> Iterator[str]:
    """The path of a temporary file in a private folder, removed afterwards; `name` is its prefix. Raises OSError."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=prefix(name), suffix=suffix) as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        yield file.name


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file by this text. Raises OSError, and leaves the old file in that case."""
    with replacing(path, mode) as file:
        file.write(text.encode("utf-8", "replace"))


def create_marker(path: Path) -> None:
    """Create an empty file, and its folder; failures are ignored."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)


def remembered(path: Path) -> str | None:
    """The stripped text of a file of an earlier run; None if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None


def rewrite(path: Path, text: str) -> None:
    """Replace a file by this text, preserving mode and owner; a new file gets mode 0600. Raises OSError.

    A file that can be written but not replaced (a bind mount, as in a dev container), or that has hard links,
    is written in place.
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
    """As atomic as possible: if the new content does not fit, the old content is restored."""
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
    """A step's or a task's name for use in a file name; the same rule as for the log of a step."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def append(path: Path, text: str) -> None:
    """Append in one write, so that blocks of two processes never mix; raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    handle = os.open(path, flags, 0o600)
    try:
        os.write(handle, text.encode("utf-8", "replace"))
    finally:
        os.close(handle)


def sweep(folder: Path, *, below: bool = False) -> list[Path]:
    """Remove temporary files and locks of dead processes from a folder; returns what was removed.

    Other files stay, and so does what cannot be removed. `below`: also in its subfolders.
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
    """Whether its process may be alive: in doubt yes, since another process may have the id by now."""
    if owner["place"] == place():
        import psutil

        return psutil.pid_exists(int(owner["pid"]))
    with contextlib.suppress(OSError):
        return time.time() - path.lstat().st_mtime < (_LOCK if owner["target"].endswith(".lock") else _LONG)
    return True


def sha256(data: str | bytes | Iterable[bytes], digits: int = 64) -> str:
    """The first `digits` hexadecimal digits of the SHA-256 of a text (as UTF-8), of bytes, or of chunks."""
    pieces = (data.encode(),) if isinstance(data, str) else (data,) if isinstance(data, bytes) else data
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()[:digits]


def no_file(path: Path) -> str:
    """Why the path is not a regular file that can be read repeatedly; empty for one, or if nothing is there."""
    try:
        mode = path.stat().st_mode
    except OSError:  # opening it will report the error
        return ""
    if stat.S_ISDIR(mode):
        return "it is a folder"
    return "" if stat.S_ISREG(mode) else "it is a pipe or a device, not a file"


_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
}


def compression(start: bytes) -> str:
    """How content is compressed, by its first bytes; "" if it is not."""
    return next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), "")


def compressed(path: Path) -> str:
    """Why a tar archive must be decompressed first; "" for another file. Raises OSError."""
    with path.open("rb") as file:
        how = compression(file.read(8))
    return f"it is compressed by {how}: decompress it first" if how else ""


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
