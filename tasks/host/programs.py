"""Which programs must be fetched, and why."""

from __future__ import annotations

import contextlib
import errno
import gzip
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.core.digest import file_digest
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import replacing, sweep
from tasks.core.lock import locked
from tasks.core.units import MIB, mib
from tasks.engine.step import Context, Report
from tasks.facts.programs import numbers
from tasks.host import published
from tasks.host.download import Brought, Part, download
from tasks.host.published import Asset
from tasks.host.transfer import PATIENCE, Line, Reach

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


class Pins(_Strict):
    """All programs."""

    k3d: Pin
    kubectl: Pin
    helm: Pin

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


_LARGEST = 512 * MIB
"""Bytes of an unpacked program: an archive must not fill the disk."""


@contextlib.contextmanager
def member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """The file of that name, to be read. Raises `LaunchError`, also while it is read."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                if entry.name.removeprefix("./") == name:
                    break
            else:
                raise _wrong_unpack(name, "it is not in it")
            if not entry.isreg() or entry.size > _LARGEST:
                raise _wrong_unpack(name, "it is no file, or larger than any program that is fetched here")
            content = tar.extractfile(entry)
            assert content is not None  # a regular file
            with content:
                yield content
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _wrong_unpack(name, f"it cannot be read: {error}") from None


def _wrong_unpack(name: str, why: str) -> LaunchError:
    return LaunchError(
        f"the downloaded archive does not give {name}",
        why=f"{why}; its checksum is right, so this is what was published",
        fix="look at the version in config/pins.yaml, or put the program on the PATH",
    )


Mark = tuple[int, int] | None
"""What tells one file from its successor under the same name; None: there is none."""


def mark(path: Path) -> Mark:
    """Inode and time of change of a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextlib.contextmanager
def _alone(path: Path, context: Context, end: float) -> Iterator[None]:
    """One fetch of a program at a time: wait for another until `end` (monotonic). Raises `LaunchError`, `Stopped`."""
    said: list[str] = []

    def wait(seconds: float) -> None:
        if not said:
            said.append("another process is fetching it: waiting for that")
            context.say(said[0])
        context.wait(seconds)

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path, max(0.0, end - time.monotonic()), wait=wait))
        except TimeoutError:
            raise LaunchError(
                "another process is still fetching the same program",
                why=f"it holds {path}",
                fix="wait for it, or end it; what it has downloaded is kept",
            ) from None
        yield


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """The action of one step."""

    asset: Asset
    folder: Path
    """Where the program goes."""
    downloads: Path
    """Where unfinished downloads are kept."""
    environ: Mapping[str, str]
    before: Mark = None
    """The program's mark when the plan was made."""
    patience: float = PATIENCE

    def __call__(self, context: Context) -> Report:
        """Raises `LaunchError`, `Stopped`. Nothing is placed that was not verified."""
        try:
            return self._fetch(context)
        except OSError as error:  # the network's are told by `Reach`: these are the disk's
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise LaunchError(
                f"{self.asset.program} cannot be written to {self.downloads.parent}",
                why=error.strerror or str(error),
                fix="free some space and run it again: it goes on from where it was"
                if full
                else f"make the folder writable for you, or put {self.asset.program} on the PATH",
            ) from None

    def _fetch(self, context: Context) -> Report:
        asset = self.asset
        destination = self.folder / asset.program
        line = Line.of(context, self.environ, Reach(asset.program, asset.setting), self.patience)
        with _alone(self.downloads / f"{asset.program}.lock", context, line.end):
            if mark(destination) != self.before:
                return Report(why="another process has placed it meanwhile", skipped=True)
            wanted = published.published(line.text(asset.checksum_url), asset)
            part = Part(self.downloads, asset.file)
            brought = download(asset, part, line, context.say)
            self._verify(part, wanted, brought)
            with self._program(part) as source:
                self.folder.mkdir(parents=True, exist_ok=True)
                sweep(self.folder)
                with replacing(destination, 0o755) as file:
                    shutil.copyfileobj(source, file, MIB)
            part.drop()
            part.drop_others(asset.program)
        return Report(why=f"fetched {asset.version}, {mib(brought.size)}, its checksum is right")

    def _verify(self, part: Part, wanted: str, brought: Brought) -> None:
        """A file that was put together, or may have been cut short, is worth another attempt."""
        got = file_digest(part.path)
        if got != wanted:
            part.drop()
            raise published.mismatch(self.asset, wanted, got, transient=not brought.sure)

    def _program(self, part: Part) -> AbstractContextManager[IO[bytes]]:
        return part.path.open("rb") if self.asset.member is None else member(part.path, self.asset.member)
