"""One process from start to end: its output, its deadline, and the termination of its group.

sh forks in the calling thread, which Python 3.12 and later warn about if other threads exist: all forks
happen here, one at a time, behind one lock. The output of the process is read here, too: sh's own reader (2.4.0) reads
1 KiB at a time, waits 2 s for heirs of the output of a finished process, and logs parts of it.
"""

import contextlib
import errno
import os
import selectors
import shlex
import signal
import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tasks.core.errors import LaunchError
from tasks.engine.step import Cancel
from tasks.process.children import CHILDREN

PATIENCE = 3.0
"""Seconds between TERM and KILL for a child that has passed its deadline or was cancelled."""
_FORK = threading.Lock()
_UNKILLABLE = 5.0
"""Seconds after KILL; processes that still live then (another user's process, a dead disk) are left."""
_LOOK = 0.05
"""Seconds between two checks whether a terminated group is gone: nothing notifies of that."""
_LONG = 3600.0
"""Seconds of one wait: the system's millisecond counter ends at 24 days."""
_CHUNK = 65536
_SHORTAGES = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors of the system that may be temporary."""
_LINE = 32 << 20
"""Bytes: longer lines are not passed to listeners."""
_PIPE = 1 << 20
"""Bytes; no pipe holds more (Linux: `fs.pipe-max-size`), so reading this much after the end gets everything."""


class CannotStart(LaunchError):
    """A program exists, but the system cannot run it."""


class Sink:
    """Collects one stream; passes its lines on to a listener."""

    def __init__(self, listen: Callable[[str], None] | None = None, kept: int | None = None) -> None:
        """`kept`: retain about this many bytes of the end, as whole lines, since half a line may be half a secret.

        Of lines that arrive together only the last is passed on then: such a command may write faster than is shown.
        """
        self._parts: deque[bytes] = deque()
        self._kept, self._size, self._lost = kept, 0, False
        self._line = bytearray()
        self._listen = listen

    def feed(self, data: bytes) -> None:
        """Add the next bytes."""
        self._parts.append(data)
        self._size += len(data)
        while self._kept is not None and self._size > self._kept:
            self._size -= len(self._parts.popleft())
            self._lost = True
        if self._listen is None:
            return
        *ended, rest = data.split(b"\n")
        if self._kept is not None and len(ended) > 1:
            self._line.clear()
            del ended[:-1]
        for piece in ended:
            self._line += piece
            self._tell(self._listen)
        if len(self._line) <= _LINE:
            self._line += rest

    def finish(self) -> None:
        """The stream has ended; pass on its last line."""
        if self._line and self._listen is not None:
            self._tell(self._listen)

    def data(self) -> bytes:
        """Everything that arrived, or the retained end of it."""
        whole = b"".join(self._parts)
        return b"[...]\n" + whole.partition(b"\n")[2] if self._lost else whole

    def _tell(self, listen: Callable[[str], None]) -> None:
        text = self._line.decode("utf-8", "replace") if len(self._line) <= _LINE else "[...]"
        self._line.clear()
        listen(text)


@dataclass
class _Child:
    """A started process, and what the thread that waits for it will know."""

    process: Any
    """sh's own object for it."""
    bell: socket.socket
    ended: threading.Event = field(default_factory=threading.Event)
    code: int | None = None

    @property
    def group(self) -> int:
        return int(self.process.pid)

    def ring(self) -> None:
        """Wake up the thread that follows the process; a closed pipe is ignored."""
        with contextlib.suppress(OSError):
            self.bell.send(b"!")

    def await_end(self) -> None:
        try:
            self.code = int(self.process.wait())
        except OSError:
            self.code = None  # another thread has reaped it, or SIGCHLD is ignored
        finally:
            self.ended.set()
            self.ring()


@dataclass(frozen=True, kw_only=True)
class Start:
    """The parameters of a process."""

    path: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path | None
    stdin: IO[bytes]
    out: Sink
    err: Sink
    deadline: float
    """Seconds."""
    cancelled: Cancel | None = None


Starter = Callable[[Start], tuple[int, bool]]
"""`run_process`, or a replacement."""


def run_process(what: Start) -> tuple[int, bool]:
    """Its exit code (negative for a signal), and whether its deadline had passed. Raises `CannotStart`.

    The process has ended when its leader has: other members of the group continue, unless it was told to end. An error
    of a listener terminates the process, too.
    """
    with contextlib.ExitStack() as stack:
        try:
            selector = stack.enter_context(selectors.DefaultSelector())
            alarm, bell = (stack.enter_context(each) for each in socket.socketpair())
            selector.register(alarm, selectors.EVENT_READ)
            with _FORK, contextlib.ExitStack() as starting:
                writing = [_pipe(stack, starting, selector, sink) for sink in (what.out, what.err)]
                process = _start(what.path, what.argv, what.env, what.cwd, what.stdin, *writing)
                child = _Child(process, bell)
                CHILDREN.add(child.group)
        except OSError as error:
            raise _cannot_start(what.path, error.strerror or str(error), transient=error.errno in _SHORTAGES) from None
        threading.Thread(target=child.await_end, name=f"waits for {child.group}", daemon=True).start()
        forget = what.cancelled.call(lambda: _end(child)) if what.cancelled is not None else lambda: None
        try:
            late = _follow(child, selector, what.deadline)
        except BaseException:
            _end(child)
            child.ended.wait(PATIENCE)
            CHILDREN.signal(child.group, signal.SIGKILL)  # remaining members
            child.ended.wait(_UNKILLABLE)
            raise
        finally:
            forget()
            if child.ended.is_set():  # otherwise it stays registered, and is stopped with the others
                CHILDREN.remove(child.group)
    what.out.finish()
    what.err.finish()
    if child.ended.is_set() and child.code is None:
        raise LaunchError(
            f"how {Path(what.path).name} ended is unknown",
            why="something else has reaped it, or this process was started with SIGCHLD ignored",
            fix="start it from an ordinary shell",
        )
    return -signal.SIGKILL if child.code is None else child.code, late


