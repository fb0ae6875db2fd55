"""Commands as values, and the programs that run them."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, BinaryIO

from tasks.core.errors import LaunchError
from tasks.core.files import append, file_name
from tasks.core.redact import redact
from tasks.engine.step import Context, Stopped
from tasks.process.runner import Sink, run_process

_HINT = "Use --debug flag"
"""How Helm's last line begins where the one above says what is wrong."""
_TAIL = 12
"""Lines of output that an error repeats."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One call of a program. `stdin` may be secret, the arguments never are."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment that `Programs` gives to all; it may not be secret, errors show it."""
    cwd: Path | None = None
    """The folder that it runs in; this process's own, if not given."""
    stdin: str | None = None
    feed: Callable[[BinaryIO], None] | None = None
    """Writes stdin while the program runs, where it is too large to be kept."""
    shown_stdin: str = ""
    """What a pasteable form may say of stdin, such as a file's name."""
    deadline: float = 60.0
    """Seconds."""
    ok: tuple[int, ...] = (0,)

    def paste(self) -> str:
        """The command for a shell, without secrets."""
        added = [f"{key}={shlex.quote(redact(value))}" for key, value in sorted(self.env.items())]
        text = " ".join([*added, shlex.join(redact(part) for part in self.argv)])  # masked before quotes part a value
        if self.cwd is not None:
            text = f"cd {shlex.quote(str(self.cwd))} && {text}"
        return text if self.stdin is None and self.feed is None else f"{text} < {self.shown_stdin or 'INPUT'}"


@dataclass(frozen=True, kw_only=True)
class Completed:
    """How a command ended."""

    command: Command
    code: int
    out: str
    err: str
    seconds: float
    raw: bytes = field(default=b"", repr=False)
    """stdout as it came, for what is no text; `out` has a sign in place of each byte that is none."""
    quiet: bool = False
    """Nothing of stdout may be shown."""


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
        text = next((text for text in _shown(self.done) if text.strip()), "")
        return redact(text.rstrip()).splitlines()[-_TAIL:]


class DeadlinePassed(CommandFailed):
    """A program was ended because its deadline had passed."""

    def __init__(self, done: Completed, seconds: float) -> None:
        super().__init__(done, fix="look at its last lines; a longer deadline is a setting (timeouts.*)")
        self.amend(what=f"{Path(done.command.argv[0]).name} did not end within {seconds:g} s")
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
    """The last line that tells something, of stderr or else of stdout."""
    for text in _shown(done):
        lines = [line for each in text.splitlines() if (line := each.strip()) and not line.startswith(_HINT)]
        if lines:
            return redact(lines[-1])[:400]
    return "it wrote nothing" if not done.quiet else "it wrote nothing that may be shown"


def _shown(done: Completed) -> tuple[str, ...]:
    return (done.err,) if done.quiet else (done.err, done.out)


def duration(seconds: float) -> str:
    """Seconds as programs written in Go read them; `g` alone would write a million as 1e+06."""
    return f"{seconds:.12g}s"


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
            return name if _runs(Path(name)) else None
        if self.folder is not None and _runs(self.folder / name):
            return str(self.folder / name)
        found = shutil.which(name, path=self.env.get("PATH", os.defpath))
        return found and str(Path(found).absolute())

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
        """Run to the end. Raises `CommandFailed`, `DeadlinePassed`, `ProgramMissing`, `CannotStart`, `Stopped`.

        `listen` gets each line of stdout and stderr as it comes. `quiet` keeps the output out of the
        step's log, and stdout out of errors: for what may hold secrets.
        """
        path = self.find(command.argv[0])
        begin = time.monotonic()
        if context is not None and context.cancelled.is_set():
            raise Stopped(context.step)
        out, err = Sink(listen), Sink(listen)
        with _stdin(command) as stdin:
            code, late = run_process(
                path,
                command.argv,
                {**self.env, **command.env},
                cwd=command.cwd,
                stdin=stdin,
                out=out,
                err=err,
                deadline=command.deadline,
                cancelled=context.cancelled if context is not None else None,
            )
        raw = out.data()
        done = Completed(
            command=command,
            code=code,
            out=raw.decode("utf-8", "replace"),
            err=err.data().decode("utf-8", "replace"),
            seconds=time.monotonic() - begin,
            raw=raw,
            quiet=quiet,
        )
        if context is not None and not quiet:
            self.note(context, _story(done))
        if context is not None and context.cancelled.is_set() and code not in command.ok:
            raise Stopped(context.step)
        if late:
            raise DeadlinePassed(done, command.deadline)
        if code not in command.ok:
            raise CommandFailed(done)
        return done

    def note(self, context: Context, text: str) -> None:
        """Add to the step's log what was done in it without a program, or by one."""
        if self.log_dir is not None and text:
            _log(self.log_dir, context, text)


def _story(done: Completed) -> str:
    """A command, what it said, and how it ended."""
    said = f"{_ended(done.out)}{_ended(done.err)}"
    return f"$ {done.command.paste()}\n{said}[code {done.code}, {done.seconds:.2f} s]\n"


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _log(folder: Path, context: Context, text: str) -> None:
    """Add to a step's log; a disk that is full is not the step's failure."""
    try:
        append(folder / f"{file_name(context.step)}.log", redact(_ended(text)))
    except OSError as error:
        context.say(f"its log could not be written: {error.strerror or error}")


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


@contextlib.contextmanager
def _stdin(command: Command) -> Iterator[IO[bytes]]:
    """A file to read from: what `feed` writes, or else one that is whole."""
    if command.feed is None:
        with _stdin_file(command) as file:
            yield file
        return
    with _Feed(command.feed) as file:
        yield file


class _Feed:
    """A pipe that a thread writes to. An error of the writer is raised at the end, over that of the program."""

    def __init__(self, write: Callable[[BinaryIO], None]) -> None:
        reading, writing = os.pipe()
        self._reader, self._writer = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
        self._write = write
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            with self._writer as file:
                self._write(file)
        except BrokenPipeError:
            pass  # the program has ended, and tells why
        except Exception as error:  # noqa: BLE001 - raised where the program is waited for
            self._error = error

    def __enter__(self) -> IO[bytes]:
        self._thread.start()
        return self._reader

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._thread.join()
        if self._error is not None:
            raise self._error


def _stdin_file(command: Command) -> IO[bytes]:
    """Nothing, or the text from a file that has no name and dies with it."""
    if command.stdin is None:
        return Path(os.devnull).open("rb")
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        file.write(command.stdin.encode("utf-8", "surrogateescape"))
        file.seek(0)
    except OSError as error:
        raise LaunchError(
            f"the input of {Path(command.argv[0]).name} cannot be written to a temporary file",
            why=error.strerror or str(error),
            fix="make room, or name another folder in TMPDIR",
        ) from None
    return file
