"""State that survives between commands and takes writers from many processes: one JSON document in one file.

A writer holds a lock beside the file, reads, changes, and puts a whole new file in its place: a reader needs no lock,
and a writer that is killed leaves the file of before. For documents that stay small, such as the engine's containers;
the objects of a cluster lie in a database (`tasks.rehearsal.objects`).
"""

from __future__ import annotations

import contextlib
import json
import random
import time

from tasks.core.files import replacing
from tasks.core.lock import locked

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

    __slots__ = ("_blank", "_cached", "path")

    def __init__(self, path: Path, blank: Callable[[], Document]) -> None:
        self.path = path
        self._blank = blank
        self._cached: tuple[tuple[int, ...], Document] = ((), {})

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
            cached = self._cached
            if cached[0] == mark:
                return cached[1]
            with contextlib.suppress(FileNotFoundError):
                found: Document = json.loads(self.path.read_bytes())
                if self.mark() == mark:  # else it was replaced meanwhile, and the mark is not this document's
                    self._cached = (mark, found)
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
            with replacing(self.path, sync=False) as file:
                file.write(json.dumps(found, separators=(",", ":")).encode())

    def remove(self) -> None:
        """Forget it."""
        with self._locked():
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        def wait(_seconds: float) -> None:
            time.sleep(_PAUSE * random.random())  # noqa: S311 - a pause

        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.path.with_name(f"{self.path.name}.lock"), _PATIENCE, wait=wait))
            except TimeoutError:
                raise Busy(f"{self.path} is locked since {_PATIENCE:g} s") from None
            yield
