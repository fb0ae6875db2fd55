"""Values of secrets, each read from a variable, a file or the output of a command, and concealed at once.

An error here never has the error below it as its context: what a command wrote before it failed may be half of the
secret, and a failure is shown with whatever it came from.
"""

from __future__ import annotations

import base64
import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.core.redact import conceal, redact
from tasks.process.command import Command, CommandFailed, DeadlinePassed, ProgramMissing
from tasks.process.programs import Programs

if TYPE_CHECKING:
    from tasks.settings.types import SecretSource

ReadFile = Callable[[str], bytes]
"""The content of a file; raises OSError."""
RunCommand = Callable[[Sequence[str]], bytes]
"""What a command wrote to stdout; raises `CommandFailed`, `ProgramMissing`."""

_KINDS = ("env", "file", "command")
_LARGEST = 1 << 20
"""Bytes: the API server takes no larger Secret (Kubernetes: Secrets, size limit)."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What values are read from."""

    environ: Mapping[str, str] = field(repr=False)
    read_file: ReadFile
    run_command: RunCommand


def sources(environ: Mapping[str, str], root: Path, programs: Programs, seconds: float) -> Sources:
    """Those of this machine: paths are seen from `root`, a command has so many seconds."""

    def output(argv: Sequence[str]) -> bytes:
        program = str(root / argv[0]) if "/" in argv[0] else argv[0]
        return programs.run(Command(argv=(program, *argv[1:]), cwd=root, deadline=seconds), quiet=True).raw

    return Sources(environ=environ, read_file=reader(root), run_command=output)


class Empty(Exception):
    """A source is there, and holds nothing; the text names the source."""


def reader(root: Path) -> ReadFile:
    """Reads files of secrets, their paths seen from `root`.

    It never waits: a pipe or a device is refused, as is a file that no Secret could hold.
    """

    def read(name: str) -> bytes:
        try:
            path = root / Path(name).expanduser()
        except RuntimeError:
            raise FileNotFoundError(errno.ENOENT, "there is no home folder of that user") from None
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is no ordinary file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(_LARGEST + 1)
        finally:
            os.close(descriptor)
        if len(content) > _LARGEST:
            raise OSError(errno.EFBIG, "it is larger than 1 MiB, and so than any Secret may be")
        return content

    return read


def value_of(source: SecretSource, given: Sources, what: str, place: str) -> bytes:
    """A value. The end of a line is no part of it where a file or a command gives a single line.

    `what` it is and the `place` of its setting are for errors. Raises `Empty` for a source without a value, `BadInput`
    for one that cannot be read.
    """
    named = [kind for kind in _KINDS if getattr(source, kind) is not None]
    try:
        if len(named) != 1:
            raise _Unreadable(f"it has {len(named)} sources ({', '.join(named) or 'none'})", "name exactly one")
        if not getattr(source, named[0]):
            raise _Unreadable(f"its {named[0]} is empty", "name one")
        if source.env:
            if source.env not in given.environ:
                raise Empty(f"{source.env} is not set")
            return _concealed(given.environ[source.env].encode("utf-8", "surrogateescape"), source.env)
        if source.file:
            return _concealed(_trimmed(_read(source.file, given.read_file)), f"the file {source.file}")
        assert source.command
        return _concealed(_trimmed(_run(source.command, given.run_command)), f"the output of {source.command[0]}")
    except _Unreadable as error:
        why, fix = error.args
    raise BadInput(f"{what} cannot be read", why=why, fix=f"{fix} (settings: {place})")


class _Unreadable(Exception):
    """Why a source cannot be read, and what to do."""


def _concealed(value: bytes, where: str) -> bytes:
    if not value.strip():
        raise Empty(f"{where} is empty")
    # bytes that are no text are seen in their base64 form only
    conceal(value.decode() if _is_text(value) else base64.b64encode(value).decode())
    return value


def _trimmed(value: bytes) -> bytes:
    """A single line without its end, as the shell's `$(…)` gives it.

    Several lines stay as they are, as kubectl takes a file: without its last newline OpenSSH refuses a key,
    and PEM blocks can no longer be joined. So do bytes that are no text.
    """
    line = value.rstrip(b"\r\n")
    return value if b"\n" in line or not _is_text(value) else line


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read(name: str, read_file: ReadFile) -> bytes:
    try:
        return read_file(name)
    except OSError as error:
        why = error.strerror or type(error).__name__
    except ValueError:
        why = "no file can have that name"
    raise _Unreadable(f"{name}: {why}", "put the file there, or take the secret out")


def _run(command: Sequence[str], run_command: RunCommand) -> bytes:
    try:
        output = run_command(command)
    except CommandFailed as error:
        why = _how(command[0], error)
    except ProgramMissing as error:
        why = error.what
    else:
        return output
    raise _Unreadable(why, "run that command by hand, or take the secret out")


def _how(name: str, error: CommandFailed) -> str:
    """How a command failed: by the last line of its stderr, in which what it wrote to stdout is masked."""
    if isinstance(error, DeadlinePassed):
        return error.what
    conceal(error.done.out)
    said = [line.strip() for line in redact(error.done.err).splitlines() if line.strip()]
    return f"{name} ended with code {error.done.code}" + (f": {said[-1][:200]}" if said else "")
