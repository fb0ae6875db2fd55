"""What the tests of real programs share: programs of the machine, and who of them is left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tasks.engine.step import Cancel, Context
from tasks.process.command import Command
from tasks.process.programs import Programs

PATH = os.environ.get("PATH", os.defpath)


def programs(**env: str) -> Programs:
    """The machine's programs in an environment of nothing else than PATH."""
    return Programs(env={"PATH": PATH, **env})


def script(text: str, *args: str, deadline: float = 20.0, stdin: str | None = None) -> Command:
    """A piece of shell as a command."""
    return Command(argv=("sh", "-c", text, "sh", *args), deadline=deadline, stdin=stdin)


def context(step: str = "a step") -> Context:
    """What an action of a step is given."""
    return Context(step=step, deadline=20.0, cancelled=Cancel())


def until(true: Callable[[], object], seconds: float = 10.0) -> bool:
    """Look until it is so; says whether it came to be within that time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def soon(act: Callable[[], object], seconds: float = 0.2) -> threading.Timer:
    """Do something a little later."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    return timer


def lives(pid: int) -> bool:
    """Whether a process is there; one that only waits to be waited for is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def pid_in(file: Path) -> int:
    """The number that a script wrote into a file."""
    assert until(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())
