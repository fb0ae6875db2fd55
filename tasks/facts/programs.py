"""k3d, kubectl and helm: their versions, cached for as long as the programs are the same files, and the pinned
versions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tasks.core import yaml
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import remembered, write_whole
from tasks.process.command import Command, CommandFailed, last_line
from tasks.process.programs import Programs

if TYPE_CHECKING:
    from tasks.facts.backend import Backend
    from tasks.settings.schema import Settings

PROGRAMS = ("k3d", "kubectl", "helm")
FILE = "versions.json"
_LEAST_SIZE = 1_000_000
"""Bytes. A smaller file is a script or a shim that may run another version tomorrow."""
_QUERIES: Mapping[str, Command] = {
    "k3d": Command(argv=("k3d", "version"), deadline=15.0),
    "kubectl": Command(argv=("kubectl", "version", "--client", "--output=json"), deadline=15.0),
    # with another driver of the user's it would want to connect to that
    "helm": Command(argv=("helm", "version", "--short"), env={"HELM_DRIVER": "secret"}, deadline=15.0),
}
_K3D = re.compile(r"^k3d version (v\S+)", re.MULTILINE)
_HELM = re.compile(r"^(v\d+(?:\.\d+)*[^\s+]*)", re.MULTILINE)
_NUMBERS = re.compile(r"^v?(\d+(?:\.\d+)*)")


@dataclass(frozen=True, kw_only=True)
class Versions:
    """As reported by the programs, such as v5.9.0; None: missing, or unknown."""

    k3d: str | None = None
    kubectl: str | None = None
    helm: str | None = None

    @property
    def helm_major(self) -> int:
        """Helm's major version; that of the pinned one if unknown."""
        return (numbers(self.helm) or (4,))[0]


@dataclass(frozen=True, kw_only=True)
class _File:
    """The file of a program, for detecting changes."""

    path: str
    mtime_ns: int
    size: int
    version: str | None = None

    @property
    def lasting(self) -> bool:
        return self.size >= _LEAST_SIZE


def versions(programs: Programs, state: Path) -> Versions:
    """Run the three concurrently; programs whose file has not changed are not run again."""
    cached = _load(state / FILE)
    files = {name: _file(name, programs.where(name)) for name in _QUERIES}
    with ThreadPoolExecutor(max_workers=len(_QUERIES)) as pool:
        running = {
            name: pool.submit(_ask, programs, name)
            for name, file in files.items()
            if file is not None and not _same(file, cached.get(name))
        }
        answers = {name: answer.result() for name, answer in running.items()}
    found = {**{name: each.version for name, each in cached.items() if files.get(name)}, **answers}
    if answers:
        fresh = {
            name: replace(file, version=answers[name]) for name, file in files.items() if file and answers.get(name)
        }
        _save(state / FILE, {**cached, **{name: file for name, file in fresh.items() if file.lasting}})
    return Versions(k3d=found.get("k3d"), kubectl=found.get("kubectl"), helm=found.get("helm"))


def numbers(version: str | None) -> tuple[int, ...]:
    """(5, 9, 0) for v5.9.0-rc.1; empty for an invalid version."""
    match = _NUMBERS.match(version or "")
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def parse(name: str, out: str) -> str | None:
    """The version in the program's output, without a build suffix after +."""
    if name == "kubectl":
        try:
            found = json.loads(out)["clientVersion"]["gitVersion"]
        except (ValueError, KeyError, TypeError):
            return None
        return found.split("+")[0] if isinstance(found, str) else None
    match = (_K3D if name == "k3d" else _HELM).search(out)
    return match[1].split("+")[0] if match else None


def _ask(programs: Programs, name: str) -> str | None:
    try:
        return parse(name, programs.run(_QUERIES[name]).out)
    except LaunchError:
        return None


def _error(programs: Programs, name: str) -> str:
    """Why a program does not report its version."""
    try:
        return last_line(programs.run(_QUERIES[name]))
    except CommandFailed as error:
        return error.last_line()
    except LaunchError as error:
        return error.diagnosis.reason


def _file(name: str, path: str | None) -> _File | None:
    """None if there is no such program. Links are resolved: the target is what runs."""
    if path is None:
        return None
    try:
        real = Path(path).resolve(strict=True)
        stat = real.stat()
    except OSError:
        return _File(path=path, mtime_ns=0, size=0)
    # version managers link every name to themselves (mise, snap): then the file does not determine the version
    size = stat.st_size if real.name.startswith(name) else 0
    return _File(path=str(real), mtime_ns=stat.st_mtime_ns, size=size)


def _same(file: _File, cached: _File | None) -> bool:
    return cached is not None and file == replace(cached, version=None)


