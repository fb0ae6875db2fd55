"""The local machine: disk and kernel limits of its engine, permissions of its user, and DNS."""

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tasks.core.errors import LaunchError
from tasks.facts.engine import Engine
from tasks.process.children import MARK
from tasks.process.command import Command
from tasks.process.programs import Programs

_INOTIFY = Path("/proc/sys/fs/inotify")
_RESOLVE_S = 3.0
"""Seconds for all names together: a slower resolver is useless."""
_SERVICES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SUDO = Command(argv=("sudo", "-n", "true"), deadline=5.0, ok=(0, 1))


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The file system with the engine's data, in bytes."""

    total: int
    free: int
    """For an ordinary user."""


@dataclass(frozen=True, kw_only=True)
class Inotify:
    """Limits of one user (man 7 inotify)."""

    instances: int
    watches: int


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What this user may do without a password prompt."""

    root: bool
    sudo: bool | None
    """Without a password; None: there is no sudo."""

    @property
    def enough(self) -> bool:
        """Whether something can be run as root."""
        return self.root or bool(self.sudo)


def disk(host: Engine) -> Disk | None:
    """Disk space for the engine's data; None if that is not on this machine."""
    if not host.here or not host.root_dir:
        return None
    try:
        found = os.statvfs(host.root_dir)
    except OSError:
        return None
    return Disk(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)


def inotify(host: Engine, folder: Path = _INOTIFY) -> Inotify | None:
    """Limits of this kernel, if the engine shares it."""
    if not host.here:
        return None
    try:
        return Inotify(
            instances=int((folder / "max_user_instances").read_text()),
            watches=int((folder / "max_user_watches").read_text()),
        )
    except (OSError, ValueError):
        return None


def unpigz(host: Engine, path: str = _SERVICES) -> bool | None:
    """Whether an engine on this machine finds it: services have their own PATH (man 5 systemd.exec)."""
    if not host.here:
        return None
    return shutil.which("unpigz", path=f"{path}:{os.environ.get('PATH', '')}") is not None


def rights(programs: Programs) -> Rights:
    """Whether root commands work without a password prompt."""
    if os.geteuid() == 0:
        return Rights(root=True, sudo=None)
    if programs.where("sudo") is None:
        return Rights(root=False, sudo=None)
    try:
        return Rights(root=False, sudo=programs.run(_SUDO).code == 0)
    except LaunchError:
        return Rights(root=False, sudo=False)


def unresolved(names: Collection[str], seconds: float = _RESOLVE_S) -> dict[str, str]:
    """The names without an address, with the resolver's message.

    The resolver cannot be interrupted: its threads are left behind, and end on their own.
    """
    answers: dict[str, str] = {}

    def resolve(name: str) -> None:
        try:
            socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
            answers[name] = ""
        except (OSError, UnicodeError) as error:
            answers[name] = str(getattr(error, "strerror", None) or error)

    threads = {name: threading.Thread(target=resolve, args=(name,), daemon=True) for name in names}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {seconds:g} s"
    return {name: error for name in names if (error := answers.get(name, late))}


def helm_at_work(release: str) -> int | None:
    """Id of a Helm process of this user that works on a release of that name and was not started by a run of this
    project; None if there is none.
    """
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            words = process.cmdline()
            named = any(Path(each).name.startswith("helm") for each in words[:2])  # after a script's interpreter
            if named and release in words and MARK not in process.environ():
                return process.pid
    return None
