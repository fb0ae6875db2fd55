"""The contents of a bundle besides images: programs and wheels; and temporary results on the way."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from tasks.clients.bundle import Bundle, File, Image
from tasks.core.files import compression, file_digest
from tasks.core.imageref import Reference
from tasks.core.units import MIB
from tasks.diagnose.command import run_command
from tasks.engine.step import Context, Report
from tasks.facts.facts import Facts
from tasks.facts.programs import PROGRAMS, Pins, numbers, versions
from tasks.host.assets import Target, asset, target
from tasks.process.command import Command, CommandFailed

PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
_LEVEL = 1
"""Gzip level for uncompressed data: higher levels cost seconds and save a few per cent."""
_EXECUTABLE = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""Magic numbers of executables, unlike scripts that call one elsewhere."""
_GLIBC = ("manylinux_2_5", "manylinux1", "manylinux_2_12", "manylinux2010", "manylinux_2_17", "manylinux2014")
_MACOS = ("macosx_10_9", "macosx_10_12", "macosx_11_0", "macosx_12_0")


@dataclass(frozen=True, kw_only=True)
class SaveOptions:
    """The options of one save."""

    path: Path
    platform: str
    settings: bytes
    """The effective settings, without secrets."""
    pins: Pins
    state: Path
    """The user's state folder."""
    old: Bundle | None = None
    """The existing bundle."""
    add: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def arch(self) -> str:
        """In the notation of image indexes."""
        return self.platform.split("/")[1]

    @property
    def target(self) -> Target:
        """The target of programs and wheels: this system, and the platform's processor."""
        return target(os.uname().sysname, self.arch)


@dataclass
class Found:
    """Results of steps, for the step that writes."""

    folder: Path
    """For temporary files; removed afterwards."""
    blobs: dict[str, tuple[int, Callable[[Context], Iterable[bytes]] | Remote]] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    releases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    charts: dict[str, File] = field(default_factory=dict)
    programs: dict[str, File] = field(default_factory=dict)
    wheels: dict[str, str] = field(default_factory=dict)
    pythons: tuple[str, ...] = ()
    requirements: str = ""

    def reuse(self, old: Bundle, digest: str) -> str:
        """Add a blob of the existing bundle; returns its digest."""
        self.blobs[digest] = (old.lock.blobs[digest], lambda _context: old.pieces(digest))
        return digest

    def data(self, content: bytes) -> str:
        """Add content from memory; returns its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = (len(content), lambda _context: [content])
        return digest

    def file(self, path: Path) -> str:
        """Add a file; returns its digest."""
        digest = f"sha256:{file_digest(path)}"
        self.blobs[digest] = (path.stat().st_size, lambda _context: pieces(path))
        return digest


@dataclass(frozen=True)
class Remote:
    """A blob in a registry on loopback."""

    port: int
    image: Reference


def pieces(path: Path) -> Iterator[bytes]:
    """The content of a file. Raises OSError."""
    with path.open("rb") as file:
        while piece := file.read(MIB):
            yield piece


def compress(pieces: Iterable[bytes], path: Path) -> tuple[str, int]:
    """Write a gzip file without time and name; returns digest and size of the uncompressed content."""
    pack, digest, size = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31), hashlib.sha256(), 0
    with path.open("wb") as file:
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            file.write(pack.compress(piece))
        file.write(pack.flush())
    return digest.hexdigest(), size


def pack_layer(layer: IO[bytes], path: Path) -> str:
    """Write a layer from `docker save`, compressed by gzip unless it already is; returns its compression.

    Docker's containerd image store, the default of new installations since 29, saves layers as registries have them.
    """
    start = layer.read(4)
    layer.seek(0)
    if (name := compression(start)) in ("gzip", "zstd"):  # of a layer (image-spec: layer.md)
        with path.open("wb") as file:
            shutil.copyfileobj(layer, file, MIB)
        return name
    compress(iter(lambda: layer.read(MIB), b""), path)
    return "gzip"


def programs(facts: Facts, options: SaveOptions, found: Found, context: Context) -> Report:
    """The programs of this machine, if they fit the bundle's target; otherwise downloaded ones."""
    machine = os.uname()
    here = options.target == target(machine.sysname, machine.machine)
    reported = versions(facts.programs, options.state)
    described = []
    for name in PROGRAMS:
        pin = options.pins.of(name)
        path, version = facts.programs.where(name), getattr(reported, name)
        if not (here and path and numbers(version) >= numbers(pin.minimum) and _is_executable(Path(path))):
            path, version = str(_fetched(facts, options, found, name, context)), pin.version
        described.append(f"{name} {version}")
        before = options.old.lock.programs.get(name) if options.old is not None else None
        if options.old is not None and before is not None and before.sha256 == file_digest(Path(path)):
            found.programs[name] = replace(before, name=described[-1], digest=found.reuse(options.old, before.digest))
            continue
        packed = found.folder / f"{name}.gz"
        digest, size = compress(pieces(Path(path)), packed)
        found.programs[name] = File(
            name=f"{name} {version}", file=name, digest=found.file(packed), sha256=digest, size=size
        )
    return Report(why=", ".join(described))


def _is_executable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in _EXECUTABLE
    except OSError:
        return False


def _fetched(facts: Facts, options: SaveOptions, found: Found, name: str, context: Context) -> Path:
    from tasks.host.download import Fetch

    file = asset(name, options.pins.of(name).version, options.target, facts.settings.tools)
    folder = found.folder / "programs"
    Fetch(asset=file, folder=folder, downloads=found.folder / "downloads", environ=facts.environ)(context)
    return folder / name


def wheels(facts: Facts, options: SaveOptions, found: Found, context: Context) -> Report:
    """With pip, which verifies the hashes of requirements.txt."""
    found.requirements, old = file_digest(facts.root / "requirements.txt"), options.old
    if old is not None and (old.lock.requirements, old.lock.target) == (found.requirements, str(options.target)):
        found.pythons = old.lock.pythons
        found.wheels = {name: found.reuse(old, digest) for name, digest in old.lock.wheels.items()}
        return Report(why="requirements.txt has not changed", skipped=True)
    folder = found.folder / "wheels"
    folder.mkdir(exist_ok=True)
    arch = {"amd64": "x86_64", "arm64": "aarch64" if options.target.system == "linux" else "arm64"}.get(
        options.arch, options.arch
    )
    names = (*_GLIBC, "manylinux_2_28") if options.target.system == "linux" else _MACOS
    platforms = [word for each in names for word in ("--platform", f"{each}_{arch}")]

    def fetch(python: str) -> None:
        own = folder / python
        own.mkdir(exist_ok=True)
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        argv += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python, *platforms]
        argv += ["--requirement", str(facts.root / "requirements.txt"), "--dest", str(own)]
        run_command(facts.programs, Command(argv=tuple(argv), deadline=context.deadline), context)

    with ThreadPoolExecutor(max_workers=len(PYTHONS)) as pool:
        running = {python: pool.submit(fetch, python) for python in PYTHONS}
    failed = {python: error for python, each in running.items() if (error := each.exception()) is not None}
    for error in failed.values():
        if len(failed) == len(PYTHONS) or not isinstance(error, CommandFailed):
            raise error
    found.pythons = tuple(each for each in PYTHONS if each not in failed)
    for path in sorted(each for python in found.pythons for each in (folder / python).iterdir()):
        found.wheels[path.name] = found.file(path)
    notes = tuple(f"no wheels for Python {python}: {error}".split("\n", 1)[0] for python, error in failed.items())
    return Report(why=f"{len(found.wheels)} for Python {', '.join(found.pythons)}", notes=notes)
