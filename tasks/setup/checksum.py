"""Published checksums: reading them, and holding a file against them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tasks.errors import LaunchError
from tasks.setup.address import Asset, shown

_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s+\*?(\S.*))?")


def published(text: str, asset: Asset) -> str:
    """The SHA-256 of the asset from the text of its checksum file, in lower case. Raises `LaunchError`.

    Lines are those of `sha256sum`; names may stand with a folder (k3d: `_dist/k3d-linux-amd64`). A sum
    without a name is taken only from a file that is published for one asset.
    """
    sums: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise _wrong(asset, f"line {number} is no checksum: {line.strip()[:60]!r}")
        name = match[2].rpartition("/")[2] if match[2] else None
        if name == asset.name or (name is None and not asset.listed):
            sums.add(match[1].lower())
    if len(sums) != 1:
        raise _wrong(asset, f"it holds {'several different sums' if sums else 'no sum'} for {asset.name}")
    return sums.pop()


def of_file(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def mismatch(asset: Asset, wanted: str, got: str, *, transient: bool) -> LaunchError:
    """What is told when a download is not what was published."""
    return LaunchError(
        f"the download of {asset.program} {asset.version} does not match its checksum, and was deleted",
        why=f"published is {wanted}, downloaded was {got}, from {shown(asset.url)}",
        fix=f"try again; if it stays so, a server or a proxy on the way hands out something else: "
        f"set {asset.setting} to another mirror, or put {asset.program} on the PATH",
        transient=transient,
    )


def _wrong(asset: Asset, why: str) -> LaunchError:
    return LaunchError(
        f"{shown(asset.checksum_url)} is no usable checksum file",
        why=f"{why}; nothing is installed unverified",
        fix=f"look at it with a browser; set {asset.setting} to another mirror, or put {asset.program} on the PATH",
    )
