"""With whose rights a daemon.json is read and changed: never by a password that would have to be asked for."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path

from tasks.checks.probes import rights
from tasks.errors import LaunchError
from tasks.tools.program import Programs
from tasks.tune.hands import Hands, Kept, Own, Sudo, look, ours


class NoRights(LaunchError):
    """The file is root's, and root is out of reach."""


def hands(file: Path, programs: Programs) -> Hands:
    """Who may change that file. Raises `NoRights`."""
    if ours(file):
        return Own(programs=programs)
    if rights(programs).enough:
        return Sudo(programs=programs)
    raise NoRights(
        f"{file} is not yours, and sudo would ask for a password: nothing was changed",
        why="no task of this project ever asks for one",
        fix='`sudo "$(command -v invoke)" docker-tune`',
    )


def reader(programs: Programs) -> Callable[[Path], Kept | None]:
    """Reads what is there; by sudo, if that asks for nothing, where this user may not look. Else it is not there."""

    @functools.cache
    def enough() -> bool:
        return rights(programs).enough

    def read(path: Path) -> Kept | None:
        with contextlib.suppress(OSError):
            return look(path)
        with contextlib.suppress(LaunchError):
            return Sudo(programs=programs).read(path) if enough() else None
        return None

    return read
