"""One request whose waiting can be ended at any moment: by the deadline, by silence, by the user.

Sockets alone cannot promise that: resolving a name has no time-out, and a server that sends a byte now and
then restarts the others for ever. So a thread of its own does the asking, and the step only waits for it. The
thread touches nothing but its socket, and is left behind where it hangs.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from tasks.engine.step import Cancel, Context, Stopped
from tasks.errors import LaunchError
from tasks.setup.address import shown
from tasks.setup.failing import Reach
from tasks.setup.opening import Response, open_address

_CHUNK = 65536
_AHEAD = 64
"""Chunks that may lie unread: 4 MiB."""
PATIENCE = 20.0
"""Seconds without a byte after which a server is taken for hanging."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """How an answer begins."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""

    @property
    def length(self) -> int | None:
        """Bytes that follow, where the server says so."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None


@dataclass(frozen=True)
class _End:
    """The end of a body, or what ended it."""

    error: BaseException | None = None


@dataclass(kw_only=True)
class Line:
    """What all requests of one download share: its deadline, its cancelling, and its words for errors."""

    environ: Mapping[str, str]
    reach: Reach
    seconds: float
    """The deadline, from the making of this object."""
    cancelled: Cancel
    step: str = ""
    patience: float = PATIENCE
    end: float = field(init=False)

    def __post_init__(self) -> None:
        self.end = time.monotonic() + self.seconds

    @classmethod
    def of(cls, context: Context, environ: Mapping[str, str], reach: Reach, patience: float = PATIENCE) -> Line:
        """For a step's attempt that begins now."""
        return cls(
            environ=environ,
            reach=reach,
            seconds=context.deadline,
            cancelled=context.cancelled,
            step=context.step,
            patience=patience,
        )

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Transfer:
        """Ask for an address; the request begins when the transfer is entered."""
        wanted = dict(headers or {})
        # the socket's own time-out comes after ours, and only ends the thread
        return Transfer(self, url, lambda: open_address(url, wanted, self.environ, self.patience + 1.0))

    def text(self, url: str, limit: int = 1_000_000) -> str:
        """A short text. Raises `LaunchError`, also for one that is longer than `limit` bytes."""
        with self.get(url) as transfer:
            head = transfer.head()
            if head.status != 200:
                raise self.reach.refused(url, head.status)
            data = b""
            for chunk in transfer.chunks():
                data += chunk
                if len(data) > limit:
                    raise LaunchError(
                        f"{shown(url)} is longer than {limit} bytes",
                        why="a short text is expected there",
                        fix=self.reach.other,
                    )
        return data.decode("utf-8", "replace")


class Transfer:
    """One request under way."""

    def __init__(self, line: Line, url: str, ask: Callable[[], Response]) -> None:
        self._line, self._url, self._ask = line, url, ask
        self._queue: queue.SimpleQueue[Head | bytes | _End] = queue.SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._left = threading.Event()
        self._forget: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self._forget = self._line.cancelled.call(lambda: self._queue.put(_End()))
        threading.Thread(target=self._work, name=f"{self._line.step}: transfer", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._forget()
        self._left.set()
        self._room.release()

    def head(self) -> Head:
        """How the answer begins. Raises `LaunchError`, `Stopped`."""
        found = self._next()
        if isinstance(found, _End):
            raise self._line.reach.broken(self._url, found.error or OSError("no answer"), self._line.environ) from None
        assert isinstance(found, Head)
        return found

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes. Raises `LaunchError`, `Stopped`."""
        while not isinstance(found := self._next(), _End):
            assert isinstance(found, bytes)
            yield found
            self._room.release()
        if found.error is not None:
            raise self._line.reach.broken(self._url, found.error, self._line.environ) from None

    def _next(self) -> Head | bytes | _End:
        line = self._line
        left = line.end - time.monotonic()
        try:
            found = self._queue.get(timeout=max(0.0, min(left, line.patience)))
        except queue.Empty:
            found = None
        if line.cancelled.is_set():
            raise Stopped(line.step)
        if time.monotonic() >= line.end:  # also where bytes still come
            raise line.reach.late(self._url, line.seconds)
        if found is None:
            raise line.reach.silent(self._url, line.patience)
        return found

    def _work(self) -> None:
        try:
            response = self._ask()
            with contextlib.closing(response):
                headers = {name.lower(): value for name, value in response.headers.items()}
                self._queue.put(Head(status=response.status or 0, headers=headers))
                while not self._left.is_set() and (chunk := response.read1(_CHUNK)):
                    self._room.acquire()
                    self._queue.put(chunk)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self._queue.put(_End(error))
        else:
            self._queue.put(_End())
