"""Versions of k3d, kubectl and helm, cached for as long as the programs are the same files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.core.errors import LaunchError
from tasks.process.command import Command
from tasks.process.programs import Programs

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
    from tasks.core.files import write_whole

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, json.dumps({name: vars(file) for name, file in files.items()}, indent=1) + "\n")
    except OSError:
        return  # a cache that cannot be written only costs three processes
