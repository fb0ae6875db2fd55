"""Which versions of k3d, kubectl and helm are wanted, and the steps that fetch those that are missing or too old."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.core.errors import BadInput
from tasks.core.files import remembered
from tasks.engine.step import Retry, Step
from tasks.facts.programs import numbers, versions

if TYPE_CHECKING:
    from tasks.facts.backend import Backend
    from tasks.host.published import Target
    from tasks.process.programs import Programs
    from tasks.settings.schema import Settings

TASK = "tools"
AT_ONCE = 3
PROGRAMS = ("k3d", "kubectl", "helm")

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
    from tasks.core import yaml

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
    names = call.backend.needs_programs
    if not names:
        return []
    wanted, here = needs(call, names), None
    if any(each.fetch for each in wanted.values()):
        from tasks.host.published import target

        machine = os.uname()
        here = target(machine.sysname, machine.machine)
    return _steps(call, read(call.root / "config" / "pins.yaml"), wanted, here)


def needs(call: Call, names: Sequence[str]) -> dict[str, Need]:
    """Whether each of the programs must be fetched. Raises `BadInput` for wrong pins."""
    pins, found = read(call.root / "config" / "pins.yaml"), _found(call, names)
    return {name: need(pins.of(name), found[name]) for name in names}


def _found(call: Call, names: Sequence[str]) -> dict[str, Found | None]:
    """The programs that are there, with the versions that they tell."""
    programs = call.programs()
    paths = {name: path for name in names if (path := programs.where(name)) is not None}
    if not paths:
        return dict.fromkeys(names)

    reported = versions(programs, call.state)
    return {
        name: Found(
            path=paths[name],
            version=getattr(reported, name),
            ours=Path(paths[name]).parent == programs.folder
            and remembered(bundled(Path(paths[name]))) != getattr(reported, name),
        )
        if name in paths
        else None
        for name in names
    }


def bundled(program: Path) -> Path:
    """The file that holds the version of a program that came out of a bundle: that one need not be the pinned one."""
    return program.with_name(f".{program.name}.bundled")


def _steps(call: Call, pins: Pins, needs: Mapping[str, Need], here: Target | None) -> list[Step]:
    skipped = {
        name: Step(name=_name(name), task=TASK, action=lambda _context: None, skip=each.why)
        for name, each in needs.items()
        if here is None or not each.fetch
    }
    if here is None or len(skipped) == len(needs):
        return list(skipped.values())
    from tasks.host.download import Fetch, mark
    from tasks.host.published import asset

    folder = call.root / ".tools" / "bin"
    made = []
    for name, each in needs.items():
        if name in skipped:
            made.append(skipped[name])
            continue
        file = asset(name, pins.of(name).version, here, call.settings.tools)
        plain = "; by http without encryption, so neither file nor checksum is proof against forgery"
        made.append(
            Step(
                name=_name(name),
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
                why=each.why + (plain if file.url.startswith("http://") else ""),
                expected=10.0,
            )
        )
    return made


def _name(program: str) -> str:
    return f"tools: {program}"
