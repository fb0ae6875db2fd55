"""A simulated program: its start, its inputs, its times, and its end.

Programs called by a task run in its own process: starting one takes as long as a hundred simulated calls. For the
caller they behave like programs: output as it arrives, a deadline, termination on demand, exit codes of signals.
"""

import getopt
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, cast

from tasks.engine.step import Cancel
from tasks.process.children import CHILDREN
from tasks.process.runner import Sink, Start, Starter, run_process
from tasks.rehearsal import folder as folders
from tasks.rehearsal.faults import Fault, Faults, Times
from tasks.rehearsal.folder import Folder

Commands = Mapping[str, tuple[Callable[["Call", "Given"], object], str, int]]

_FOR_EVER = 3600.0
_LOOK = 0.1
"""Seconds between two checks whether this whole process is to end: a call without a step has no other signal."""


class Exit(Exception):
    """The program exits with a code, and a text on stderr."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Ended(BaseException):
    """A signal terminates the program at any point."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Given:
    """Options by their long names, and arguments. Raises `getopt.GetoptError` for an unknown option.

    `known` are words: `all,a` has a short form and no value, `filter=,f` has one; all are repeatable.
    Without `mixed` everything after the first argument is an argument.
    """

    def __init__(self, args: Sequence[str], known: str, *, mixed: bool = True) -> None:
        names = dict(word.partition(",")[::2] for word in known.split())
        short = {letter: name for name, letter in names.items() if letter}
        letters = "".join(letter + ":" * name.endswith("=") for letter, name in short.items())
        pairs, self.args = (getopt.gnu_getopt if mixed else getopt.getopt)(list(args), letters, list(names))
        self._values: dict[str, list[str]] = {}
        for option, value in pairs:
            name = option.lstrip("-")
            name = name if option.startswith("--") else short[name].rstrip("=")
            self._values.setdefault(name, []).append(value)

    def on(self, name: str) -> bool:
        """Whether an option is given."""
        return name in self._values

    def get(self, name: str) -> str:
        """The last value; empty if there is none."""
        return self._values.get(name, [""])[-1]

    def all(self, name: str) -> list[str]:
        """Every value."""
        return self._values.get(name, [])


class Call:
    """One call of a simulated program: its inputs, its outputs, and its rehearsal."""

    def __init__(
        self,
        folder: Folder,
        program: str,
        args: Sequence[str],
        environ: Mapping[str, str],
        stdin: IO[bytes],
        out: IO[bytes],
        err: IO[bytes],
        sleep: Callable[[float], object],
    ) -> None:
        self.folder, self.program, self.args, self.environ = folder, program, list(args), environ
        self.stdin, self._out, self._err, self._sleep = stdin, out, err, sleep
        self.began = time.time()
        self.times, self.faults, self.engine = Times.of(folder), Faults(folder), folder.engine
        self._pending: Fault | None = None
        self._strikes = float("inf")

    @property
    def line(self) -> str:
        """The command line, as used by faults."""
        return " ".join((self.program, *self.args))

    def say(self, text: str) -> None:
        """Print a line to stdout, unbuffered."""
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
        """Seconds of the epoch: times in a state are the same for all processes."""
        return time.time()

    def wait(self, key: str, *names: str) -> None:
        """Wait that long."""
        self.pause(self.times.seconds(key, *names))

    def wait_until(self, moment: float) -> None:
        """Wait until a time, which may have passed."""
        self.pause(moment - self.now())

    def pause(self, seconds: float) -> None:
        """Wait for already scaled seconds. Faults with a delay strike during a pause."""
        left = self._strikes - self.now()
        if left <= seconds:
            self._sleep(max(0.0, left))
            self.checkpoint()
        self._sleep(max(0.0, seconds))

    # -- programs that are killed, or hang ------------------------------------------------------------

    def arm(self) -> None:
        """Prepare to be killed, or to hang, if a fault applies to this command."""
        for name in ("killed", "hangs"):
            fault = self.faults.strike(name, self.line)
            if fault is not None:
                self._pending = fault
                if fault.get("after") is not None:
                    self._strikes = self.began + float(fault["after"]) * self.times.scale
                return

    def checkpoint(self) -> None:
        """In the middle of the work: here a program is killed, or hangs, unless that happens later."""
        if self._pending is None or self.now() < self._strikes < float("inf"):
            return
        fault, self._pending, self._strikes = self._pending, None, float("inf")
        if fault["name"] == "killed":
            raise Ended(signal.SIGKILL)
        while True:
            self._sleep(_FOR_EVER)


