"""Provides k3d, kubectl and helm if they are missing or too old: downloaded, or from a bundle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.clients import docker
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import replacing, write_whole
from tasks.engine.step import Retry, Step
from tasks.facts.engine import engine
from tasks.facts.programs import PROGRAMS, Call, Need, bundled, needs

if TYPE_CHECKING:
    from tasks.clients.bundle import Bundle
    from tasks.core.paths import ClusterPaths

TASK = "tools"
AT_ONCE = 3
_PLAIN = "; over unencrypted http, so neither file nor checksum is protected against tampering"


def fetch_plan(call: Call) -> list[Step]:
    """A step for each program of the engine, skipped if nothing is missing. Starts no download.

    Raises `BadInput` for invalid pins, `LaunchError` if nothing is published for this machine.
    """
    return [
        _fetching(call, name, each)
        if each.fetch
        else Step(name=f"tools: {name}", task=TASK, action=lambda _context: None, skip=each.why)
        for name, each in needs(call, call.backend.needs_programs).items()
    ]


def _fetching(call: Call, name: str, need: Need) -> Step:
    from tasks.host.assets import asset, target
    from tasks.host.download import Fetch, mark

    machine, folder = os.uname(), call.root / ".tools" / "bin"
    file = asset(name, need.version, target(machine.sysname, machine.machine), call.settings.tools)
    return Step(
        name=f"tools: {name}",
        task=TASK,
        kind="download",
        action=Fetch(
            asset=file,
            folder=folder,
            downloads=folder.parent / "downloads",
            environ=call.environ,
            before=mark(folder / name),
            reason=need.why,
        ),
        deadline=call.settings.timeouts.pull,
        retry=Retry(attempts=4, first=1.0, cap=8.0),
        why=need.why + (_PLAIN if file.url.startswith("http://") else ""),
        expected=10.0,
    )


def place_files(call: Call, bundle: Bundle, paths: ClusterPaths) -> None:
    """Put missing or outdated programs into the project's folder, charts and names of images into the user's.

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
            f"the contents of {bundle.path} cannot be installed",
            why=f"{error.filename or call.root}: {error.strerror or error}",
            fix="free disk space, or correct the modes of the folder",
        ) from None


def _place(path: Path, pieces: Iterable[bytes]) -> None:
    with replacing(path) as file:
        file.writelines(pieces)


def _place_programs(call: Call, bundle: Bundle) -> None:
    from tasks.host.assets import target

    machine = os.uname()
    if bundle.lock.target != str(target(machine.sysname, machine.machine)):
        return  # existing ones are used, or downloaded
    folder = call.root / ".tools" / "bin"
    for name, need in needs(call, PROGRAMS).items():
        if need.fetch and name in bundle.lock.programs:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / name, 0o755) as file:
                bundle.program(name, file.write)
            write_whole(bundled(folder / name), bundle.lock.programs[name].name.removeprefix(f"{name} "))
