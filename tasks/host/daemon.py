"""The dockerd that runs on this machine: its process and arguments, whether it takes a file, and whether it took it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.errors import LaunchError
from tasks.core.paths import config_home
from tasks.engine.step import Context
from tasks.facts.engine import Engine
from tasks.host.daemon_json import DOWNLOADS, MIRRORS, UPLOADS, Desired, NotPlain, mirrors, number, parse, plain
from tasks.host.writer import FileState, Writer
from tasks.process.command import Command, CommandFailed, DeadlinePassed
from tasks.process.programs import Programs

PROC = Path("/proc")
_NAME = "dockerd"
_KEYS = {
    "registry-mirror": "registry-mirrors",
    "max-concurrent-downloads": "max-concurrent-downloads",
    "max-concurrent-uploads": "max-concurrent-uploads",
}
"""Arguments by their names, and the keys of daemon.json that say the same."""
_FORGOTTEN = frozenset({"max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts", "feature"})
"""Arguments that a reload sets back to Docker's defaults (moby: `daemon/reload.go`)."""

Read = Callable[[Path], FileState | None]
"""A file; None if it is not there, or cannot be seen."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A process."""

    pid: int
    user: int
    argv: tuple[str, ...]

    def option(self, name: str) -> str | None:
        """The value of an option, written as `--name value` or `--name=value`; the last one."""
        found = None
        for place, part in enumerate(self.argv):
            if part.startswith(f"--{name}="):
                found = part.partition("=")[2]
            elif part == f"--{name}" and place + 1 < len(self.argv):
                found = self.argv[place + 1]
        return found

    @property
    def given(self) -> frozenset[str]:
        """Keys of ours that are arguments already."""
        return frozenset(key for name, key in _KEYS.items() if self._has(name))

    @property
    def forgotten(self) -> tuple[str, ...]:
        """Arguments that a reload would undo."""
        return tuple(sorted(name for name in _FORGOTTEN if self._has(name)))

    def _has(self, name: str) -> bool:
        return any(part == f"--{name}" or part.startswith(f"--{name}=") for part in self.argv)


def by_pidfile(files: Iterable[Path], user: int, read: Read, proc: Path = PROC) -> Running | None:
    """The process that the first of these files names, if that is a dockerd of this user."""
    for file in files:
        state = read(file)
        text = state.data.decode("ascii", "replace").strip() if state is not None else ""
        found = process(int(text), user, read, proc) if text.isdecimal() and len(text) < 12 else None
        if found is not None:
            return found
    return None


