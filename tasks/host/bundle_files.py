"""A bundle's files placed on this machine: programs for the project, charts and names of images for the user."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from tasks.clients import docker
from tasks.clients.bundle import Bundle
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import replacing, write_whole
from tasks.core.paths import ClusterPaths
from tasks.facts.engine import engine
from tasks.host.programs import PROGRAMS, Call, bundled, needs
from tasks.host.published import target


def place_files(call: Call, bundle: Bundle, paths: ClusterPaths) -> None:
    """Put programs that are missing or too old into the project's folder, charts and names of images into the user's.

    Raises `BadInput` for a bundle of another platform, `NoEngine`, and `LaunchError` for a folder that is not writable.
    """
    host, lock = engine(call.programs()), bundle.lock
    if not docker.fits(lock.platform, host.platform):
        raise BadInput(
            f"{bundle.path} is for {lock.platform}, and the engine's platform is {host.platform}",
            why="k3s and the other programs in it do not run under emulation",
            fix=f"save one for it: invoke bundle save FILE --platform {host.platform}",
        )
    try:
        _place_programs(call, bundle)
        for key, file in lock.charts.items():
            folder = paths.cache / "charts" / key
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _place(folder / file.file, bundle.pieces(file.digest))
        paths.images.mkdir(parents=True, exist_ok=True, mode=0o700)
        for key, names in lock.releases.items():
            write_whole(paths.images / key, json.dumps(names))
    except OSError as error:
        raise LaunchError(
            f"what is in {bundle.path} cannot be placed",
            why=f"{error.filename or call.root}: {error.strerror or error}",
            fix="make room, or correct the modes of the folder",
        ) from None


def _place(path: Path, pieces: Iterable[bytes]) -> None:
    with replacing(path) as file:
        file.writelines(pieces)


def _place_programs(call: Call, bundle: Bundle) -> None:
    machine = os.uname()
    if bundle.lock.target != str(target(machine.sysname, machine.machine)):
        return  # those that are here are used, or fetched
    folder = call.root / ".tools" / "bin"
    for name, need in needs(call, PROGRAMS).items():
        if need.fetch and name in bundle.lock.programs:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / name, 0o755) as file:
                bundle.program(name, file.write)
            write_whole(bundled(folder / name), bundle.lock.programs[name].name.removeprefix(f"{name} "))
