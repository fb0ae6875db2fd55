"""A rehearsal's folder as the tasks use it: its programs are written, it is used by this process, or cleared."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from tasks.core.files import replacing
from tasks.core.lock import open_lock, release, take
from tasks.rehearsal.folder import PROGRAMS, VARIABLE, Folder

_SIGN = "REHEARSAL"
_IN_USE = "in-use.lock"
_HANDLES: dict[Path, int] = {}
"""Locks of rehearsals that this process uses; they end with it."""
_TEXT = """REHEARSAL: nothing in this folder is real.

bin/ holds stand-ins for docker, k3d, kubectl and helm. They make no container and reach no network; what they have
"made" is in state/. To look around by hand: PATH="{folder}/bin:$PATH"
"""


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
    project, packages = Path(__file__).parents[2], Path(yaml.__file__).parents[1]
    start = (
        f"import gc, sys; gc.disable(); sys.path.insert(0, {str(project)!r}); sys.path.append({str(packages)!r}); "
        "from tasks.rehearsal.program import main; main()"
    )
    return (
        "#!/bin/sh\n"
        f"# REHEARSAL: a stand-in for {program}; nothing that it says it makes is real\n"
        f'export {VARIABLE}="${{{VARIABLE}:-{_quoted(root)}}}"\n'
        f'exec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(start)} {program} "$@"\n'
    )


def _quoted(path: Path) -> str:
    """A path within double quotes of a shell."""
    text = str(path)
    for sign in '\\"$`':
        text = text.replace(sign, f"\\{sign}")
    return text


def _write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all: another process may be starting what is replaced."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with replacing(path, mode, sync=False) as file:
        file.write(text.encode())
