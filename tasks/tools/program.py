"""Programs as values, and the one function that runs them.

sh forks from the thread that calls it, which Python 3.12 and later warn about when other threads
live: all forks happen here, one at a time, behind one lock (sh 2.4.0, `OProc.__init__`).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from tasks.engine.step import Context, Stopped
from tasks.errors import LaunchError
from tasks.tools.children import CHILDREN
from tasks.tools.secret import redact

_FORK = threading.Lock()
_TAIL = 12
"""Lines of output that an error repeats."""
_PATIENCE = 3.0
"""Seconds between TERM and KILL for one child that has passed its deadline or was cancelled."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One call of a program. `stdin` may be secret, the arguments never are."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of this process, less what `Programs` keeps back."""
    stdin: str | None = None
    shown_stdin: str = ""
    """What a pasteable form may say of stdin, such as a file's name."""
    deadline: float = 60.0
    """Seconds."""
    ok: tuple[int, ...] = (0,)

    def paste(self) -> str:
        """The command for a shell, without secrets."""
        added = [f"{key}={shlex.quote(value)}" for key, value in sorted(self.env.items())]
        text = " ".join([*added, shlex.join(self.argv)])
        if self.stdin is not None:
            text += f" < {self.shown_stdin or 'INPUT'}"
        return redact(text)


@dataclass(frozen=True, kw_only=True)
class Completed:
    """How a command ended."""

    command: Command
    code: int
    out: str
    err: str
    seconds: float


class CommandFailed(LaunchError):
    """A program ended with a code that was not expected."""

    def __init__(self, done: Completed, *, why: str = "", fix: str = "", transient: bool = False) -> None:
        self.done = done
        name = Path(done.command.argv[0]).name
        how = f"ended with code {done.code}" if done.code >= 0 else f"was ended by {signal_name(-done.code)}"
        super().__init__(
            f"{name} {how}: {last_line(done)}",
            why=why,
            fix=fix,
            exit_code=done.code,
            transient=transient,
        )

    def tail(self) -> list[str]:
        """The last lines that the program wrote, without secrets."""
        text = self.done.err.rstrip() or self.done.out.rstrip()
        return redact(text).splitlines()[-_TAIL:]


class DeadlinePassed(CommandFailed):
    """A program was ended because its deadline had passed."""

    def __init__(self, done: Completed, seconds: float) -> None:
        super().__init__(done, fix="look at its last lines; a longer deadline is a setting (timeouts.*)")
        self.what = f"{Path(done.command.argv[0]).name} did not end within {seconds:g} s"
        self.args = (self.what,)


class ProgramMissing(LaunchError):
    """A program is neither in the project's folder nor on the PATH."""