def by_name(user: int, read: Read, proc: Path = PROC) -> Running | None:
    """The only dockerd of this user in this container or on this machine; None where there are several, or none.

    Those inside of containers show as well, with a number of their own there (man 5 proc: NSpid).
    """
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            status = (folder / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        rows = dict(row.partition(":")[::2] for row in status.splitlines())
        if rows.get("Name", "").strip() == _NAME and len(rows.get("NSpid", "1").split()) == 1:
            found.append(process(int(folder.name), user, read, proc))
    there = [each for each in found if each is not None]
    return there[0] if len(there) == 1 else None


def process(pid: int, user: int, read: Read, proc: Path = PROC) -> Running | None:
    """A process, if it is a dockerd of this user: a number in a file may be another one's by now."""
    try:
        owner = (proc / str(pid)).stat().st_uid
    except OSError:
        return None
    line = read(proc / str(pid) / "cmdline")
    argv = tuple(line.data.decode("utf-8", "surrogateescape").split("\0"))[:-1] if line is not None else ()
    if owner != user or not argv or Path(argv[0]).name != _NAME:
        return None
    return Running(pid=pid, user=owner, argv=argv)


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
    return config_home(environ) / "docker" / "daemon.json"


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
    state = read(file)
    try:
        found = parse(state.data.decode("utf-8")).get(key) if state is not None else None
    except (NotPlain, UnicodeDecodeError):
        return ""
    return found if isinstance(found, str) else ""


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


_UNDO = "taking the keys out again undoes it"


class Elsewhere(LaunchError):
    """daemon.json cannot be changed from here: nothing was done."""


def away(host: Engine) -> bool:
    """Whether an engine runs in a machine of its own, or in another container than this."""
    return host.desktop or not host.here


def elsewhere(host: Engine, desired: Desired) -> Elsewhere:
    """The steps for the machine that this engine runs in."""
    name, steps = _steps(host, desired)
    return Elsewhere(
        f"Docker's daemon.json is not on this machine, but in {name}: nothing was changed",
        why="it is kept there by other means, which this task does not touch",
        fix="\n".join((*steps, _UNDO)),
    )


def _steps(host: Engine, desired: Desired) -> tuple[str, Sequence[str]]:
    numbers = {key: value for key, value in ((DOWNLOADS, desired.downloads), (UPLOADS, desired.uploads)) if value}
    mirrored = {**numbers, **({MIRRORS: [desired.mirror]} if desired.mirror else {})}
    if host.os.startswith("Docker Desktop") or host.name == "docker-desktop":
        # no mirror: that its machine reaches a port of this one's loopback has never been seen
        return "the machine of Docker Desktop", (
            "Docker Desktop: Settings, Docker Engine: add these keys to what stands there, then Apply & restart:",
            *_json(numbers),
        )
    if host.context.startswith("colima") or host.name.startswith("colima"):
        profile = host.name.removeprefix("colima").strip("-")
        which = f" --profile {profile}" if profile else ""
        return "the machine of Colima", (
            f"`colima stop{which}`, then `colima start{which} --edit`: add below `docker:`",
            *(f"  {key}: {json.dumps(value)}" for key, value in mirrored.items()),
        )
    if host.os.startswith("OrbStack") or host.name == "orbstack":
        return "the machine of OrbStack", (
            "OrbStack: Settings, Docker: add these keys to the engine's configuration, then `orb restart docker`:",
            *_json(numbers),
        )
    return f"the machine '{host.name}'", (
        "there, as root: add these keys to /etc/docker/daemon.json, then `kill -HUP $(cat /var/run/docker.pid)`:",
        *_json(mirrored),
    )


def _json(keys: Mapping[str, object]) -> list[str]:
    return [f"  {row}" for row in json.dumps(keys, indent=2).splitlines()]


PATIENCE = 10.0
"""Seconds from the signal to the event; a reload needs milliseconds."""
_CANNOT_TELL = ("unknown flag", "flag provided but not defined", "root privileges", "run as root")
"""dockerd before version 23 does not validate."""


class NotReloaded(LaunchError):
    """Docker has not taken the file over."""


class _Heard(Exception):
    """Ends the listening."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        super().__init__()
        self.attributes = attributes


def validate(programs: Programs, places: Sequence[str], data: bytes, context: Context | None) -> str | None:
    """What dockerd has against a file; None: nothing, or there is no dockerd that can tell."""
    path = next((found for name in places if (found := programs.where(name)) is not None), None)
    if path is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".json") as file:  # mode 0600
        file.write(data)
        file.flush()
        command = Command(argv=(path, "--validate", f"--config-file={file.name}"), deadline=20.0)
        try:
            programs.run(command, context)
        except CommandFailed as error:
            said = f"{error.done.out}\n{error.done.err}"
            if isinstance(error, DeadlinePassed) or any(text in said for text in _CANNOT_TELL):
                return None
            lines = error.tail()
            return (lines[-1] if lines else error.what).replace(file.name, "it")
        except LaunchError:  # it could not even be started
            return None
    return None


def reload(programs: Programs, writer: Writer, pid: int, text: str, context: Context | None) -> None:
    """Have Docker read the file again, which holds this text. Raises `NotReloaded`.

    The engine tells of a reload by an event with all values in force (moby: `daemon/reload.go`); one that refuses the
    file only logs that, and goes on with the old values. An engine that reads another file tells other values.
    """
    since = time.time()  # as the engine's events are timed: it runs on this machine
    writer.signal(pid)
    reported = _listen(programs, since, context)
    if reported is None:
        raise NotReloaded(
            f"Docker has not read its daemon.json again within {PATIENCE:g} s",
            why="it refuses the file, or the process that got the signal is another engine's",
            fix="its log tells more: `journalctl --unit docker --lines 20`",
        )
    wrong = differences(reported, parse(text))
    if wrong:
        raise NotReloaded(
            "Docker has read another daemon.json than the one that was written",
            why="it tells of " + ", ".join(wrong),
            fix="name the right file in the setting docker.daemon_json",
        )


def differences(reported: Mapping[str, str], document: Mapping[str, Any]) -> list[str]:
    """Values of a reload that are not those of the file. What is not reported is not compared."""
    found = [
        f"{key} {reported[key]}"
        for key in (DOWNLOADS, UPLOADS)
        if key in reported and reported[key] != str(number(document, key))
    ]
    if MIRRORS in reported and MIRRORS in document:  # without the key they stay as they were
        have = {plain(each) for each in _list(reported[MIRRORS])}
        if have != {plain(each) for each in mirrors(document)}:
            found.append(f"{MIRRORS} {reported[MIRRORS]}")
    return found


def _listen(programs: Programs, since: float, context: Context | None) -> Mapping[str, str] | None:
    """The values that the next reload tells; None if there is none in time."""

    def hear(line: str) -> None:
        reported = _attributes(line)
        if reported is not None:
            raise _Heard(reported)

    command = Command(
        argv=(
            *("docker", "events", "--since", f"{since:.6f}", "--until", f"{since + PATIENCE:.6f}"),
            *("--filter", "type=daemon", "--filter", "event=reload", "--format", "{{json .}}"),
        ),
        deadline=PATIENCE + 10.0,
    )
    try:
        programs.run(command, context, listen=hear)
    except _Heard as heard:
        return heard.attributes
    except CommandFailed:
        return None
    return None


def _attributes(line: str) -> dict[str, str] | None:
    try:
        found: Any = json.loads(line)["Actor"]["Attributes"]
    except (ValueError, KeyError, TypeError):
        return None
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else None


def _list(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [str(each) for each in found] if isinstance(found, list) else []