def _end(child: _Child) -> None:
    CHILDREN.end(child.group)
    child.ring()


def _follow(child: _Child, selector: selectors.BaseSelector, deadline: float) -> bool:
    """Read until the process has ended, terminating it if necessary; returns whether it was late."""
    end = time.monotonic() + deadline
    late = False
    ending: float | None = None
    killed = False
    while True:
        now, over = time.monotonic(), child.ended.is_set()
        if not over and not late and now >= end and ending is None:
            late = True
            CHILDREN.end(child.group)
        if ending is None and CHILDREN.ending(child.group):
            ending = now
        if over and (ending is None or killed or not CHILDREN.exists(child.group)):
            _drain(selector)
            return late
        limit = end if ending is None else ending + PATIENCE + (_UNKILLABLE if killed else 0.0)
        if ending is not None and now >= limit:
            if killed:
                return late
            CHILDREN.signal(child.group, signal.SIGKILL)
            killed = True
            continue
        _read(selector, min(_LOOK if over else _LONG, limit - now))


def _read(selector: selectors.BaseSelector, seconds: float) -> int:
    """Pass on what is available, or arrives within that time; returns the number of bytes."""
    count = 0
    for key, _ in selector.select(seconds):
        data = os.read(key.fd, _CHUNK)
        if key.data is None:
            continue  # the wake-up pipe: its content means nothing
        if data:
            key.data.feed(data)
            count += len(data)
        else:
            selector.unregister(key.fileobj)
    return count


def _drain(selector: selectors.BaseSelector) -> None:
    """Read what is in the pipe after the end of the process; its heirs may write forever."""
    left = 2 * _PIPE
    while left > 0 and (count := _read(selector, 0)):
        left -= count


def _pipe(
    stack: contextlib.ExitStack, starting: contextlib.ExitStack, selector: selectors.BaseSelector, sink: Sink
) -> int:
    """A pipe into a sink: returns the write end, open here only while the process is being started."""
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    starting.callback(os.close, writing)
    selector.register(reading, selectors.EVENT_READ, sink)
    return writing


def _start(
    path: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, stdin: IO[bytes], out: int, err: int
) -> Any:  # noqa: ANN401 - of sh, which has no types
    import sh  # imported late: it takes 60 ms, and `invoke --list` runs nothing

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            running = sh.Command(path)(
                *argv[1:],
                _in=stdin,
                _out=out,
                _err=err,
                _env=dict(env),
                _cwd=None if cwd is None else str(cwd),
                _encoding="utf-8",
                _bg=True,
                _bg_exc=False,
                _new_session=True,
                _tty_out=False,
                _return_cmd=True,
            )
    except sh.ForkException as error:
        _bury(error)
        raise _cannot_start(path, *_why_not(path, str(error).strip().rpartition("\n")[2].strip())) from None
    except sh.CommandNotFound:
        raise _cannot_start(path, "it no longer exists") from None
    return running.process


def _bury(error: BaseException) -> None:
    """Reap a child that could not exec, and close its pipes: sh does neither, but its frame still has them."""
    trace = error.__traceback__
    while trace is not None:
        known = trace.tb_frame.f_locals
        if "session_pipe_read" in known:
            for name in ("session_pipe_read", "session_pipe_write"):
                os.close(known[name])
            with contextlib.suppress(ChildProcessError):
                os.waitpid(known["self"].pid, 0)
        trace = trace.tb_next


def _why_not(path: str, reported: str) -> tuple[str, str]:
    """Why a file that may be executed was not, from the system's message, and what to do; "" if that is unknown."""
    first, fix = b"", f"put its interpreter first, such as sh {shlex.quote(path)}"
    with contextlib.suppress(OSError), Path(path).open("rb") as file:
        first = file.readline(_CHUNK)
    if f"[Errno {errno.ENOEXEC}]" in reported:
        return (
            "it is a script without a first line such as #!/bin/sh, or a program for another processor or system",
            f"add that line, or {fix}",
        )
    if f"[Errno {errno.ENOENT}]" in reported and first.startswith(b"#!"):
        name = first[2:].strip().decode("utf-8", "replace")
        why = f"its first line names '{name}', which does not exist"
        if first.endswith(b"\r\n"):
            return f"{why}: it has Windows line endings", f"convert them: sed -i 's/\\r$//' {shlex.quote(path)}"
        return why, f"install that, correct the line, or {fix}"
    return reported, ""


def _cannot_start(path: str, why: str, fix: str = "", *, transient: bool = False) -> CannotStart:
    if transient:
        fix = "end other programs, or raise the limits (ulimit -n, ulimit -u)"
    return CannotStart(
        f"the program {path} cannot be started",
        why=why,
        fix=fix or "run it by hand; `make tools` downloads the project's own programs again",
        transient=transient,
    )
