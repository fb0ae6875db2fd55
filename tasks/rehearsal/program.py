"""A stand-in program: where its process begins, what it works with, how long it takes, and how it ends.

It imports little: a launch starts hundreds of them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib import import_module

from tasks.rehearsal import folder as folders
from tasks.rehearsal.containers import blank
from tasks.rehearsal.faults import Faults
from tasks.rehearsal.flags import UsageError
from tasks.rehearsal.store import Store
from tasks.rehearsal.times import Times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

    from tasks.rehearsal.faults import Fault
    from tasks.rehearsal.folder import Folder

_FOR_EVER = 3600.0


class Exit(Exception):
    """The program ends with a code, and a text on stderr."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Call:
    """One call of a stand-in: what it was given, where it writes, and the rehearsal that it belongs to."""

    def __init__(
        self,
        folder: Folder,
        program: str,
        args: Sequence[str],
        environ: Mapping[str, str],
        stdin: IO[bytes],
        out: IO[bytes],
        err: IO[bytes],
    ) -> None:
        self.folder, self.program, self.args, self.environ = folder, program, tuple(args), environ
        self.stdin, self._out, self._err = stdin, out, err
        self.began = time.time()
        self.times = Times(folder.read("times.json", {}))
        self.faults = Faults(folder)
        self.engine = Store(folder.engine, blank)
        self._pending: Fault | None = None

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
        """Prepare to be killed, or to hang, if that is to happen to this command."""
        for name in ("killed", "hangs"):
            fault = self.faults.strike(name, self.line)
            if fault is None:
                continue
            if fault.get("after") is None:
                self._pending = fault
            else:
                signal.signal(signal.SIGALRM, lambda *_, found=fault: self._fail(found))
                signal.setitimer(signal.ITIMER_REAL, max(1e-6, float(fault["after"]) * self.times.scale))
            return

    def checkpoint(self) -> None:
        """The work has begun and is not done: here a program is killed, or hangs."""
        if self._pending is not None:
            fault, self._pending = self._pending, None
            self._fail(fault)

    def _fail(self, fault: Fault) -> None:
        if fault["name"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        while True:
            time.sleep(_FOR_EVER)


def main() -> None:
    """The process of `program args…`: its signals are a Go program's, its end is at once."""
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    program, *args = sys.argv[1:]
    code = run(program, args, os.environ, sys.stdin.buffer, sys.stdout.buffer, sys.stderr.buffer)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without the interpreter's own clean-up


def run(
    program: str,
    args: Sequence[str],
    environ: Mapping[str, str],
    stdin: IO[bytes],
    out: IO[bytes],
    err: IO[bytes],
) -> int:
    """Its exit code."""
    folder = folders.of(environ)
    if folder is None or not folder.state.is_dir():
        err.write(f"REHEARSAL: {folders.VARIABLE} names no rehearsal; nothing real is done here\n".encode())
        return 1
    try:
        call = Call(folder, program, args, environ, stdin, out, err)
        call.arm()
        import_module(f"tasks.rehearsal.{program}").main(call)
    except Exit as end:
        if end.text:
            err.write(f"{end.text}\n".encode())
        return end.code
    except UsageError as error:
        err.write(f"Error: {error}\n".encode())
        return 125 if program == "docker" else 1
    except ValueError as error:
        if type(error).__name__ != "JSONDecodeError":
            raise
        err.write(f"REHEARSAL: a file in {folder.root} is no JSON: {error}\n".encode())
        return 1
    return 0
