"""Programs that a killed run has left at work: nobody ended them, and they would undo what the next run does."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.tools.children import CHILDREN, Children

if TYPE_CHECKING:
    from psutil import Process

MARK = "OPENFRAME_RUN"
"""The variable by which a program's environment says whose it is."""
_OURS = frozenset({"docker", "k3d", "kubectl", "helm"})
"""What may be ended. What these have started on (an agent that keeps a passphrase) leads a group of its own."""
_PATIENCE = 2.0
"""Seconds between TERM and KILL."""
_LOOK = 0.02
"""Seconds between two looks whether they are gone: who is nobody's child tells nobody of its end."""


def mark(lock: Path) -> str:
    """The mark of this process's programs, at work under a lock."""
    return f"{os.getpid()} {lock}"


def end_orphans(lock: Path) -> list[int]:
    """End what processes that are gone have left at work under a lock that we hold; their process groups.

    A program of another user, or one whose environment the system does not show, is left alone.
    """
    import psutil

    found = [group for process in psutil.process_iter() if (group := _orphan(process, str(lock))) is not None]
    for group in found:
        Children.signal(group, signal.SIGTERM)
    last = time.monotonic() + _PATIENCE
    while (left := [group for group in found if Children.exists(group)]) and time.monotonic() < last:
        time.sleep(_LOOK)
    for group in left:
        Children.signal(group, signal.SIGKILL)
    return found


def _orphan(process: Process, lock: str) -> int | None:
    """The process group that it leads, if it is one."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        pid, _, held = process.environ().get(MARK, "").partition(" ")
        if held != lock or not pid.isdecimal() or psutil.pid_exists(int(pid)):
            return None
        named = {Path(word).name for word in process.cmdline()[:3]}  # a script's own name comes after its interpreter's
        if named & _OURS and os.getpgid(process.pid) == process.pid and process.pid not in CHILDREN.alive():
            return process.pid
    return None
