"""The folder of a rehearsal: its programs, its state, and what it is told of times and faults.

bin/            docker, k3d, kubectl and helm: stand-ins, each a process of its own
state/          what they have made: see `tasks.rehearsal.store`
times.json      how long things take: see `tasks.rehearsal.times`
faults.json     what is to fail: see `tasks.rehearsal.faults`
machine.json    what `docker info` says otherwise than of this machine (optional)
versions.json   which version helm is, if not the one of `VERSIONS` (optional)
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from pathlib import Path

from tasks.core.files import replacing
from tasks.core.lock import open_lock, release, take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

VARIABLE = "OPENFRAME_REHEARSAL"
"""Names the folder of the rehearsal that is going on."""
MARK = "openframe-rehearsal"
"""The extension of a rehearsed cluster in its kubeconfig: names the folder."""
PROGRAMS = ("docker", "k3d", "kubectl", "helm")
VERSIONS = {"docker": "28.2.2", "k3d": "v5.9.0", "kubectl": "v1.33.13", "helm": "v4.1.4"}
"""What the stand-ins say they are: those that are pinned (config/pins.yaml), and the engine that they were compared
with."""
_SIGN = "REHEARSAL"
_IN_USE = "in-use.lock"
_HANDLES: dict[Path, int] = {}
"""Locks of rehearsals that this process is at; they end with it."""
_TEXT = """REHEARSAL: nothing in this folder is real.

bin/ holds stand-ins for docker, k3d, kubectl and helm. They make no container and reach no network; what they have
"made" is in state/. To look around by hand: PATH="{folder}/bin:$PATH"
"""


class Place:
    """Paths of a rehearsal."""

    __slots__ = ("folder",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def bin(self) -> Path:
        """The stand-ins: first on the PATH, and the project's own folder of programs."""
        return self.folder / "bin"

    @property
    def state(self) -> Path:
        """What was made."""
        return self.folder / "state"

    @property
    def engine(self) -> Path:
        """The engine's own: images, containers, volumes, networks."""
        return self.state / "engine.json"

    def cluster(self, name: str) -> Path:
        """The objects of a cluster."""
        return self.state / f"cluster-{name}.db"

    def version(self, program: str) -> str:
        """What a stand-in says it is."""
        return str(self.read("versions.json", {}).get(program, VERSIONS[program]))

    def read(self, name: str, otherwise: Any) -> Any:  # noqa: ANN401 - any JSON document
        """A file of this folder; the default if it is not there. Raises `ValueError` for what is no JSON."""
        try:
            text = (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return otherwise
        return json.loads(text) if text.strip() else otherwise


def of(environ: Mapping[str, str]) -> Place | None:
    """The rehearsal that an environment names; None without one."""
    folder = environ.get(VARIABLE, "")
    return Place(Path(folder)) if folder else None


def prepare(folder: Path) -> None:
    """Make the programs, and an empty state where there is none; what was rehearsed before stays."""
    place = Place(folder.absolute())
    place.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.bin.mkdir(mode=0o700, exist_ok=True)
    _write(place.folder / _SIGN, _TEXT.format(folder=place.folder), 0o600)
    for program in PROGRAMS:
        _write(place.bin / program, _script(program, place.folder), 0o700)


def occupy(folder: Path) -> None:
    """Be at a rehearsal until this process ends: nobody clears it meanwhile. Waits for one who does."""
    path = folder.absolute() / _IN_USE
    handle = _HANDLES.get(path)
    while True:
        if handle is None:
            try:
                handle = open_lock(path)
            except FileNotFoundError:  # it is being cleared
                continue
        take(handle, math.inf, shared=True)
        if _is_at(handle, path):
            _HANDLES[path] = handle
            return
        os.close(handle)
        _HANDLES.pop(path, None)
        handle = None


def clear(folder: Path, unused: Callable[[], bool]) -> None:
    """Remove a rehearsal that nobody else is at, if it is `unused`; anything that is none is left alone."""
    path = folder.absolute() / _IN_USE
    handle = _HANDLES.get(path)
    if handle is None or not (folder / _SIGN).is_file():
        return
    release(handle)  # of two that leave at the same moment one may have it
    try:
        take(handle)
    except TimeoutError:
        return
    if _is_at(handle, path) and unused():
        shutil.rmtree(folder, ignore_errors=True)


def _is_at(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(handle)
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)


def _script(program: str, folder: Path) -> str:
    """A start as short as can be: no site-packages, nothing of the user's environment (-I, -S)."""
    import yaml

    root, packages = Path(__file__).parents[2], Path(yaml.__file__).parents[1]
    start = (
        f"import sys; sys.path.insert(0, {str(root)!r}); sys.path.append({str(packages)!r}); "
        "from tasks.rehearsal.standin import main; main()"
    )
    return (
        "#!/bin/sh\n"
        f"# REHEARSAL: a stand-in for {program}; nothing that it says it makes is real\n"
        f'export {VARIABLE}="${{{VARIABLE}:-{_quoted(folder)}}}"\n'
        f'exec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(start)} {program} "$@"\n'
    )


def _quoted(folder: Path) -> str:
    """A path within double quotes of a shell."""
    text = str(folder)
    for sign in '\\"$`':
        text = text.replace(sign, f"\\{sign}")
    return text


def _write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all: another process may be starting what is replaced."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with replacing(path, mode, sync=False) as file:
        file.write(text.encode())