def signal_name(number: int) -> str:
    """SIGTERM for 15."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_line(done: Completed) -> str:
    """The last line that is not empty, of stderr or else of stdout."""
    for text in (done.err, done.out):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if lines:
            return redact(lines[-1])[:400]
    return "it wrote nothing"


class _Sink:
    """Gathers one stream; hands on whole lines if someone listens."""

    def __init__(self, listen: Callable[[str], None] | None) -> None:
        self._parts: list[bytes] = []
        self._rest = b""
        self._listen = listen

    def __call__(self, chunk: str | bytes) -> None:
        data = chunk.encode("utf-8", "surrogateescape") if isinstance(chunk, str) else chunk
        self._parts.append(data)
        if self._listen is None:
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._listen(line.decode("utf-8", "replace"))

    def text(self) -> str:
        return b"".join(self._parts).decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where programs are found and what environment they get. The fake of tests has the same `run`."""

    folder: Path | None = None
    """The project's own programs; they win over the PATH."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of every program."""
    log_dir: Path | None = None
    """Where each step's output is kept; nowhere, if not given."""

    def find(self, name: str) -> str:
        """The path of a program; raises `ProgramMissing`."""
        path = self.where(name)
        if path is None:
            raise ProgramMissing(
                f"the program '{name}' is missing",
                why="it is neither in the project's folder nor on the PATH",
                fix="`make tools` fetches k3d, kubectl and helm in the pinned versions",
            )
        return path

    def where(self, name: str) -> str | None:
        """The path of a program, or None."""
        if "/" in name:
            return name if os.access(name, os.X_OK) else None
        if self.folder is not None and os.access(self.folder / name, os.X_OK):
            return str(self.folder / name)
        return shutil.which(name, path=self.env.get("PATH", os.defpath))

    def with_env(self, added: Mapping[str, str]) -> Programs:
        """The same programs in a wider environment."""
        return replace(self, env={**self.env, **added})

    def run(
        self,
        command: Command,
        context: Context | None = None,
        *,
        listen: Callable[[str], None] | None = None,
        quiet: bool = False,
    ) -> Completed:
        """Run to the end. Raises `CommandFailed`, `DeadlinePassed`, `ProgramMissing`, `Stopped`.

        `listen` gets each line of stdout and stderr as it comes. `quiet` keeps the output out of the
        step's log: for what may hold secrets.
        """
        path = self.find(command.argv[0])
        begin = time.monotonic()
        if context is not None and context.cancelled.is_set():
            raise Stopped(context.step)
        out, err = _Sink(listen), _Sink(listen)
        code, late = _run(path, command, {**self.env, **command.env}, out, err, context)
        done = Completed(command=command, code=code, out=out.text(), err=err.text(), seconds=time.monotonic() - begin)
        if context is not None and self.log_dir is not None and not quiet:
            self._log(context, done)
        if context is not None and context.cancelled.is_set() and code not in command.ok:
            raise Stopped(context.step)
        if late:
            raise DeadlinePassed(done, command.deadline)
        if code not in command.ok:
            raise CommandFailed(done)
        return done

    def _log(self, context: Context, done: Completed) -> None:
        assert self.log_dir is not None
        name = "".join(c if c.isalnum() or c in "-_." else "-" for c in context.step)
        text = f"$ {done.command.paste()}\n{done.out}{done.err}[code {done.code}, {done.seconds:.2f} s]\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(self.log_dir / f"{name}.log", flags, 0o600), "a") as file:
            file.write(redact(text))


def _run(
    path: str,
    command: Command,
    env: Mapping[str, str],
    out: _Sink,
    err: _Sink,
    context: Context | None,
) -> tuple[int, bool]:
    import sh  # looked up late: importing it costs 60 ms, and `invoke --list` runs nothing

    options: dict[str, Any] = {
        "_bg": True,
        "_bg_exc": False,
        "_new_session": True,
        "_tty_out": False,
        "_env": dict(env),
        "_out": out,
        "_err": err,
        "_out_bufsize": 1,
        "_err_bufsize": 1,
        "_encoding": "utf-8",
        "_decode_errors": "surrogateescape",
        "_return_cmd": True,
        "_no_out": True,
        "_no_err": True,
    }
    late = threading.Event()
    with _stdin(command.stdin) as stdin:
        with _FORK, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            running = sh.Command(path)(*command.argv[1:], _in=stdin, **options)
            group = running.process.pid
            CHILDREN.add(group)
        ended = threading.Event()

        def end() -> None:
            CHILDREN.signal(group, signal.SIGTERM)
            killer = threading.Timer(_PATIENCE, lambda: ended.is_set() or CHILDREN.signal(group, signal.SIGKILL))
            killer.daemon = True
            killer.start()

        def too_late() -> None:
            late.set()
            end()

        timer = threading.Timer(command.deadline, too_late)
        timer.daemon = True
        timer.start()
        forget = context.cancelled.call(end) if context is not None else lambda: None
        try:
            code = running.process.wait()
        finally:
            ended.set()
            timer.cancel()
            forget()
            CHILDREN.remove(group)
    return int(code), late.is_set()


def _stdin(text: str | None) -> IO[bytes]:
    """A file to read from: nothing, or the text from a file that has no name and dies with it."""
    if text is None:
        return Path(os.devnull).open("rb")
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(text.encode())
    file.seek(0)
    return file


def environment(own: Mapping[str, str], keep_back: Iterable[str]) -> dict[str, str]:
    """The environment for programs: this process's, less the names that they must not see."""
    hidden = set(keep_back)
    return {key: value for key, value in own.items() if key not in hidden}
