"""One file, from where an earlier attempt ended. Whether it is the right one is for its checksum to say."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from tasks.errors import LaunchError
from tasks.setup.address import Asset, shown
from tasks.setup.partial import Kept, Origin, Part
from tasks.setup.transfer import Head, Line, Transfer

MIB = 1024 * 1024
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
    whole = f" of {origin.total / MIB:.1f}" if origin.total is not None else ""
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
                say(f"{size / MIB:.1f}{whole} MiB")
    if origin.total is not None and size < origin.total:
        raise LaunchError(
            f"the connection ended after {size / MIB:.1f}{whole} MiB of {origin.url}",
            why="the server, or something on the way, closed it",
            fix=f"run it again: it goes on from there; or {line.reach.other}",
            transient=True,
        )
    say(f"{size / MIB:.1f} MiB")
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
