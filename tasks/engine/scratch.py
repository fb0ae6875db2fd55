"""Names of unfinished files: they tell whose they are, so that a later run finds what a killed one has left."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

_NAME = re.compile(r"\.(?P<target>.+)\.openframe-(?P<pid>[0-9]+)-[^.]*(\.[a-z]+)?")


def prefix(target: str) -> str:
    """How the name of an unfinished `target` begins: hidden, and with the number of this process."""
    return f".{target}.openframe-{os.getpid()}-"


def sweep(folder: Path, *, below: bool = False) -> list[Path]:
    """Remove what processes that are gone have left unfinished in a folder, and locks that they held; what that was.

    Whatever else lies there stays, and so does what cannot be removed. `below`: in its folders too.
    """
    found = []
    for at, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            owner = _NAME.fullmatch(name)
            if owner is None or _alive(int(owner["pid"])):
                continue
            left, lock = Path(at, name), Path(at, owner["target"])
            with contextlib.suppress(OSError):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
                else:
                    if lock.suffix == ".lock" and lock.samefile(left):
                        lock.unlink()
                    left.unlink()
                found.append(left)
        folders[:] = [name for name in folders if below and _NAME.fullmatch(name) is None]
    return found


def _alive(pid: int) -> bool:
    """A number that another process has by now counts as alive: what is in doubt stays."""
    import psutil

    return psutil.pid_exists(pid)