def main() -> None:
    """The process of `program args…`, with the signal handling of a Go program, and an immediate exit."""
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    program, *args = sys.argv[1:]
    try:
        code = run(program, args, os.environ, sys.stdin.buffer, sys.stdout.buffer, sys.stderr.buffer)
    except Ended as end:
        os.kill(os.getpid(), end.number)
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
    sleep: Callable[[float], object] = time.sleep,
) -> int:
    """The exit code. `docker` exits with 125 for invalid options, like Docker. Raises `Ended`.

    All time passes in `sleep`, which is called with 0 seconds, too.
    """
    folder = folders.of(environ)
    if folder is None or not folder.state.is_dir():
        err.write(f"REHEARSAL: {folders.VARIABLE} names no rehearsal; nothing real is done here\n".encode())
        return 1
    try:
        call = Call(folder, program, args, environ, stdin, out, err, sleep)
        call.arm()
        import_module(f"tasks.rehearsal.{program}").main(call)
        call.pause(0.0)
    except Exit as end:
        if end.text:
            err.write(f"{end.text}\n".encode())
        return end.code
    except getopt.GetoptError as error:
        err.write(f"Error: {error}\n".encode())
        return 125 if program == "docker" else 1
    except folders.NoJson as error:
        err.write(f"REHEARSAL: {error}\n".encode())
        return 1
    return 0


def dispatch(
    call: Call, commands: Commands, *, last: Sequence[str] = ()
) -> tuple[Callable[[Call, Given], object], Given]:
    """The function of a command, and its inputs. Raises `Exit`, `getopt.GetoptError`.

    `commands`: by name, of one word or two, function, options, and the minimum number of arguments; for those in
    `last` the options end at the first argument: the rest belongs to a container.
    """
    words = 2 if " ".join(call.args[:2]) in commands else 1
    name = " ".join(call.args[:words])
    if name not in commands:
        raise Exit(1, f'Error: unknown command "{name}" for "{call.program}"')
    act, known, least = commands[name]
    given = Given(call.args[words:], known, mixed=name not in last)
    if len(given.args) < least:
        raise Exit(1, f'Error: "{call.program} {name}" requires at least {least} argument{"s" if least > 1 else ""}')
    return act, given


# -- in the calling process -----------------------------------------------------------------------------------


class _Stream:
    """Output of a simulated program. It is passed on when the program waits, since then it holds no lock."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._waiting.append(data)

    def flush(self) -> None:
        """Not yet."""

    def delegate(self) -> None:
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.sink.feed(data)


@dataclass(kw_only=True)
class _Life:
    """The deadline of a call."""

    streams: tuple[_Stream, _Stream]
    end: float
    cancelled: Cancel | None
    late: bool = field(default=False, init=False)

    def sleep(self, seconds: float) -> None:
        """Raises `Ended` if the call ends before."""
        for stream in self.streams:
            stream.delegate()
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            self.late = now >= self.end
            if self.late or CHILDREN.closed or (self.cancelled is not None and self.cancelled.is_set()):
                raise Ended(signal.SIGTERM)
            left = min(until, self.end) - now
            if left <= 0:
                return
            (time.sleep if self.cancelled is None else self.cancelled.wait)(min(left, _LOOK))


def starter(folder: Path) -> Starter:
    """Replaces `run_process` for the programs of a rehearsal in `folder`; others are processes.

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
            stream.delegate()
            stream.sink.finish()
        return code, life.late

    return run_stand_in
