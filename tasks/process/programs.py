"""The programs that run commands: their paths, environment and logs."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, BinaryIO

from tasks.core.errors import LaunchError
from tasks.core.files import append, file_name
from tasks.core.redact import redact
from tasks.engine.step import Context, Stopped
from tasks.process.command import Command, CommandFailed, Completed, DeadlinePassed, ProgramMissing
from tasks.process.runner import CannotStart, Sink, Start, Starter, run_process


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where programs are found, and their environment. The fake for tests has the same `run`."""

    folder: Path | None = None
    """The project's own programs; they take precedence over the PATH."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of every program."""
    log_dir: Path | None = None
    """Where each step's output is logged; nowhere, if not given."""
    start: Starter = run_process
    """Runs a program to its end: see `run_process`."""

    def find(self, name: str) -> str:
        """The path of a program; raises `ProgramMissing`, `CannotStart`."""
        path = self.where(name)
        if path is None and "/" in name and Path(name).is_file():
            raise CannotStart(
                f"the program {name} cannot be started",
                why="it may not be executed (file mode, or a noexec file system)",
                fix=f"chmod +x {shlex.quote(name)}; or put its interpreter first, such as sh",
            )
        if path is None:
            raise ProgramMissing(
                f"the program '{name}' is missing",
                why="there is no file of that name"
                if "/" in name
                else "it is neither in the project's folder nor on the PATH",
                fix="`make tools` downloads the pinned k3d, kubectl and helm",
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
        """The same programs with additional environment variables."""
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

        `listen` gets each line of stdout and stderr as it arrives. `quiet` keeps the output out of the
        step's log, and stdout out of errors: for output that may contain secrets.
        """
        path, quiet = self.find(command.argv[0]), quiet or command.secret
        begin = time.monotonic()
        if context is not None and context.cancelled.is_set():
            raise Stopped(context.step)
        out, err = Sink(listen, command.kept), Sink(listen, command.kept)
        with _stdin_file(command) if command.feed is None else _Feed(command.feed) as stdin:
            what = Start(
                path=path,
                argv=command.argv,
                env={**self.env, **command.env},
                cwd=command.cwd,
                stdin=stdin,
                out=out,
                err=err,
                deadline=command.deadline,
                cancelled=context.cancelled if context is not None else None,
            )
            code, late = self.start(what)
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
        """Add a text to the step's log."""
        if self.log_dir is not None and text:
            _log(self.log_dir, context, text)


def _story(done: Completed) -> str:
    """A command, its output and its result."""
    message = f"{_ended(done.out)}{_ended(done.err)}"
    return f"$ {done.command.paste()}\n{message}[code {done.code}, {done.seconds:.2f} s]\n"


def _runs(path: Path) -> bool:
    """Whether a program can be run; a folder that may not be entered, such as one of root's `.tools`, has none."""
    return os.access(path, os.X_OK) and os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises without access


def _log(folder: Path, context: Context, text: str) -> None:
    """Append to a step's log; a full disk does not fail the step."""
    try:
        append(folder / f"{file_name(context.step)}.log", redact(_ended(text)))
    except OSError as error:
        context.say(f"its log could not be written: {error.strerror or error}")


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


class _Feed:
    """A pipe that a thread writes to. An error of the writer is raised at the end, instead of that of the program."""

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
            pass  # the program has ended, and reports the reason
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
    """Nothing, or the text in an unnamed temporary file."""
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
            fix="free disk space, or set TMPDIR to another folder",
        ) from None
    return file
