"""The folder of a rehearsal: its programs, its state, and what it is to know of times and faults.

bin/            docker, k3d, kubectl and helm: the stand-ins as programs, for shells and other programs
state/          what they have made: engine-3.json, and a database for each cluster (`tasks.rehearsal.objects`)
times.json      how long things take: see `tasks.rehearsal.conditions`
faults.json     what is to fail: see `tasks.rehearsal.conditions`
machine.json    fields of `docker info` that differ from this machine (optional)
versions.json   which version helm is, if not the one of `VERSIONS` (optional)
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.core.files import replacing
from tasks.core.lock import open_lock, release, take
from tasks.rehearsal.engine import blank

VARIABLE = "OPENFRAME_REHEARSAL"
"""Names the folder of the rehearsal that is going on."""
MARK = "openframe-rehearsal"
"""The extension of a rehearsed cluster in its kubeconfig: names the folder."""
PROGRAMS = ("docker", "k3d", "kubectl", "helm")
VERSIONS = {"docker": "28.2.2", "k3d": "v5.9.0", "kubectl": "v1.35.5", "helm": "v4.3.1"}
"""What the stand-ins say they are: those that are pinned (config/pins.yaml), and the engine that they were compared
with."""
FORM = 3
"""Of what is in state/: what was left in another form is not there."""
ENGINE = f"engine-{FORM}.json"
_TICK = 20_000_000
"""Nanoseconds, more than a file system's clock takes for a step: within one, two states of a file may look alike."""
_SIGN = "REHEARSAL"
_IN_USE = "in-use.lock"
_HANDLES: dict[Path, int] = {}
"""Locks of rehearsals that this process uses; they end with it."""
_TEXT = """REHEARSAL: nothing in this folder is real.

bin/ holds stand-ins for docker, k3d, kubectl and helm. They make no container and reach no network; what they have
"made" is in state/. To look around by hand: PATH="{folder}/bin:$PATH"
"""


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
        lock = open_lock(self.path.with_name(f"{self.path.name}.lock"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = json.loads(self.path.read_bytes()) if self.path.exists() else self._blank()
            yield found
            with replacing(self.path, sync=False) as file:
                file.write(json.dumps(found, separators=(",", ":")).encode())
        finally:
            os.close(lock)


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
        return self.state / f"cluster-{FORM}-{name}.db"

    def volume(self, name: str) -> Path:
        """The objects of the cluster whose server's data is in a volume."""
        return self.state / f"volume-{FORM}-{name}.db"

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


# -- as the tasks use it: written, used by this process, or cleared ------------------------------------------


def prepare(root: Path) -> None:
    """Write the programs, and an empty state where there is none; what was rehearsed before stays."""
    folder = Folder(root.absolute())
    folder.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.bin.mkdir(mode=0o700, exist_ok=True)
    _write(folder.root / _SIGN, _TEXT.format(folder=folder.root), 0o600)
    for program in PROGRAMS:
        _write(folder.bin / program, _script(program, folder.root), 0o700)


def occupy(root: Path) -> None:
    """Use a rehearsal until this process ends: nobody clears it meanwhile. Waits for one who does."""
    path = root.absolute() / _IN_USE
    handle = _HANDLES.get(path)
    while True:
        if handle is None:
            try:
                handle = open_lock(path)
            except FileNotFoundError:  # it is being cleared
                continue
        take(handle, math.inf, shared=True)
        if _holds(handle, path):
            _HANDLES[path] = handle
            return
        os.close(handle)
        _HANDLES.pop(path, None)
        handle = None


def clear(root: Path, unused: Callable[[], bool]) -> None:
    """Remove a rehearsal that no other process uses, if it is `unused`; any other folder is left alone."""
    path = root.absolute() / _IN_USE
    handle = _HANDLES.get(path)
    if handle is None or not (root / _SIGN).is_file():
        return
    release(handle)  # of two that leave at the same moment one may have it
    try:
        take(handle)
    except TimeoutError:
        return
    if _holds(handle, path) and unused():
        shutil.rmtree(root, ignore_errors=True)


def _holds(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(handle)
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)


def _script(program: str, root: Path) -> str:
    """A start as short as can be: no site-packages, nothing of the user's environment (-I, -S)."""
    import yaml  # what costs a stand-in most

    project, packages = Path(__file__).parents[2], Path(yaml.__file__).parents[1]
    start = (
        f"import gc, sys; gc.disable(); sys.path.insert(0, {str(project)!r}); sys.path.append({str(packages)!r}); "
        "from tasks.rehearsal.program import main; main()"
    )
    return (
        "#!/bin/sh\n"
        f"# REHEARSAL: a stand-in for {program}; nothing that it says it makes is real\n"
        f'root={shlex.quote(str(root))}; export {VARIABLE}="${{{VARIABLE}:-$root}}"\n'
        f'exec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(start)} {program} "$@"\n'
    )


def _write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all: another process may be starting what is replaced."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with replacing(path, mode, sync=False) as file:
        file.write(text.encode())
