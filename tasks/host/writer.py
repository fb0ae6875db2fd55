"""Reads and writes files that may belong to root: atomically, preserving mode and owner."""

import contextlib
import errno
import functools
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from tasks.core.errors import LaunchError
from tasks.core.files import replacing
from tasks.engine.step import Context
from tasks.facts.host import rights
from tasks.process.command import Command, Completed
from tasks.process.programs import Programs

_DEADLINE = 20.0


@dataclass(frozen=True, kw_only=True)
class FileState:
    """The state of a file."""

    data: bytes
    mode: int
    user: int
    group: int


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Reads and writes with this process's own permissions. All methods raise `LaunchError` on failure."""

    programs: Programs
    context: Context | None = None

    def read(self, path: Path) -> FileState | None:
        """A file; None if it does not exist."""
        with _reporting(path, "read"):
            return look(path)

    def write(self, path: Path, file: FileState) -> None:
        """Write a file atomically, creating its folder."""
        with _reporting(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, file.mode, owner=(file.user, file.group)) as opened:
                opened.write(file.data)

    def remove(self, path: Path) -> None:
        """Remove a file; no error if it does not exist."""
        with _reporting(path, "removed"):
            path.unlink(missing_ok=True)

    def signal(self, pid: int) -> None:
        """Send HUP."""
        self.programs.run(Command(argv=("kill", "-HUP", str(pid)), deadline=_DEADLINE), self.context)

    def within(self, context: Context) -> Self:
        """The same as part of a step."""
        return replace(self, context=context)


class Sudo(Writer):
    """With passwordless sudo: the content goes through a private file, never through an argument."""

    def read(self, path: Path) -> FileState | None:
        """Without sudo if everybody may read it."""
        with contextlib.suppress(PermissionError), _reporting(path, "read", refused=False):
            return look(path)
        if self._run("test", "-e", str(path), ok=(0, 1)).code:
            return None
        mode, user, group = self._run("stat", "-c", "%a %u %g", "--", str(path)).out.split()
        data = self._run("cat", "--", str(path)).raw
        return FileState(data=data, mode=int(mode, 8), user=int(user), group=int(group))

    def write(self, path: Path, file: FileState) -> None:
        """Into a file in the same folder first, which is then renamed."""
        stage = path.with_name(f".{path.name}.openframe-{os.getpid()}")
        owner = ("-m", f"{file.mode:04o}", "-o", str(file.user), "-g", str(file.group))
        self._run("mkdir", "-p", "--", str(path.parent))
        with tempfile.NamedTemporaryFile() as source:  # mode 0600
            source.write(file.data)
            source.flush()
            try:
                self._run("install", *owner, "--", source.name, str(stage))
                self._run("sync", "--", str(stage), ok=(0, 1))  # older versions sync everything, or take no names
                self._run("mv", "-f", "--", str(stage), str(path))
            except BaseException:
                with contextlib.suppress(LaunchError):
                    self._run("rm", "-f", "--", str(stage))
                raise

    def remove(self, path: Path) -> None:
        """Remove it, as root."""
        self._run("rm", "-f", "--", str(path))

    def signal(self, pid: int) -> None:
        """Send HUP, as root."""
        self._run("kill", "-HUP", str(pid))

    def _run(self, *argv: str, ok: tuple[int, ...] = (0,)) -> Completed:
        command = Command(argv=("sudo", "-n", *argv), deadline=_DEADLINE, ok=ok)
        return self.programs.run(command, self.context, quiet=argv[0] == "cat")


def look(path: Path) -> FileState | None:
    """A file as this process sees it; None if it does not exist. Raises OSError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # never blocks on a pipe
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return FileState(data=file.read(), mode=stat.S_IMODE(found.st_mode), user=found.st_uid, group=found.st_gid)


def existing(folder: Path) -> Path:
    """The folder, or its nearest existing parent."""
    return next(each for each in (folder, *folder.parents) if each.exists() or each == each.parent)


def replaceable(path: Path) -> bool:
    """Whether this process may replace that file and keep its owner: as root, or if it owns file and folder."""
    me = os.geteuid()
    if me == 0:
        return True
    folder = existing(path.parent)
    try:
        owner = path.stat().st_uid
    except OSError:
        owner = folder.stat().st_uid
    return owner == me and os.access(folder, os.W_OK | os.X_OK)


@contextlib.contextmanager
def _reporting(path: Path, what: str, *, refused: bool = True) -> Iterator[None]:
    """Turns an error of the system into a `LaunchError`; `refused`: also permission errors."""
    try:
        yield
    except OSError as error:
        if isinstance(error, PermissionError) and not refused:
            raise
        raise LaunchError(
            f"{path} cannot be {what}",
            why=error.strerror or str(error),
            fix="correct that, and run it again: the existing file is unchanged",
        ) from None


class NoRights(LaunchError):
    """The file belongs to root, and root permissions are not available."""


def writer_for(file: Path, programs: Programs) -> Writer:
    """The writer for that file. Raises `NoRights`."""
    if replaceable(file):
        return Writer(programs=programs)
    if rights(programs).enough:
        return Sudo(programs=programs)
    raise NoRights(
        f"{file} does not belong to you, and sudo would ask for a password: nothing was changed",
        why="tasks of this project never ask for one",
        fix='`sudo "$(command -v invoke)" docker-tune`',
    )


def reader(programs: Programs) -> Callable[[Path], FileState | None]:
    """Reads files; with passwordless sudo if this user may not. Otherwise they count as missing."""

    @functools.cache
    def enough() -> bool:
        return rights(programs).enough

    def read(path: Path) -> FileState | None:
        with contextlib.suppress(OSError):
            return look(path)
        with contextlib.suppress(LaunchError):
            return Sudo(programs=programs).read(path) if enough() else None
        return None

    return read
