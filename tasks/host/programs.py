"""Which versions of k3d, kubectl and helm are wanted, and how those that are missing come: fetched, or in a bundle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.clients import docker
from tasks.core import yaml
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import remembered, replacing, write_whole
from tasks.engine.step import Retry, Step
from tasks.facts.engine import engine
from tasks.facts.programs import numbers, versions

if TYPE_CHECKING:
    from tasks.clients.bundle import Bundle
    from tasks.core.paths import ClusterPaths
    from tasks.facts.backend import Backend
    from tasks.process.programs import Programs
    from tasks.settings.schema import Settings

TASK = "tools"
AT_ONCE = 3
PROGRAMS = ("k3d", "kubectl", "helm")
_PLAIN = "; by http without encryption, so neither file nor checksum is proof against forgery"


Version = Annotated[str, Field(pattern=r"^v\d+\.\d+\.\d+$")]
Minor = Annotated[str, Field(pattern=r"^\d+\.\d+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pin(_Strict):
    """One program."""

    version: Version
    """What is fetched."""
    minimum: Version
    """The oldest that this project can use."""
    serves: tuple[Minor, Minor] | None = None
    """The oldest and the newest Kubernetes that it supports; None: its project names no bound."""


class Lifetime(_Strict):
    """When the versions of a project leave support."""

    source: str
    ends: Mapping[Minor, date]


class Pins(_Strict):
    """All programs."""

    k3d: Pin
    kubectl: Pin
    helm: Pin
    support: Mapping[str, Lifetime] = {}
    """By project: `kubernetes`, `helm`."""

    def of(self, program: str) -> Pin:
        """The pin of one of `PROGRAMS`."""
        pin: Pin = getattr(self, program)
        return pin

    @property
    def minimum(self) -> dict[str, str | None]:
        """The oldest version of each program that this project works with."""
        return {name: self.of(name).minimum for name in PROGRAMS}


def read(path: Path) -> Pins:
    """The file's pins. Raises `BadInput`."""
    try:
        return Pins.model_validate(yaml.load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadInput(
            f"the pinned versions cannot be read: {path}",
            why=error.strerror or str(error),
            fix="restore the file: it is part of the project",
        ) from None
    except yaml.YamlError as error:
        raise _wrong(path, str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise _wrong(path, f"{'.'.join(map(str, first['loc'])) or 'the whole file'}: {first['msg']}") from None


def _wrong(path: Path, why: str) -> BadInput:
    return BadInput(f"{path} is not as it must be", why=why, fix="correct it, or restore the file of the project")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A program on this machine."""

    path: str
    version: str | None
    """As it tells itself; None if it tells none."""
    ours: bool
    """It lies in the project's own folder."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Whether a program must be fetched, and the reason in either case."""

    fetch: bool
    why: str


def need(pin: Pin, found: Found | None) -> Need:
    """What is on the PATH is used unless it is too old or does not run; what is ours has the pinned version."""
    if found is None:
        return Need(fetch=True, why="neither in the project's folder nor on the PATH")
    known = numbers(found.version)
    if not known:
        return Need(fetch=True, why=f"{found.path} does not tell its version, so it is taken for broken")
    if found.ours and known != numbers(pin.version):
        return Need(fetch=True, why=f"the project's folder has {found.version}, and {pin.version} is wanted")
    if known < numbers(pin.minimum):
        return Need(fetch=True, why=f"{found.path} is {found.version}, and at least {pin.minimum} is needed")
    return Need(fetch=False, why=f"{found.version} is there: {found.path}")


class Call(Protocol):
    """What is read of the call that needs the programs."""

    @property
    def root(self) -> Path:
        """The project's folder."""

    @property
    def state(self) -> Path:
        """The user's state folder."""

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment of the call."""

    @property
    def settings(self) -> Settings:
        """Of the call."""

    @property
    def backend(self) -> Backend:
        """What the call works on; it names the programs that it needs."""

    def programs(self) -> Programs:
        """Where programs are found."""


def fetch_plan(call: Call) -> list[Step]:
    """A step for each program of the engine, skipped where nothing is missing. Starts no download.

    Raises `BadInput` for wrong pins, `LaunchError` where nothing is published for this machine.
    """
    if not call.backend.needs_programs:
        return []
    pins = _pins(call)
    return [
        _fetching(call, name, pins.of(name), each.why)
        if each.fetch
        else Step(name=f"tools: {name}", task=TASK, action=lambda _context: None, skip=each.why)
        for name, each in needs(call, pins, call.backend.needs_programs).items()
    ]


def _pins(call: Call) -> Pins:
    return read(call.root / "config" / "pins.yaml")


def needs(call: Call, pins: Pins, names: Sequence[str]) -> dict[str, Need]:
    """Whether each of the programs must be fetched."""
    programs = call.programs()
    paths = {name: path for name in names if (path := programs.where(name)) is not None}
    reported = versions(programs, call.state) if paths else None
    found = dict.fromkeys(names, None) | {
        name: Found(
            path=path,
            version=getattr(reported, name),
            ours=Path(path).parent == programs.folder and remembered(bundled(Path(path))) != getattr(reported, name),
        )
        for name, path in paths.items()
    }
    return {name: need(pins.of(name), each) for name, each in found.items()}


def bundled(program: Path) -> Path:
    """The file that holds the version of a program that came out of a bundle: that one need not be the pinned one."""
    return program.with_name(f".{program.name}.bundled")


def _fetching(call: Call, name: str, pin: Pin, why: str) -> Step:
    from tasks.host.download import Fetch, mark
    from tasks.host.published import asset, target

    machine, folder = os.uname(), call.root / ".tools" / "bin"
    file = asset(name, pin.version, target(machine.sysname, machine.machine), call.settings.tools)
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
        ),
        deadline=call.settings.timeouts.pull,
        retry=Retry(attempts=4, first=1.0, cap=8.0),
        why=why + (_PLAIN if file.url.startswith("http://") else ""),
        expected=10.0,
    )


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
    from tasks.host.published import target

    machine = os.uname()
    if bundle.lock.target != str(target(machine.sysname, machine.machine)):
        return  # those that are here are used, or fetched
    folder = call.root / ".tools" / "bin"
    for name, need in needs(call, _pins(call), PROGRAMS).items():
        if need.fetch and name in bundle.lock.programs:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / name, 0o755) as file:
                bundle.program(name, file.write)
            write_whole(bundled(folder / name), bundle.lock.programs[name].name.removeprefix(f"{name} "))
