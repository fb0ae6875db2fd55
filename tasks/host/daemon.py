"""The dockerd on this machine: its process and arguments, validation of a file, and its reload."""

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
"""Arguments by name, and the equivalent keys of daemon.json."""
_FORGOTTEN = frozenset({"max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts", "feature"})
"""Arguments that a reload resets to Docker's defaults (moby: `daemon/reload.go`)."""

Read = Callable[[Path], FileState | None]
"""A file; None if it does not exist, or cannot be seen."""


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
        """Keys of this project that are set as arguments."""
        return frozenset(key for name, key in _KEYS.items() if self._has(name))

    @property
    def forgotten(self) -> tuple[str, ...]:
        """Arguments that a reload would undo."""
        return tuple(sorted(name for name in _FORGOTTEN if self._has(name)))

    def _has(self, name: str) -> bool:
        return any(part == f"--{name}" or part.startswith(f"--{name}=") for part in self.argv)


def by_pidfile(files: Iterable[Path], user: int, read: Read, proc: Path = PROC) -> Running | None:
    """The process in the first of these files, if that is a dockerd of this user."""
    for file in files:
        state = read(file)
        text = state.data.decode("ascii", "replace").strip() if state is not None else ""
        found = process(int(text), user, read, proc) if text.isdecimal() and len(text) < 12 else None
        if found is not None:
            return found
    return None


def by_name(user: int, read: Read, proc: Path = PROC) -> Running | None:
    """The only dockerd of this user in this container or on this machine; None if there are several, or none.

    Those inside of containers are visible as well, with another pid there (man 5 proc: NSpid).
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
    """A process, if it is a dockerd of this user: the pid in a file may have been reused."""
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
"""`current` points to the snap's revision (docker-snap: README)."""
_SNAP_DATA = "/var/snap/docker/"
_DATA = "/var/lib/docker"
_PROGRAMS = ("/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd")
"""An ordinary user's PATH may lack the folders for administrators."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One daemon.json, and the process that reads it."""

    file: Path
    """With all links resolved."""
    running: Running | None = None
    """None: it is not visible, or does not run."""

    @property
    def programs(self) -> tuple[str, ...]:
        """Candidates for the dockerd program."""
        own = self.running.argv[0] if self.running is not None else ""
        return ("dockerd", *((own,) if own.startswith("/") else ()), *_PROGRAMS)


def locate(
    host: Engine, environ: Mapping[str, str], setting: str | None, read: Read, proc: Path = Path("/proc")
) -> Place:
    """For an engine on this machine. Its own `--config-file` takes precedence over the usual places."""
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
    """Possible places of a daemon.json, whatever runs: for undoing a change that keeps Docker from running."""
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
    """Where the file itself has the pid of the process."""
    named = _text(file, "pidfile", read)
    return (Path(named),) if named else ()


def _keeps(running: Running, host: Engine, usual: Path, read: Read) -> bool:
    """Whether a process uses the engine's data folder: several may run on one machine."""
    file = Path(running.option("config-file") or usual)
    root = running.option("data-root") or _text(file, "data-root", read)
    if not root and (host.rootless or host.root_dir.startswith(_SNAP_DATA)):
        return True
    root = os.path.realpath(root or _DATA)
    return host.root_dir == root or host.root_dir.startswith(f"{root}/")  # with user namespaces a subfolder


def _text(file: Path, key: str, read: Read) -> str:
    """A string in a daemon.json; empty if there is none."""
    state = read(file)
    try:
        found = parse(state.data.decode("utf-8")).get(key) if state is not None else None
    except (NotPlain, UnicodeDecodeError):
        return ""
    return found if isinstance(found, str) else ""


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


_UNDO = "removing the keys again undoes it"


class Elsewhere(LaunchError):
    """daemon.json cannot be changed from here: nothing was done."""


def runs_elsewhere(host: Engine) -> bool:
    """Whether an engine runs in its own virtual machine, or in another container than this one."""
    return host.desktop or not host.here


def elsewhere(host: Engine, desired: Desired) -> Elsewhere:
    """The error with instructions for the machine that this engine runs in."""
    name, steps = _steps(host, desired)
    return Elsewhere(
        f"Docker's daemon.json is not on this machine, but in {name}: nothing was changed",
        why="it is managed there by other means, which this task does not change",
        fix="\n".join((*steps, _UNDO)),
    )


def _steps(host: Engine, desired: Desired) -> tuple[str, Sequence[str]]:
    numbers = {key: value for key, value in ((DOWNLOADS, desired.downloads), (UPLOADS, desired.uploads)) if value}
    mirrored = {**numbers, **({MIRRORS: [desired.mirror]} if desired.mirror else {})}
    if host.os.startswith("Docker Desktop") or host.name == "docker-desktop":
        # no mirror: its machine has not been seen to reach a port of this one's loopback
        return "the machine of Docker Desktop", (
            "Docker Desktop: Settings, Docker Engine: add these keys to the existing ones, then Apply & restart:",
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
    """Docker has not accepted the file."""


class _Heard(Exception):
    """Ends the listening."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        super().__init__()
        self.attributes = attributes


def validate(programs: Programs, places: Sequence[str], data: bytes, context: Context | None) -> str | None:
    """The error of dockerd for a file; None: none, or there is no dockerd that can validate."""
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
            message = f"{error.done.out}\n{error.done.err}"
            if isinstance(error, DeadlinePassed) or any(text in message for text in _CANNOT_TELL):
                return None
            lines = error.tail()
            return (lines[-1] if lines else error.what).replace(file.name, "it")
        except LaunchError:  # dockerd could not be started
            return None
    return None


def reload(programs: Programs, writer: Writer, pid: int, text: str, context: Context | None) -> None:
    """Make Docker read the file again, which contains this text. Raises `NotReloaded`.

    The engine reports a reload by an event with all effective values (moby: `daemon/reload.go`); one that rejects the
    file only logs that, and keeps the old values. An engine that reads another file reports other values.
    """
    since = time.time()  # comparable to the engine's events: it runs on this machine
    writer.signal(pid)
    reported = _listen(programs, since, context)
    if reported is None:
        raise NotReloaded(
            f"Docker has not read its daemon.json again within {PATIENCE:g} s",
            why="it rejects the file, or the signalled process belongs to another engine",
            fix="its log shows more: `journalctl --unit docker --lines 20`",
        )
    wrong = differences(reported, parse(text))
    if wrong:
        raise NotReloaded(
            "Docker has read another daemon.json than the written one",
            why="it reports " + ", ".join(wrong),
            fix="set docker.daemon_json to the right file",
        )


def differences(reported: Mapping[str, str], document: Mapping[str, Any]) -> list[str]:
    """Values of a reload that differ from the file. Unreported values are not compared."""
    found = [
        f"{key} {reported[key]}"
        for key in (DOWNLOADS, UPLOADS)
        if key in reported and reported[key] != str(number(document, key))
    ]
    if MIRRORS in reported and MIRRORS in document:  # without the key they stay unchanged
        have = {plain(each) for each in _list(reported[MIRRORS])}
        if have != {plain(each) for each in mirrors(document)}:
            found.append(f"{MIRRORS} {reported[MIRRORS]}")
    return found


def _listen(programs: Programs, since: float, context: Context | None) -> Mapping[str, str] | None:
    """The values of the next reload event; None if there is none in time."""

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
