"""Digests: SHA-256 in hexadecimal digits, whole or cut to a length that names and labels take."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def sha256(data: str | bytes | Iterable[bytes], digits: int = 64) -> str:
    """The first `digits` hexadecimal digits of the SHA-256 of a text (as UTF-8), of bytes, or of pieces one after
    another.
    """
    pieces = (data.encode(),) if isinstance(data, str) else (data,) if isinstance(data, bytes) else data
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()[:digits]


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
