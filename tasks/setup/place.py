"""Putting a verified program in place: whole, executable, at once."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import IO

_MODE = 0o755


def place(source: IO[bytes], destination: Path) -> None:
    """Copy into the destination's folder, then rename: whoever looks sees the old program or the new one.

    For one caller at a time (`alone`): the name of the copy is always the same, so that a killed run leaves
    one file at most. Raises OSError.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    copy = destination.with_name(f".{destination.name}.new")
    with contextlib.suppress(FileNotFoundError):
        copy.unlink()
    handle = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(source, file, 1024 * 1024)
            file.flush()
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
        copy.replace(destination)
    except BaseException:
        with contextlib.suppress(OSError):
            copy.unlink()
        raise
