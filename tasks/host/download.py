"""One file, from where an earlier attempt ended. Whether it is the right one is for its checksum to say."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tasks.core.errors import LaunchError
from tasks.core.files import write_whole
from tasks.core.units import MIB, mib
from tasks.host.published import Asset, shown
from tasks.host.transfer import Head, Line, Transfer


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a server said of the whole file."""

    url: str
    """Without credentials."""
    etag: str = ""
    modified: str = ""
    total: int | None = None
    """Bytes; None where the server does not say."""

    @property
    def validator(self) -> str:
        """What `If-Range` takes: a strong ETag, else the time of change (RFC 9110, 13.1.5)."""
        return self.modified if not self.etag or self.etag.startswith("W/") else self.etag


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What there is of a file."""

    origin: Origin
    size: int = 0

    @property
    def whole(self) -> bool:
        """All of it, as far as the server has told."""
        return self.size > 0 and self.size == self.origin.total

    def headers(self) -> dict[str, str]:
        """What asks for the rest of it."""
        if not self.size:
            return {}
        wanted = {"Range": f"bytes={self.size}-"}
        if self.origin.validator:
            wanted["If-Range"] = self.origin.validator
        return wanted


class Part:
    """The file `NAME.part`, and its origin in `NAME.part.json`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.part"
        self._origin = folder / f"{name}.part.json"

    def kept(self, url: str) -> Kept:
        """What is there of this address; nothing where it came from another one, or its origin is lost."""
        try:
            told: Mapping[str, Any] = json.loads(self._origin.read_text(encoding="utf-8"))
            origin, size = Origin(**told), self.path.stat().st_size
            fits = origin.url == url and (origin.total is None or size <= origin.total)
        except (OSError, ValueError, TypeError):
            fits = False
        return Kept(origin=origin, size=size) if fits else Kept(origin=Origin(url=url))

    def begin(self, origin: Origin, *, go_on: bool) -> BinaryIO:
        """Open for writing, behind what is there or anew. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("ab" if go_on else "wb")
        try:
            write_whole(self._origin, json.dumps(vars(origin)) + "\n")
        except BaseException:
            file.close()
            raise
        return file

    def drop(self) -> None:
        """Delete what is there."""
        for path in (self.path, self._origin):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def drop_others(self, program: str) -> None:
        """Delete parts of other versions of a program."""
        ours = {self.path, self._origin}
        for path in self.path.parent.glob(f"{program}-v*.part*"):
            if path not in ours:
                path.unlink(missing_ok=True)


_LARGEST = 512 * MIB
"""No program that is fetched here comes near; a server that never ends must not fill the disk."""
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_PAUSE = 0.25
"""Seconds between two lines of progress."""


@dataclass(frozen=True, kw_only=True)
class Brought:
    """How a file came."""

    size: int
    sure: bool
    """It came in one piece, of the length that the server had told."""


def download(asset: Asset, part: Part, line: Line, say: Callable[[str], None]) -> Brought:
    """Bring the file into its part. Raises `LaunchError`, `Stopped`, and OSError of the disk; the part stays."""
    kept = part.kept(shown(asset.url))
    if kept.whole:
        return Brought(size=kept.size, sure=False)
    brought = _ask(asset, part, kept, line, say)
    if brought is None:  # the server has another file by now, or takes no such range
        part.drop()
        brought = _ask(asset, part, Kept(origin=Origin(url=shown(asset.url))), line, say)
    if brought is None:
        raise _odd(asset, line)
    return brought


def _ask(asset: Asset, part: Part, kept: Kept, line: Line, say: Callable[[str], None]) -> Brought | None:
    """None where the answer does not fit what is kept."""
    with line.get(asset.url, kept.headers()) as transfer:
        head = transfer.head()
        first, total = _range(head)
        if head.status == 416 and kept.size:
            return Brought(size=kept.size, sure=False) if total == kept.size else None
        if head.status == 206:
            if not kept.size or first != kept.size or _changed(head, kept):
                return None
            origin = _origin(asset, head, total)
        elif head.status == 200:
            kept = Kept(origin=kept.origin)
            origin = _origin(asset, head, head.length)
        else:
            raise line.reach.refused(asset.url, head.status)
        return _write(part, kept, origin, transfer, line, say)


def _write(
    part: Part, kept: Kept, origin: Origin, transfer: Transfer, line: Line, say: Callable[[str], None]
) -> Brought:
    size, told = kept.size, 0.0
    with part.begin(origin, go_on=kept.size > 0) as file:
        for chunk in transfer.chunks():
            file.write(chunk)
            size += len(chunk)
            if max(size, origin.total or 0) > _LARGEST:
                part.drop()
                raise LaunchError(
                    f"{origin.url} is larger than {_LARGEST // MIB} MiB",
                    why="no program that is fetched here is",
                    fix=line.reach.other,
                )
            now = time.monotonic()
            if now - told >= _PAUSE:
                told = now
                say(mib(size, origin.total))
    if origin.total is not None and size < origin.total:
        raise LaunchError(
            f"the connection ended after {mib(size, origin.total)} of {origin.url}",
            why="the server, or something on the way, closed it",
            fix=f"run it again: it goes on from there; or {line.reach.other}",
            transient=True,
        )
    say(mib(size))
    return Brought(size=size, sure=not kept.size and origin.total is not None)


def _origin(asset: Asset, head: Head, total: int | None) -> Origin:
    return Origin(
        url=shown(asset.url),
        etag=head.headers.get("etag", ""),
        modified=head.headers.get("last-modified", ""),
        total=total,
    )


def _range(head: Head) -> tuple[int | None, int | None]:
    """The first byte and the whole length that `Content-Range` tells."""
    match = _RANGE.fullmatch(head.headers.get("content-range", "").strip())
    if match is None:
        return None, None
    return (int(match[1]) if match[1] else None), (int(match[2]) if match[2] != "*" else None)


def _changed(head: Head, kept: Kept) -> bool:
    """A server that knows no `If-Range` hands out the rest of another file."""
    return bool(kept.origin.etag) and head.headers.get("etag", kept.origin.etag) != kept.origin.etag


def _odd(asset: Asset, line: Line) -> LaunchError:
    return LaunchError(
        f"{shown(asset.url)} answered with a part of the file that was not asked for",
        why="the server, or a proxy on the way, does not keep to HTTP",
        fix=line.reach.other,
    )
