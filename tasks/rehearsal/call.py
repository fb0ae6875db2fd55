"""One call of a stand-in: what it was given, where it writes, and the rehearsal that it belongs to."""

from __future__ import annotations

import os
import signal
import time

from tasks.rehearsal import containers
from tasks.rehearsal.faults import Faults
from tasks.rehearsal.store import Store
from tasks.rehearsal.times import Times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

    from tasks.rehearsal.faults import Fault
    from tasks.rehearsal.place import Place

_FOR_EVER = 3600.0


class Exit(Exception):
    """The program ends with a code, and a text on stderr."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Call:
    """What a stand-in's code works with."""

    def __init__(
        self,
        place: Place,
        program: str,
        args: Sequence[str],
        environ: Mapping[str, str],
        stdin: IO[bytes],
        out: IO[bytes],
        err: IO[bytes],
    ) -> None:
        self.place, self.program, self.args, self.environ = place, program, tuple(args), environ
        self.stdin, self._out, self._err = stdin, out, err
        self.began = time.time()
        self.times = Times(place.read("times.json", {}))
        self.faults = Faults(place)
        self.engine = Store(place.engine, containers.blank)
        self._trap: Fault | None = None

    @property
    def line(self) -> str:
        """The command line, as faults name it."""
        return " ".join((self.program, *self.args))

    def say(self, text: str) -> None:
        """A line on stdout, at once."""
        self.write(f"{text}\n".encode())

    def write(self, data: bytes) -> None:
        """Bytes on stdout."""
        self._out.write(data)
        self._out.flush()

    def warn(self, text: str) -> None:
        """A line on stderr."""
        self._err.write(f"{text}\n".encode())
        self._err.flush()

    def now(self) -> float:
        """Seconds of the epoch: the moments in a state are the same for all processes."""
        return time.time()

    def wait(self, key: str, *names: str) -> None:
        """As long as that takes."""
        self.times.wait(self.times.seconds(key, *names))

    def wait_until(self, moment: float) -> None:
        """Until a moment that may have passed."""
        self.times.wait(moment - self.now())

    # -- programs that are killed, or hang ------------------------------------------------------------

    def arm(self) -> None:
        """Get ready to be killed, or to hang, if that is to happen to this command."""
        for name in ("killed", "hangs"):
            fault = self.faults.strike(name, self.line)
            if fault is None:
                continue
            if fault.get("after") is None:
                self._trap = fault
            else:
                signal.signal(signal.SIGALRM, lambda *_, found=fault: self._spring(found))
                signal.setitimer(signal.ITIMER_REAL, max(1e-6, float(fault["after"]) * self.times.scale))
            return

    def middle(self) -> None:
        """The work has begun, and is not done: here it is that a program is killed, or hangs."""
        if self._trap is not None:
            fault, self._trap = self._trap, None
            self._spring(fault)

    def _spring(self, fault: Fault) -> None:
        if fault["name"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            time.sleep(_FOR_EVER)
