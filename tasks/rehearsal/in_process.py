"""Stand-ins that run in the process that calls them: to start one as a program takes as long as a hundred of its calls.

They are as programs are in what a caller sees: output as it comes, a deadline, an end on demand, exit codes of signals.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import IO, TYPE_CHECKING, cast

from tasks.process.children import CHILDREN
from tasks.process.runner import Sink, Start, Starter, run_process
from tasks.rehearsal.program import Ended, run

if TYPE_CHECKING:
    from tasks.engine.step import Cancel

_LOOK = 0.1
"""Seconds between two looks whether this whole process is to end: a call without a step is told by nothing else."""


class _Stream:
    """What a stand-in writes. It is handed on when the stand-in waits, since then it holds no lock."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._waiting.append(data)

    def flush(self) -> None:
        """Not yet."""

    def hand_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.sink.feed(data)


@dataclass(kw_only=True)
class _Life:
    """Until when a call may go on."""

    streams: tuple[_Stream, _Stream]
    end: float
    cancelled: Cancel | None
    late: bool = field(default=False, init=False)

    def sleep(self, seconds: float) -> None:
        """Raises `Ended` where the call is over before."""
        for stream in self.streams:
            stream.hand_on()
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            self.late = now >= self.end
            if self.late or CHILDREN.closed or (self.cancelled is not None and self.cancelled.is_set()):
                raise Ended(SIGTERM)
            left = min(until, self.end) - now
            if left <= 0:
                return
            (time.sleep if self.cancelled is None else self.cancelled.wait)(min(left, _LOOK))


def starter(folder: Path) -> Starter:
    """In place of `run_process`, for the programs of a rehearsal that lie in `folder`; others are processes.

    So is a call in another working directory: a process has only one.
    """

    def run_stand_in(what: Start) -> tuple[int, bool]:
        path = Path(what.path)
        if what.cwd is not None or path.parent != folder:
            return run_process(what)
        streams = _Stream(what.out), _Stream(what.err)
        life = _Life(streams=streams, end=time.monotonic() + what.deadline, cancelled=what.cancelled)
        out, err = (cast("IO[bytes]", stream) for stream in streams)
        try:
            code = run(path.name, what.argv[1:], what.env, what.stdin, out, err, life.sleep)
        except Ended as ended:
            code = -ended.number
        for stream in streams:
            stream.hand_on()
            stream.sink.finish()
        return code, life.late

    return run_stand_in
