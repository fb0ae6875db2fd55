"""The download of one program: resumed after an earlier attempt, verified, and placed atomically."""

import contextlib
import errno
import gzip
import json
import re
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from tasks.core.errors import LaunchError
from tasks.core.files import file_digest, replacing, sweep, write_whole
from tasks.core.lock import locked
from tasks.core.redact import bare_address
from tasks.core.units import MIB, mib
from tasks.engine.step import Context, Report
from tasks.host import assets
from tasks.host.assets import Asset
from tasks.host.transfer import PATIENCE, Head, Line, Reach, Transfer


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a server said about the whole file."""

    url: str
    """Without credentials."""
    etag: str = ""
    modified: str = ""
    total: int | None = None
    """Bytes; None if the server does not say."""

    @property
    def validator(self) -> str:
        """For `If-Range`: a strong ETag, else the modification time (RFC 9110, 13.1.5)."""
        return self.modified if not self.etag or self.etag.startswith("W/") else self.etag


class Part:
    """The downloaded part of a file: `NAME.part`, with its origin in `NAME.part.json`."""

    def __init__(self, folder: Path, name: str, url: str) -> None:
        """Empty if it came from another address, or its origin is lost."""
        self.path = folder / f"{name}.part"
        self._saved = folder / f"{name}.part.json"
        try:
            self.origin, self.size = Origin(**json.loads(self._saved.read_text("utf-8"))), self.path.stat().st_size
            fits = self.origin.url == url and (self.origin.total is None or self.size <= self.origin.total)
        except (OSError, ValueError, TypeError):
            fits = False
        if not fits:
            self.origin, self.size = Origin(url=url), 0

    @property
    def whole(self) -> bool:
        """Whether it is complete, as far as the server has said."""
        return self.size > 0 and self.size == self.origin.total

    def headers(self) -> dict[str, str]:
        """Headers that request the rest of it."""
        wanted = {"Range": f"bytes={self.size}-"} if self.size else {}
        if self.size and self.origin.validator:
            wanted["If-Range"] = self.origin.validator
        return wanted

    def begin(self, origin: Origin) -> BinaryIO:
        """Open for appending. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("ab" if self.size else "wb")  # first: a truncated part belongs to the previous origin
        try:
            write_whole(self._saved, json.dumps(vars(origin)) + "\n")
        except BaseException:
            file.close()
            raise
        return file

    def drop(self) -> None:
        """Delete the part."""
        self.size = 0
        for path in (self.path, self._saved):
            path.unlink(missing_ok=True)

    def drop_others(self, program: str) -> None:
        """Delete parts of other versions of a program."""
        for path in {*self.path.parent.glob(f"{program}-v*.part*")} - {self.path, self._saved}:
            path.unlink(missing_ok=True)


_LARGEST = 512 * MIB
"""Maximum size: no program here comes near, and an endless response must not fill the disk."""
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_PAUSE = 0.25
"""Seconds between two lines of progress."""


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """How a file was downloaded."""

    size: int
    sure: bool
    """Whether it came in one piece, of the announced length."""


def download(asset: Asset, part: Part, line: Line, say: Callable[[str], None]) -> Downloaded:
    """Download the file into its part. Raises `LaunchError`, `Stopped`, and OSError of the disk; the part stays."""
    if part.whole:
        return Downloaded(size=part.size, sure=False)
    brought = _ask(asset, part, line, say)
    if brought is None:  # the file on the server has changed, or it rejects the range
        part.drop()
        brought = _ask(asset, part, line, say)
    if brought is None:
        raise LaunchError(
            f"{part.origin.url} answered with a part of the file that was not requested",
            why="the server, or a proxy on the way, violates HTTP",
            fix=line.reach.other,
        )
    return brought


def _ask(asset: Asset, part: Part, line: Line, say: Callable[[str], None]) -> Downloaded | None:
    """None if the response does not match the part on disk."""
    with line.get(asset.url, part.headers()) as transfer:
        head = transfer.head()
        first, total = _range(head)
        if head.status == 416 and part.size:
            return Downloaded(size=part.size, sure=False) if total == part.size else None
        if head.status == 206:
            if not part.size or first != part.size or _changed(head, part.origin):
                return None
        elif head.status == 200:
            part.size, total = 0, head.length
        else:
            raise line.reach.refused(asset.url, head.status)
        origin = Origin(
            url=part.origin.url,
            etag=head.headers.get("etag", ""),
            modified=head.headers.get("last-modified", ""),
            total=total,
        )
        return _write(part, origin, transfer, line, say)


def _write(part: Part, origin: Origin, transfer: Transfer, line: Line, say: Callable[[str], None]) -> Downloaded:
    size, reported = part.size, 0.0
    with part.begin(origin) as file:
        for chunk in transfer.chunks():
            file.write(chunk)
            size += len(chunk)
            if max(size, origin.total or 0) > _LARGEST:
                part.drop()
                raise LaunchError(
                    f"{origin.url} is larger than {_LARGEST // MIB} MiB",
                    why="no program that is downloaded here is",
                    fix=line.reach.other,
                )
            now = time.monotonic()
            if now - reported >= _PAUSE:
                reported = now
                say(mib(size, origin.total))
    if origin.total is not None and size < origin.total:
        raise LaunchError(
            f"the connection ended after {mib(size, origin.total)} of {origin.url}",
            why="the server, or a proxy, closed it",
            fix=f"run it again: it continues from there; or {line.reach.other}",
            transient=True,
        )
    say(mib(size))
    return Downloaded(size=size, sure=not part.size and origin.total is not None)


