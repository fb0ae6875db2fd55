"""The whole way of one program: checksum, download, verification, unpacking, placing."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.core.files import replacing, sweep
from tasks.core.lock import locked
from tasks.engine.step import Context, Report
from tasks.errors import LaunchError
from tasks.setup import checksum
from tasks.setup.address import Asset
from tasks.setup.download import MIB, Brought, download
from tasks.setup.failing import Reach
from tasks.setup.partial import Part
from tasks.setup.transfer import PATIENCE, Line
from tasks.setup.unpack import member

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
            wanted = checksum.published(line.text(asset.checksum_url), asset)
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
        return Report(why=f"fetched {asset.version}, {brought.size / MIB:.1f} MiB, its checksum is right")

    def _verify(self, part: Part, wanted: str, brought: Brought) -> None:
        """A file that was put together, or may have been cut short, is worth another attempt."""
        got = checksum.of_file(part.path)
        if got != wanted:
            part.drop()
            raise checksum.mismatch(self.asset, wanted, got, transient=not brought.sure)

    def _program(self, part: Part) -> AbstractContextManager[IO[bytes]]:
        return part.path.open("rb") if self.asset.member is None else member(part.path, self.asset.member)
