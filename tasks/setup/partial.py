"""A download that may be unfinished: the bytes so far, and what they are a part of."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tasks.core.files import write_whole


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
