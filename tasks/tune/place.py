"""Where daemon.json is, and whose: rootful, rootless, from a snap, or where a setting or dockerd itself says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.facts.engine import Engine
from tasks.tune.daemon import Read, Running, by_name, by_pidfile
from tasks.tune.document import NotPlain, get

ROOTFUL = Path("/etc/docker/daemon.json")
SNAP = Path("/var/snap/docker/current/config/daemon.json")
"""`current` leads to the snap's revision (docker-snap: README)."""
_SNAP_DATA = "/var/snap/docker/"
_DATA = "/var/lib/docker"
_PROGRAMS = ("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd")
"""An ordinary user's PATH may lack the folders of administrators."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One daemon.json, and the process that reads it."""

    file: Path
    """With all links followed."""
    running: Running | None = None
    """None: it does not show, or does not run."""

    @property
    def programs(self) -> tuple[str, ...]:
        """Where dockerd may be, as a program."""
        own = self.running.argv[0] if self.running is not None else ""
        return ("dockerd", *((own,) if own.startswith("/") else ()), *_PROGRAMS)


def locate(
    host: Engine, environ: Mapping[str, str], setting: str | None, read: Read, proc: Path = Path("/proc")
) -> Place:
    """Of an engine on this machine. Its own `--config-file` is believed before the usual places."""
    usual = _usual(host, environ)
    user = os.geteuid() if host.rootless else 0
    files = [*_configured(Path(setting) if setting else usual, read), *_pidfiles(host, environ)]
    running = by_pidfile(files, user, read, proc) or by_name(user, read, proc)
    if running is not None and not _keeps(running, host, usual, read):
        running = None
    own = running.option("config-file") if running is not None else None
    file = setting or (own if own is not None and own.startswith("/") else usual)
    return Place(file=_real(Path(file)), running=running)


def known(environ: Mapping[str, str], setting: str | None) -> tuple[Path, ...]:
    """Where a daemon.json may be, whatever runs: for undoing what keeps Docker from running."""
    given = (Path(setting),) if setting else ()
    return tuple(dict.fromkeys(_real(path) for path in (*given, ROOTFUL, _rootless(environ), SNAP)))


def _usual(host: Engine, environ: Mapping[str, str]) -> Path:
    """Docker's documentation: daemon configuration file."""
    if host.rootless:
        return _rootless(environ)
    return SNAP if host.root_dir.startswith(_SNAP_DATA) else ROOTFUL


def _rootless(environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("HOME") or Path.home())
    given = environ.get("XDG_CONFIG_HOME", "")
    return (Path(given) if given.startswith("/") else home / ".config") / "docker" / "daemon.json"


def _pidfiles(host: Engine, environ: Mapping[str, str]) -> tuple[Path, ...]:
    if host.rootless:
        return (Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}") / "docker.pid",)
    snap = (Path("/run/snap.docker/docker.pid"),) if host.root_dir.startswith(_SNAP_DATA) else ()
    return (*snap, Path("/var/run/docker.pid"))


def _configured(file: Path, read: Read) -> tuple[Path, ...]:
    """Where the file itself says that the number of the process is."""
    named = _text(file, "pidfile", read)
    return (Path(named),) if named else ()


def _keeps(running: Running, host: Engine, usual: Path, read: Read) -> bool:
    """Whether a process keeps its data where the engine says it does: several may run beside each other."""
    file = Path(running.option("config-file") or usual)
    root = running.option("data-root") or _text(file, "data-root", read)
    if not root and (host.rootless or host.root_dir.startswith(_SNAP_DATA)):
        return True
    root = os.path.realpath(root or _DATA)
    return host.root_dir == root or host.root_dir.startswith(f"{root}/")  # with user namespaces a folder in it


def _text(file: Path, key: str, read: Read) -> str:
    """A text in a daemon.json; empty where there is none."""
    kept = read(file)
    try:
        member = get(kept.data.decode("utf-8"), key) if kept is not None else None
    except (NotPlain, UnicodeDecodeError):
        return ""
    return member.value if member is not None and isinstance(member.value, str) else ""


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
