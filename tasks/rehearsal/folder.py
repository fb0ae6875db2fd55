"""The folder of a rehearsal: its programs, its state, and what it is to know of times and faults.

bin/            docker, k3d, kubectl and helm: the stand-ins as programs, for shells and other programs
state/          what they have made: engine-2.json, and a database for each cluster (`tasks.rehearsal.objects`)
times.json      how long things take: see `tasks.rehearsal.conditions`
faults.json     what is to fail: see `tasks.rehearsal.conditions`
machine.json    fields of `docker info` that differ from this machine (optional)
versions.json   which version helm is, if not the one of `VERSIONS` (optional)

Every one of these programs loads this module as it starts, so it imports little.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tasks.rehearsal.engine import blank

VARIABLE = "OPENFRAME_REHEARSAL"
"""Names the folder of the rehearsal that is going on."""
MARK = "openframe-rehearsal"
"""The extension of a rehearsed cluster in its kubeconfig: names the folder."""
PROGRAMS = ("docker", "k3d", "kubectl", "helm")
VERSIONS = {"docker": "28.2.2", "k3d": "v5.9.0", "kubectl": "v1.35.5", "helm": "v4.3.1"}
"""What the stand-ins say they are: those that are pinned (config/pins.yaml), and the engine that they were compared
with."""
ENGINE = "engine-2.json"
"""The number is that of its form: what was left in another form is not there."""
_TICK = 20_000_000
"""Nanoseconds, more than a file system's clock takes for a step: within one, two states of a file may look alike."""


class NoJson(Exception):
    """A file of a rehearsal is no JSON document."""


class Document:
    """One JSON document in one file, which several processes change. Thread-safe.

    A writer holds a lock beside the file and puts a whole new one in its place: a reader needs no lock, and a writer
    that is killed leaves the file of before.
    """

    __slots__ = ("_blank", "_read", "path")

    def __init__(self, path: Path, blank: Callable[[], Any] = dict) -> None:
        self.path = path
        self._blank = blank
        self._read: tuple[object, Any] = (None, None)
        """What tells one state of the file from all others, and what it held."""

    def read(self) -> Any:  # noqa: ANN401 - any JSON document
        """As it is now; it may be shared: whoever wants to change it uses `change`. Raises `NoJson`."""
        try:
            with self.path.open(encoding="utf-8") as file:
                found = os.fstat(file.fileno())
                mark = (found.st_ino, found.st_mtime_ns, found.st_size)
                last = self._read
                if last[0] != mark:
                    settled = time.time_ns() - found.st_mtime_ns > _TICK
                    text = file.read()
                    last = mark if settled else None, json.loads(text) if text.strip() else self._blank()
                    self._read = last
                return last[1]
        except FileNotFoundError:
            return self._blank()
        except ValueError as error:
            raise NoJson(f"{self.path} is no JSON: {error}") from None

    @contextlib.contextmanager
    def change(self) -> Iterator[Any]:
        """The document, alone; written when the block ends well."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _opened(self.path.with_name(f"{self.path.name}.lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = json.loads(self.path.read_bytes()) if self.path.exists() else self._blank()
            yield found
            fresh = self.path.with_name(f"{self.path.name}.new")
            with _opened(fresh) as file:
                file.truncate()  # a writer that was killed may have left more
                file.write(json.dumps(found, separators=(",", ":")).encode())
            fresh.replace(self.path)


def _opened(path: Path) -> IO[bytes]:
    """A file of this user's alone, made if it is missing, to be written."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "wb")


class Folder:
    """Paths and files of a rehearsal."""

    __slots__ = ("_files", "engine", "root")

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[str, Document] = {}
        self.engine = Document(self.state / ENGINE, blank)
        """The engine's own: images, containers, volumes, networks."""

    @property
    def bin(self) -> Path:
        """The stand-ins: first on the PATH, and the project's own folder of programs."""
        return self.root / "bin"

    @property
    def state(self) -> Path:
        """What was made."""
        return self.root / "state"

    def cluster(self, name: str) -> Path:
        """The objects of a cluster."""
        return self.state / f"cluster-{name}.db"

    def volume(self, name: str) -> Path:
        """The objects of the cluster whose server's data is in a volume."""
        return self.state / f"volume-{name}.db"

    def version(self, program: str) -> str:
        """What a stand-in says it is."""
        return str(self.read("versions.json").get(program, VERSIONS[program]))

    def read(self, name: str, blank: Callable[[], Any] = dict) -> Any:  # noqa: ANN401 - any JSON document
        """A file of this folder; blank if it is not there. Raises `NoJson`."""
        return self._files.setdefault(name, Document(self.root / name, blank)).read()


def of(environ: Mapping[str, str]) -> Folder | None:
    """The rehearsal that an environment names; None without one."""
    root = environ.get(VARIABLE, "")
    return Folder(Path(root)) if root else None