def _load(path: Path) -> dict[str, _File]:
    """The cache; entries not in the format of `_save` are dropped."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {name: each for name in _QUERIES if (each := _read(document.get(name))) is not None}


def _read(row: Any) -> _File | None:  # noqa: ANN401 - what a file held
    if not isinstance(row, dict) or not isinstance(row.get("version"), str):
        return None
    try:
        return _File(**row)
    except TypeError:
        return None


def _save(path: Path, files: Mapping[str, _File]) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, json.dumps({name: vars(file) for name, file in files.items()}, indent=1) + "\n")
    except OSError:
        return  # a cache that cannot be written only costs three processes


# The pinned versions, and whether the existing programs are sufficient

_VERSION, _MINOR = re.compile(r"v\d+\.\d+\.\d+"), re.compile(r"\d+\.\d+")


class Pin(NamedTuple):
    """One program."""

    version: str
    """The version to download, such as v1.2.3."""
    minimum: str
    """The oldest version that this project supports."""
    serves: tuple[str, str] | None = None
    """The oldest and the newest Kubernetes that it supports, such as 1.35; None: unbounded."""


class Lifetime(NamedTuple):
    """When the versions of a project reach end of support."""

    source: str
    ends: Mapping[str, date]
    """By minor version."""


class Pins(NamedTuple):
    """All programs."""

    k3d: Pin
    kubectl: Pin
    helm: Pin
    support: Mapping[str, Lifetime]
    """By project: `kubernetes`, `helm`."""

    def of(self, program: str) -> Pin:
        """The pin of one of `PROGRAMS`."""
        pin: Pin = getattr(self, program)
        return pin

    @property
    def minimum(self) -> dict[str, str | None]:
        """The oldest supported version of each program."""
        return {name: self.of(name).minimum for name in PROGRAMS}


def read_pins(root: Path) -> Pins:
    """Parse `config/pins.yaml` of the project. Raises `BadInput`.

    Parsed by hand on each call: creating a pydantic model takes longer than all else in a call (measured: 15 ms).
    """
    path = root / "config" / "pins.yaml"
    try:
        return _pins(yaml.load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadInput(
            f"the pinned versions cannot be read: {path}",
            why=error.strerror or str(error),
            fix="restore the file: it is part of the project",
        ) from None
    except ValueError as error:
        fix = "correct it, or restore the file of the project"
        raise BadInput(f"{path} is not valid", why=str(error), fix=fix) from None


def _pins(document: object) -> Pins:
    """Raises `ValueError`, which names the place."""
    whole = _mapping(document, "the whole file", PROGRAMS, ("support",))
    support = {}
    for name, each in _mapping(whole.get("support", {}), "support").items():
        given = _mapping(each, f"support.{name}", ("source", "ends"))
        ends = _mapping(given["ends"], f"support.{name}.ends").items()
        dates = {_like(_MINOR, minor, f"support.{name}.ends"): date.fromisoformat(str(day)) for minor, day in ends}
        support[name] = Lifetime(source=str(given["source"]), ends=dates)
    return Pins(**{name: _pin(name, whole[name]) for name in PROGRAMS}, support=support)


def _pin(name: str, value: object) -> Pin:
    given = _mapping(value, name, ("version", "minimum"), ("serves",))
    version, minimum = (_like(_VERSION, given[each], f"{name}.{each}") for each in ("version", "minimum"))
    serves = given.get("serves")
    if serves is None:
        return Pin(version, minimum)
    if not isinstance(serves, list) or len(serves) != 2:
        raise ValueError(f"{name}.serves: must be the oldest and the newest")
    first, last = (_like(_MINOR, each, f"{name}.serves.{number}") for number, each in enumerate(serves))
    return Pin(version, minimum, (first, last))


def _mapping(value: object, place: str, needed: Sequence[str] = (), more: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping at a location, with its required names; `more`: optional names. Without both, any name is allowed."""
    if not isinstance(value, dict):
        raise ValueError(f"{place}: must be a mapping")  # noqa: TRY004 - all faults of the file are one kind
    top = "" if place == "the whole file" else f"{place}."
    for name in needed:
        if name not in value:
            raise ValueError(f"{top}{name}: is missing")
    for name in value if needed else ():
        if name not in (*needed, *more):
            raise ValueError(f"{top}{name}: is unknown")
    return value


def _like(pattern: re.Pattern[str], value: object, place: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{place}: must be a text such as {'v1.2.3' if pattern is _VERSION else '1.35, in quotes'}")
    return value


@dataclass(frozen=True, kw_only=True)
class Found:
    """A program on this machine."""

    path: str
    version: str | None
    """As reported by itself; None if unknown."""
    ours: bool
    """Whether it is in the project's own folder."""
    error: str = ""
    """Its error instead of a version."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Whether a program must be downloaded, and the reason."""

    fetch: bool
    why: str
    version: str
    """The version to download."""


def need(pin: Pin, found: Found | None) -> Need:
    """A program on the PATH is used unless it is too old or broken; the project's own must be the pinned version."""
    if found is None:
        why = "neither in the project's folder nor on the PATH"
    elif not (known := numbers(found.version)):
        message = f" ({found.error})" if found.error else ""
        why = f"{found.path} does not report its version{message}, so it is considered broken"
    elif found.ours and known != numbers(pin.version):
        why = f"the project's folder has {found.version}, and {pin.version} is wanted"
    elif known < numbers(pin.minimum):
        why = f"{found.path} is {found.version}, and at least {pin.minimum} is needed"
    else:
        return Need(fetch=False, why=f"{found.version} is there: {found.path}", version=pin.version)
    return Need(fetch=True, why=why, version=pin.version)


class Call(Protocol):
    """What is needed from the call."""

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
        """The settings of the call."""

    @property
    def backend(self) -> Backend:
        """The backend of the call, which has the list of needed programs."""

    def programs(self) -> Programs:
        """Where programs are found."""


def needs(call: Call, names: Sequence[str]) -> dict[str, Need]:
    """Whether each of the programs must be downloaded. Raises `BadInput` for invalid pins."""
    if not names:
        return {}
    pins, programs = read_pins(call.root), call.programs()
    paths = {name: path for name in names if (path := programs.where(name)) is not None}
    reported = versions(programs, call.state) if paths else None
    found = dict.fromkeys(names, None) | {
        name: Found(
            path=path,
            version=getattr(reported, name),
            ours=Path(path).parent == programs.folder and remembered(bundled(Path(path))) != getattr(reported, name),
            error="" if getattr(reported, name) else _error(programs, name),
        )
        for name, path in paths.items()
    }
    return {name: need(pins.of(name), each) for name, each in found.items()}


def bundled(program: Path) -> Path:
    """The file with the version of a program from a bundle, which may differ from the pinned one."""
    return program.with_name(f".{program.name}.bundled")
