"""Commands and their results as values; `tasks.process.programs` runs them."""

import re
import shlex
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tasks.core.errors import LaunchError
from tasks.core.redact import redact

_ERROR = ("Error: ", "error: ")
"""Prefixes of the line with the error of Helm and kubectl; hints and parts of objects may follow it."""
_HINT = re.compile(r"(?:See|Run) '[^']+ --help'")
"""Beginning of the line that docker's own client puts below an error."""
_TAIL = 12
"""Lines of output repeated in an error."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One call of a program. `stdin` may be secret, the arguments never are."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment that `Programs` gives to all; must not be secret, since errors show it."""
    cwd: Path | None = None
    """The working directory; this process's own, if not given."""
    stdin: str | None = None
    feed: Callable[[BinaryIO], None] | None = None
    """Writes stdin while the program runs, if it is too large for memory."""
    shown_stdin: str = ""
    """The name for stdin in a pasteable form, such as a file's name."""
    deadline: float = 60.0
    """Seconds."""
    ok: tuple[int, ...] = (0,)
    secret: bool = False
    """Whether its output may contain secrets: it is not logged, and errors do not show stdout."""
    kept: int | None = None
    """Bytes of output that are retained, from the end of either stream; None: all."""

    def paste(self) -> str:
        """The command for a shell, without secrets."""
        added = [f"{key}={shlex.quote(redact(value))}" for key, value in sorted(self.env.items())]
        text = " ".join([*added, shlex.join(redact(part) for part in self.argv)])  # masked before quotes split a value
        if self.cwd is not None:
            text = f"cd {shlex.quote(str(self.cwd))} && {text}"
        return text if self.stdin is None and self.feed is None else f"{text} < {self.shown_stdin or 'INPUT'}"


@dataclass(frozen=True, kw_only=True)
class Completed:
    """The result of a command."""

    command: Command
    code: int
    out: str
    err: str
    seconds: float
    raw: bytes = field(default=b"", repr=False)
    """stdout as bytes, for binary output; `out` has replacement characters for invalid bytes."""
    quiet: bool = False
    """Whether stdout must not be shown."""


class CommandFailed(LaunchError):
    """A program exited with an unexpected code."""

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
        """The last lines of output, without secrets."""
        text = next((text for text in _shown(self.done) if text.strip()), "")
        return redact(text.rstrip()).splitlines()[-_TAIL:]

    def last_line(self) -> str:
        """The last line of output, without secrets, or what happened."""
        return [self.what, *self.tail()][-1]


class DeadlinePassed(CommandFailed):
    """A program was terminated because its deadline had passed."""

    def __init__(self, done: Completed, seconds: float) -> None:
        super().__init__(done, fix="see its last lines; a longer deadline is a setting (timeouts.*)")
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
    """The last meaningful line of stderr, or else of stdout."""
    for text in _shown(done):
        lines = [line for each in text.splitlines() if (line := each.strip()) and not _HINT.match(line)]
        if lines:
            first = next((n for n in reversed(range(len(lines))) if lines[n].startswith(_ERROR)), len(lines) - 1)
            told = lines[first : first + 1 + lines[first].endswith(":")]
            return redact(" ".join(told))[:400]
    return "it wrote nothing" if not done.quiet else "it wrote nothing that may be shown"


def _shown(done: Completed) -> tuple[str, ...]:
    return (done.err,) if done.quiet else (done.err, done.out)


def repeated(option: str, values: Iterable[str]) -> tuple[str, ...]:
    """An option given once for each value."""
    return tuple(part for value in values for part in (option, value))


def duration(seconds: float) -> str:
    """Seconds in the format of Go programs; `g` alone would write a million as 1e+06."""
    return f"{seconds:.12g}s"
