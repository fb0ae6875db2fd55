"""State that survives between commands and takes writers from many processes: one JSON document in one file.

A writer holds a lock beside the file, reads, changes, and puts a whole new file in its place: a reader needs no lock,
and a writer that is killed leaves the file of before. SQLite would do the same with more; a document of some hundred
kilobytes costs milliseconds, and anybody can look into it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    Document = dict[str, Any]

_PATIENCE = 30.0
"""Seconds for the lock; whoever has it needs milliseconds."""
_PAUSE = 0.002


class Busy(OSError):
    """Somebody holds the lock and does not let go."""


class Store:
    """One document. Thread-safe."""

    __slots__ = ("_blank", "_kept", "path")

    def __init__(self, path: Path, blank: Callable[[], Document]) -> None:
        self.path = path
        self._blank = blank
        self._kept: tuple[tuple[int, ...], Document] = ((), {})

    def mark(self) -> tuple[int, ...]:
        """Another one after each change; empty while there is no file."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return ()
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    def read(self) -> Document:
        """The document as it is now; it may be shared: whoever wants to change it uses `change`."""
        for _ in range(5):
            mark = self.mark()
            if not mark:
                return self._blank()
            kept = self._kept
            if kept[0] == mark:
                return kept[1]
            with contextlib.suppress(FileNotFoundError):
                found: Document = json.loads(self.path.read_bytes())
                if self.mark() == mark:  # else it was replaced meanwhile, and the mark is not this document's
                    self._kept = (mark, found)
                return found
        return self._blank()

    @contextlib.contextmanager
    def change(self) -> Iterator[Document]:
        """The document, alone; written when the block ends well. Raises `Busy`."""
        with self._locked():
            try:
                found: Document = json.loads(self.path.read_bytes())
            except FileNotFoundError:
                found = self._blank()
            yield found
            fresh = self.path.with_name(f"{self.path.name}.new")
            fresh.write_text(json.dumps(found, separators=(",", ":")), encoding="utf-8")
            fresh.replace(self.path)

    def remove(self) -> None:
        """Forget it."""
        with self._locked():
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        end = time.monotonic() + _PATIENCE
        handle = os.open(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise Busy(f"{self.path} is locked since {_PATIENCE:g} s") from None
                    time.sleep(_PAUSE * random.random())  # noqa: S311 - a pause
            yield
        finally:
            os.close(handle)  # and the lock with it
