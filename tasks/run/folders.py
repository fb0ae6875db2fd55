"""Where a run leaves its files: a folder that is ours alone, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

from tasks.core.errors import BadInput
from tasks.core.paths import user_name

BENCHMARK_LOG = "cluster_setup_benchmark.log"
_PRIVATE = 0o700
_ELSEWHERE = "name a folder of your own in DEPLOY_LOG_DIR"


def log_folder(path: Path) -> Path:
    """The folder for logs and records, made with mode 0700 if it is missing; its absolute path.

    A folder of ours that others may enter is closed to them, but only where it is surely a log folder
    (empty, named openframe…, or with a benchmark log in it): DEPLOY_LOG_DIR=/tmp, set by root, must not
    close /tmp. Raises `BadInput` for a link, a file, someone else's folder, or one that cannot be used.
    """
    path = path.expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=_PRIVATE)
        _own(path)
    except OSError as error:
        raise _refused(path, error) from None
    return path


def default_folder(path: Path) -> Path:
    """The default log folder, or that with the user's name behind where the first is another user's."""
    try:
        taken = path.lstat().st_uid != os.geteuid()
    except OSError:
        return path
    return path.with_name(f"{path.name}-{file_name(user_name())}") if taken else path


def run_folder(log_dir: Path, task: str, started: datetime) -> Path:
    """A new folder `runs/<UTC time>-<task>` for the logs of one run's steps, whose name no other run has.

    The run's record lies beside it, with `.json` added. Raises `BadInput` as `log_folder` does.
    """
    runs = log_folder(log_dir / "runs")
    stem = run_name(task, started)
    for count in range(1, 1000):
        path = runs / (stem if count == 1 else f"{stem}-{count}")
        if path.with_name(f"{path.name}.json").exists():
            continue
        try:
            path.mkdir(mode=_PRIVATE)
        except FileExistsError:
            continue
        except OSError as error:
            raise _refused(path, error) from None
        return path
    raise _refused(runs / stem, OSError("999 runs have begun in the same millisecond"))


def run_name(task: str, started: datetime) -> str:
    """`20261124T023100.123Z-up`: sorts by time as text does, and is valid on every file system."""
    moment = started.astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z-{file_name(task)}"


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


def _own(path: Path) -> None:
    """Check through an open handle, so that what was checked is what gets its mode changed."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(handle)
        if found.st_uid != os.geteuid():
            raise BadInput(
                f"the log folder {path} belongs to another user (uid {found.st_uid})",
                why="logs and records may be read or replaced by whoever owns their folder",
                fix=_ELSEWHERE,
            )
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077 and not _surely_logs(path):
            raise BadInput(
                f"others may enter the log folder {path} (mode {mode:04o})",
                why="logs need mode 0700, and this folder holds other things that such a mode would close off",
                fix=f"{_ELSEWHERE}, or close this one with `chmod 700 {path}`",
            )
        if mode != _PRIVATE:
            os.fchmod(handle, _PRIVATE)
    finally:
        os.close(handle)


def _surely_logs(path: Path) -> bool:
    if re.match(r"\.?openframe", path.name) or path.name == "runs":
        return True
    names = {entry.name for entry in path.iterdir()}
    return not names or BENCHMARK_LOG in names


def _refused(path: Path, error: OSError) -> BadInput:
    if path.is_symlink():
        return BadInput(
            f"the log folder {path} is a symbolic link",
            why="a link can be pointed elsewhere by whoever owns the folder it stands in",
            fix=f"remove the link, or {_ELSEWHERE}",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return BadInput(
            f"the log folder {path} cannot be made",
            why="a file stands there, or on the way to it",
            fix=f"remove the file, or {_ELSEWHERE}",
        )
    return BadInput(
        f"the log folder {path} cannot be used", why=error.strerror or str(error), fix=f"repair that, or {_ELSEWHERE}"
    )
