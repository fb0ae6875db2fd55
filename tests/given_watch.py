"""Watches from a script: an API whose lists are given, and that tells of changes when a test does."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tasks.kube.client import ApiError

Object = dict[str, Any]


class Told:
    """The lines of a watch: those that a test puts into it, until somebody ends it."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.closed = False

    def tell(self, kind: str, item: Object) -> None:
        self._lines.put(json.dumps({"type": kind, "object": item}) + "\n")

    def end(self) -> None:
        """As the server does it."""
        self._lines.put(None)

    def close(self) -> None:
        self.closed = True
        self.end()

    def __iter__(self) -> Iterator[str]:
        while (line := self._lines.get(timeout=20)) is not None:
            yield line


class Scripted:
    """Lists by path, and for each watch the next answer of its path: a stream, or an error."""

    def __init__(self, **lists: list[Object]) -> None:
        """`pods` stands for /api/v1/pods."""
        self.lists: dict[str, list[Object] | ApiError] = {f"/api/v1/{name}": items for name, items in lists.items()}
        self.version = 1
        self.refusals: list[ApiError] = []
        """What the next watches are refused with."""
        self.asked: list[str] = []
        self.watched: list[str] = []
        self.streams: list[Told] = []
        self.gate = threading.Event()
        """Watches wait for it; set."""
        self.gate.set()

    @property
    def stream(self) -> Told:
        """The watch that stands."""
        return self.streams[-1]

    def get(self, path: str) -> Any:
        self.asked.append(path)
        found = self.lists.get(path, ApiError(404, f"the API answered 404 to {path}"))
        if isinstance(found, ApiError):
            raise found
        return {"metadata": {"resourceVersion": str(self.version)}, "items": list(found)}

    def raw(self, path: str) -> tuple[int, str]:
        self.asked.append(path)
        return 200, "ok"

    def patch(self, path: str, body: str) -> tuple[int, str]:
        raise AssertionError(f"nothing is written by a watch: {path} {body}")

    def watch(self, path: str) -> Told:
        self.watched.append(path)
        assert self.gate.wait(20)
        if self.refusals:
            raise self.refusals.pop(0)
        self.streams.append(Told())
        return self.stream


def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.001)


def watching() -> list[str]:
    """Names of the threads that watch."""
    return [each.name for each in threading.enumerate() if each.name.startswith("watches ")]