def _range(head: Head) -> tuple[int | None, int | None]:
    """The first byte and the total length in `Content-Range`."""
    match = _RANGE.fullmatch(head.headers.get("content-range", "").strip())
    if match is None:
        return None, None
    return (int(match[1]) if match[1] else None), (int(match[2]) if match[2] != "*" else None)


def _changed(head: Head, origin: Origin) -> bool:
    """Whether the file has changed: a server without `If-Range` support sends the rest of another file."""
    return bool(origin.etag) and head.headers.get("etag", origin.etag) != origin.etag


@contextlib.contextmanager
def member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """The file of that name, for reading. Raises `LaunchError`, also during reading."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                if entry.name.removeprefix("./") == name:
                    break
            else:
                raise _wrong_archive(name, "it is not in it")
            if not entry.isreg() or entry.size > _LARGEST:
                raise _wrong_archive(name, "it is not a file, or too large for a program")
            content = tar.extractfile(entry)
            assert content is not None  # a regular file
            with content:
                yield content
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _wrong_archive(name, f"it cannot be read: {error}") from None


def _wrong_archive(name: str, why: str) -> LaunchError:
    return LaunchError(
        f"the downloaded archive does not contain {name}",
        why=f"{why}; its checksum is right, so this is what was published",
        fix="check the version in config/pins.yaml, or put the program on the PATH",
    )


Mark = tuple[int, int] | None
"""Distinguishes a file from its successor of the same name; None: there is none."""


def mark(path: Path) -> Mark:
    """Inode and modification time of a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextlib.contextmanager
def _alone(path: Path, context: Context, end: float) -> Iterator[None]:
    """One download of a program at a time: waits until `end` (monotonic). Raises `LaunchError`, `Stopped`."""
    reported: list[str] = []

    def wait(seconds: float) -> None:
        if not reported:
            reported.append("another process is downloading it: waiting for that")
            context.say(reported[0])
        context.wait(seconds)

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path, max(0.0, end - time.monotonic()), wait=wait))
        except TimeoutError:
            raise LaunchError(
                "another process is still downloading the same program",
                why=f"it holds {path}",
                fix="wait for it, or end it; its partial download is kept",
            ) from None
        yield


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """The action of one step."""

    asset: Asset
    folder: Path
    """The target path of the program."""
    downloads: Path
    """Folder for partial downloads."""
    environ: Mapping[str, str]
    before: Mark = None
    """The program's mark when the plan was made."""
    patience: float = PATIENCE
    reason: str = ""
    """Why it is downloaded; an error says so, since a program that is there may be broken."""

    def __call__(self, context: Context) -> Report:
        """Raises `LaunchError`, `Stopped`. Nothing unverified is placed."""
        try:
            return self._fetch(context)
        except LaunchError as error:
            if self.reason:
                error.amend(why=f"{error.why}; it is downloaded for this reason: {self.reason}")
            raise
        except OSError as error:  # errors of the disk; `Reach` handles those of the network
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise LaunchError(
                f"{self.asset.program} cannot be written to {self.downloads.parent}",
                why=error.strerror or str(error),
                fix="free some space and run it again: it continues where it stopped"
                if full
                else f"make the folder writable for you, or put {self.asset.program} on the PATH",
            ) from None

    def _fetch(self, context: Context) -> Report:
        asset = self.asset
        destination = self.folder / asset.program
        line = Line(context, self.environ, Reach(asset.program, asset.setting), self.patience)
        with _alone(self.downloads / f"{asset.program}.lock", context, line.end):
            if mark(destination) != self.before:
                return Report(why="another process has downloaded it meanwhile", skipped=True)
            wanted = assets.published(line.text(asset.checksum_url), asset)
            part = Part(self.downloads, asset.file, bare_address(asset.url))
            brought = download(asset, part, line, context.say)
            self._verify(part, wanted, brought)
            with self._program(part) as source:
                self.folder.mkdir(parents=True, exist_ok=True)
                sweep(self.folder)
                with replacing(destination, 0o755) as file:
                    shutil.copyfileobj(source, file, MIB)
            part.drop()
            part.drop_others(asset.program)
        return Report(why=f"downloaded {asset.version}, {mib(brought.size)}, checksum verified")

    def _verify(self, part: Part, wanted: str, brought: Downloaded) -> None:
        """A mismatch of a resumed, or possibly truncated, file is worth another attempt."""
        got = file_digest(part.path)
        if got != wanted:
            part.drop()
            raise assets.mismatch(self.asset, wanted, got, transient=not brought.sure)

    def _program(self, part: Part) -> AbstractContextManager[IO[bytes]]:
        return part.path.open("rb") if self.asset.member is None else member(part.path, self.asset.member)
