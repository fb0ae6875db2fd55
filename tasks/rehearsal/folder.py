"""The folder of a rehearsal: its programs, its state, and its times and faults.

bin/            docker, k3d, kubectl and helm: the simulated programs, for shells and other programs
state/          what they have created: engine-3.json, and a database for each cluster (`tasks.rehearsal.objects`)
times.json      times: see `tasks.rehearsal.faults`
faults.json     faults: see `tasks.rehearsal.faults`
machine.json    fields of `docker info` that differ from this machine (optional)
versions.json   the version of helm, if not the one of `VERSIONS` (optional)
"""

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

from tasks.core.errors import BadInput
from tasks.core.files import prefix, replacing
from tasks.core.lock import acquire, open_lock, release
from tasks.rehearsal.engine import blank

VARIABLE = "OPENFRAME_REHEARSAL"
"""Names the folder of the current rehearsal."""
MARK = "openframe-rehearsal"
"""The extension of a rehearsed cluster in its kubeconfig: names the folder."""
PROGRAMS = ("docker", "k3d", "kubectl", "helm")
VERSIONS = {"docker": "28.2.2", "k3d": "v5.9.0", "kubectl": "v1.35.5", "helm": "v4.3.1"}
"""Versions of the simulated programs: the pinned ones (config/pins.yaml), and the engine that they were compared
with."""
FORM = 3
"""Version of state/: state in another format is ignored."""
ENGINE = f"engine-{FORM}.json"
_TICK = 20_000_000
"""Nanoseconds, more than the resolution of a file system's clock: within it, two states of a file may look alike."""
_SIGN = "REHEARSAL"
_IN_USE = "in-use.lock"
_HANDLES: dict[Path, int] = {}
"""Locks of rehearsals that this process uses; released with it."""
_TEXT = """REHEARSAL: nothing in this folder is real.

bin/ has simulated docker, k3d, kubectl and helm. They create no container and reach no network; what they have
"created" is in state/. To inspect it manually: PATH="{folder}/bin:$PATH"
"""


class NoJson(Exception):
    """A file of a rehearsal is not a JSON document."""


class Document:
    """One JSON document in one file, changed by several processes. Thread-safe.

    A writer holds a lock beside the file and replaces it atomically: a reader needs no lock, and a killed writer
    leaves the previous file.
    """

    __slots__ = ("_blank", "_read", "path")

    def __init__(self, path: Path, blank: Callable[[], Any] = dict) -> None:
        self.path = path
        self._blank = blank
        self._read: tuple[object, Any] = (None, None)
        """Identifies the state of the file, with its content."""

    def read(self) -> Any:  # noqa: ANN401 - any JSON document
        """The current content, possibly shared: use `change` to modify it. Raises `NoJson`."""
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
            raise NoJson(f"{self.path} is not JSON: {error}") from None

    @contextlib.contextmanager
    def change(self) -> Iterator[Any]:
        """The document under the lock; written if the block succeeds."""
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
        """The simulated programs: first on the PATH, and the project's own folder of programs."""
        return self.root / "bin"

    @property
    def state(self) -> Path:
        """What was created."""
        return self.root / "state"

    def cluster(self, name: str) -> Path:
        """The objects of a cluster."""
        return self.state / f"cluster-{FORM}-{name}.db"

    def volume(self, name: str) -> Path:
        """The objects of the cluster whose server's data is in a volume."""
        return self.state / f"volume-{FORM}-{name}.db"

    def version(self, program: str) -> str:
        """The version of a simulated program."""
        return str(self.read("versions.json").get(program, VERSIONS[program]))

    def read(self, name: str, blank: Callable[[], Any] = dict) -> Any:  # noqa: ANN401 - any JSON document
        """A file of this folder; empty if it does not exist. Raises `NoJson`."""
        return self._files.setdefault(name, Document(self.root / name, blank)).read()


def of(environ: Mapping[str, str]) -> Folder | None:
    """The rehearsal in an environment; None without one."""
    root = environ.get(VARIABLE, "")
    return Folder(Path(root)) if root else None


# -- as used by the tasks: written, used by this process, or cleared ----------------------------------------


def prepare(root: Path) -> None:
    """Write the programs, and an empty state if there is none; existing state stays."""
    folder = Folder(root.absolute())
    folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder.root / _SIGN, _TEXT.format(folder=folder.root), 0o600)
    folder.state.mkdir(mode=0o700, exist_ok=True)
    folder.bin.mkdir(mode=0o700, exist_ok=True)
    for program in PROGRAMS:
        _write(folder.bin / program, _script(program, folder.root), 0o700)


def occupy(root: Path) -> None:
    """Lock a rehearsal until this process ends, so that nothing clears it. Waits for another process that clears it.

    Raises `BadInput` for a folder that is not a rehearsal's.
    """
    _refuse_foreign(root)
    path = root.absolute() / _IN_USE
    handle = _HANDLES.get(path)
    while True:
        if handle is None:
            try:
                handle = open_lock(path)
            except FileNotFoundError:  # it is being cleared
                continue
        acquire(handle, math.inf, shared=True)
        if _holds(handle, path):
            _HANDLES[path] = handle
            return
        os.close(handle)
        _HANDLES.pop(path, None)
        handle = None


def clear(root: Path, unused: Callable[[], bool]) -> None:
    """Remove a rehearsal that no other process uses, if it is `unused`; any other folder is left unchanged."""
    path = root.absolute() / _IN_USE
    handle = _HANDLES.get(path)
    if handle is None or not (root / _SIGN).is_file():
        return
    release(handle)  # of two processes that leave at the same time one may have the lock
    try:
        acquire(handle)
    except TimeoutError:
        return
    if _holds(handle, path) and unused():
        with contextlib.suppress(OSError):  # a mount; others are gone at once for those who start now
            root = root.rename(root.with_name(f"{prefix(root.name)}{os.urandom(4).hex()}"))
        shutil.rmtree(root, ignore_errors=True)


def _refuse_foreign(root: Path) -> None:
    """Raises `BadInput` for a folder with other contents: a rehearsal is removed with its whole folder."""
    if not root.is_dir() or (root / _SIGN).is_file():
        return
    own = (_IN_USE, f".{_SIGN}.")  # the second one while another process writes it
    foreign = sorted(each.name for each in root.iterdir() if not each.name.startswith(own))
    if foreign:
        raise BadInput(
            f"{root} is not a rehearsal's folder: it contains {foreign[0]}",
            why="a rehearsal writes its programs there, and is removed with that folder",
            fix="set DEPLOY_LOG_DIR to another folder; or, if nothing in it is needed, remove it",
        )


def _holds(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(handle)
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)


def _script(program: str, root: Path) -> str:
    """The fastest start: no site-packages, nothing of the user's environment (-I, -S)."""
    import yaml  # what costs a stand-in most

    project, packages = Path(__file__).parents[2], Path(yaml.__file__).parents[1]
    start = (
        f"import gc, sys; gc.disable(); sys.path.insert(0, {str(project)!r}); sys.path.append({str(packages)!r}); "
        "from tasks.rehearsal.program import main; main()"
    )
    return (
        "#!/bin/sh\n"
        f"# REHEARSAL: simulated {program}; nothing that it creates is real\n"
        f'root={shlex.quote(str(root))}; export {VARIABLE}="${{{VARIABLE}:-$root}}"\n'
        f'exec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(start)} {program} "$@"\n'
    )


def _write(path: Path, text: str, mode: int) -> None:
    """Atomically: another process may be starting the replaced program."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with replacing(path, mode, sync=False) as file:
        file.write(text.encode())
