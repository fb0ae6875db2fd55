"""k3d, kubectl and helm: the versions that are there, cached for as long as the programs are the same files, and those
that are wanted.
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
from tasks.process.command import Command
from tasks.process.programs import Programs

if TYPE_CHECKING:
    from tasks.facts.backend import Backend
    from tasks.settings.schema import Settings

PROGRAMS = ("k3d", "kubectl", "helm")
FILE = "versions.json"
_LEAST_SIZE = 1_000_000
"""Bytes. A smaller file is a script or a shim that may lead to another version tomorrow."""
_QUERIES: Mapping[str, Command] = {
    "k3d": Command(argv=("k3d", "version"), deadline=15.0),
    "kubectl": Command(argv=("kubectl", "version", "--client", "--output=json"), deadline=15.0),
    "helm": Command(argv=("helm", "version", "--short"), deadline=15.0),
}
_K3D = re.compile(r"^k3d version (v\S+)", re.MULTILINE)
_HELM = re.compile(r"^(v\d+(?:\.\d+)*[^\s+]*)", re.MULTILINE)
_NUMBERS = re.compile(r"^v?(\d+(?:\.\d+)*)")


@dataclass(frozen=True, kw_only=True)
class Versions:
    """As the programs name them, such as v5.9.0; None: missing, or it did not say."""

    k3d: str | None = None
    kubectl: str | None = None
    helm: str | None = None

    @property
    def helm_major(self) -> int:
        """Helm's major version; that of the pinned one where it is not known."""
        return (numbers(self.helm) or (4,))[0]


@dataclass(frozen=True, kw_only=True)
class _File:
    """The file of a program, which differs between versions of it."""

    path: str
    mtime_ns: int
    size: int
    version: str | None = None

    @property
    def lasting(self) -> bool:
        return self.size >= _LEAST_SIZE


def versions(programs: Programs, state: Path) -> Versions:
    """Run the three concurrently; those whose file has not changed since are not run again."""
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
    """(5, 9, 0) of v5.9.0-rc.1; empty for what is no version."""
    match = _NUMBERS.match(version or "")
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def parse(name: str, out: str) -> str | None:
    """The version in what the program printed; what a build puts after a + is left out."""
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


def _file(name: str, path: str | None) -> _File | None:
    """None if there is no such program. A link is followed: what it leads to is what runs."""
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
    """The cache; entries that are not as `_save` writes them are dropped."""
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


# Which are wanted, and whether those that are there will do

_VERSION, _MINOR = re.compile(r"v\d+\.\d+\.\d+"), re.compile(r"\d+\.\d+")


class Pin(NamedTuple):
    """One program."""

    version: str
    """What is fetched, such as v1.2.3."""
    minimum: str
    """The oldest that this project can use."""
    serves: tuple[str, str] | None = None
    """The oldest and the newest Kubernetes that it supports, such as 1.35; None: its project names no bound."""


class Lifetime(NamedTuple):
    """When the versions of a project leave support."""

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
        """The oldest version of each program that this project works with."""
        return {name: self.of(name).minimum for name in PROGRAMS}


def read_pins(root: Path) -> Pins:
    """What `config/pins.yaml` of the project has. Raises `BadInput`.

    Read by hand: each call does, and a model of pydantic's takes longer to make than all else of it (measured: 15 ms).
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
        raise BadInput(f"{path} is not as it must be", why=str(error), fix=fix) from None


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
    """The mapping at a place, with the names that it needs; `more`: those that it may have. With none, any are good."""
    if not isinstance(value, dict):
        raise ValueError(f"{place}: must be a mapping")  # noqa: TRY004 - all faults of the file are one kind
    top = "" if place == "the whole file" else f"{place}."
    for name in needed:
        if name not in value:
            raise ValueError(f"{top}{name}: is missing")
    for name in value if needed else ():
        if name not in (*needed, *more):
            raise ValueError(f"{top}{name}: is not known")
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
    """As it tells itself; None if it tells none."""
    ours: bool
    """It lies in the project's own folder."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Whether a program must be fetched, and the reason in either case."""

    fetch: bool
    why: str
    version: str
    """What is fetched."""


def need(pin: Pin, found: Found | None) -> Need:
    """What is on the PATH is used unless it is too old or does not run; what is ours has the pinned version."""
    if found is None:
        why = "neither in the project's folder nor on the PATH"
    elif not (known := numbers(found.version)):
        why = f"{found.path} does not tell its version, so it is taken for broken"
    elif found.ours and known != numbers(pin.version):
        why = f"the project's folder has {found.version}, and {pin.version} is wanted"
    elif known < numbers(pin.minimum):
        why = f"{found.path} is {found.version}, and at least {pin.minimum} is needed"
    else:
        return Need(fetch=False, why=f"{found.version} is there: {found.path}", version=pin.version)
    return Need(fetch=True, why=why, version=pin.version)


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


def needs(call: Call, names: Sequence[str]) -> dict[str, Need]:
    """Whether each of the programs must be fetched. Raises `BadInput` for wrong pins."""
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
        )
        for name, path in paths.items()
    }
    return {name: need(pins.of(name), each) for name, each in found.items()}


def bundled(program: Path) -> Path:
    """The file that holds the version of a program that came out of a bundle: that one need not be the pinned one."""
    return program.with_name(f".{program.name}.bundled")
