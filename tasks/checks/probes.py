"""Questions to this machine, its resolver, sudo, and a cluster that exists."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Collection
from pathlib import Path

from tasks.checks.facts import Context, Disk, Inotify, Rights
from tasks.errors import LaunchError
from tasks.facts.engine import Engine
from tasks.tools.program import Command, Programs

_INOTIFY = Path("/proc/sys/fs/inotify")
_RESOLVE_S = 3.0
"""Seconds for all names together: a resolver that takes longer is as good as none."""
_SERVICES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SUDO = Command(argv=("sudo", "-n", "true"), deadline=5.0, ok=(0, 1))


def disk(host: Engine) -> Disk | None:
    """Room where the engine keeps its data; None where that is not on this machine."""
    if not host.here or not host.root_dir:
        return None
    try:
        found = os.statvfs(host.root_dir)
    except OSError:
        return None
    return Disk(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)


def inotify(host: Engine, folder: Path = _INOTIFY) -> Inotify | None:
    """Limits of this kernel, if it is the engine's too."""
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
    """Whether an engine on this machine finds it: services get a PATH of their own (man 5 systemd.exec)."""
    if not host.here:
        return None
    return shutil.which("unpigz", path=f"{path}:{os.environ.get('PATH', '')}") is not None


def rights(programs: Programs) -> Rights:
    """Whether something can be run as root without being asked for a password."""
    if os.geteuid() == 0:
        return Rights(root=True, sudo=None)
    if programs.where("sudo") is None:
        return Rights(root=False, sudo=None)
    try:
        return Rights(root=False, sudo=programs.run(_SUDO).code == 0)
    except LaunchError:
        return Rights(root=False, sudo=False)


def unresolved(names: Collection[str], seconds: float = _RESOLVE_S) -> dict[str, str]:
    """Those names that have no address, with the resolver's words.

    The resolver cannot be interrupted: its threads are left behind, and end by themselves.
    """
    answers: dict[str, str] = {}

    def ask(name: str) -> None:
        try:
            socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
            answers[name] = ""
        except (OSError, UnicodeError) as error:
            answers[name] = str(getattr(error, "strerror", None) or error)

    threads = {name: threading.Thread(target=ask, args=(name,), daemon=True) for name in names}
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {seconds:g} s"
    return {name: error for name in names if (error := answers.get(name, late))}


def server(programs: Programs, name: str) -> Context:
    """The API server's version, by the user's own kubeconfig."""
    argv = ("kubectl", "--context", name, "--request-timeout=5s", "version", "--output=json")
    try:
        done = programs.run(Command(argv=argv, deadline=15.0, ok=(0, 1)))
    except LaunchError as error:
        return Context(name=name, version=None, error=error.what)
    try:
        return Context(name=name, version=json.loads(done.out)["serverVersion"]["gitVersion"])
    except (ValueError, KeyError, TypeError):
        said = done.err.strip().splitlines()
        return Context(name=name, version=None, error=said[-1] if said else "kubectl told no version of a server")
