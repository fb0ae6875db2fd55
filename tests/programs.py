"""Programs that answer from a table and record their calls; real programs, and which of them still run."""

import io
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from tasks.engine.step import Cancel, Context, Stopped
from tasks.process.command import Command, CommandFailed, Completed, DeadlinePassed, ProgramMissing
from tasks.process.programs import Programs

PATH = os.environ.get("PATH", os.defpath)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a program does."""

    out: str = ""
    err: str = ""
    code: int = 0
    late: bool = False
    """It does not end before its deadline."""
    raw: bytes | None = None
    """What comes out where it is no text."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a program."""

    command: Command
    env: Mapping[str, str]
    """The whole environment that it gets."""
    quiet: bool
    context: Context | None = None
    listen: Callable[[str], None] | None = None

    @property
    def line(self) -> str:
        """The arguments, as one reads them."""
        return " ".join(self.command.argv)


Script = Answer | str | BaseException | Callable[[Call], "Answer | str"]
"""An answer; a text for stdout; an error to raise; or who makes the answer. A list of them: one after another."""


@dataclass(frozen=True, kw_only=True)
class FakePrograms(Programs):
    """Commands are found by how they begin (the longest beginning wins), paths by name."""

    answers: dict[str, Any] = field(default_factory=dict)
    """A `Script` or a list of them, by the beginning of a command line; the last of a list stays."""
    otherwise: Answer | None = None
    """The answer to everything else; None: the program is missing."""
    paths: Mapping[str, str | None] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def where(self, name: str) -> str | None:
        if name in self.paths:
            return self.paths[name]
        known = self.otherwise is not None or any(key.split()[0] == name for key in self.answers)
        return f"/fake/{name}" if known else None

    def run(
        self,
        command: Command,
        context: Context | None = None,
        *,
        listen: Callable[[str], None] | None = None,
        quiet: bool = False,
    ) -> Completed:
        if context is not None and context.cancelled.is_set():
            raise Stopped(context.step)
        quiet = quiet or command.secret
        call = Call(command=command, env={**self.env, **command.env}, quiet=quiet, context=context, listen=listen)
        self.calls.append(call)
        answer = self._answer(call)
        raw = answer.out.encode() if answer.raw is None else answer.raw
        out = raw.decode("utf-8", "replace")
        done = Completed(command=command, code=answer.code, out=out, err=answer.err, seconds=0.0, raw=raw, quiet=quiet)
        if listen is not None:
            for line in [*out.splitlines(), *answer.err.splitlines()]:
                listen(line)
        if answer.late:
            raise DeadlinePassed(done, command.deadline)
        if answer.code not in command.ok:
            raise CommandFailed(done)
        return done

    def _answer(self, call: Call) -> Answer:
        found = max((key for key in self.answers if call.line.startswith(key)), key=len, default=None)
        script: Any = self.otherwise if found is None else self.answers[found]
        if isinstance(script, list):
            script = script[0] if len(script) == 1 else script.pop(0)
        if isinstance(script, BaseException):
            raise script
        if callable(script):
            script = script(call)
        if script is None:
            raise ProgramMissing(f"the program '{call.command.argv[0]}' is missing")
        return Answer(out=script) if isinstance(script, str) else script

    @property
    def commands(self) -> list[Command]:
        """The commands that were run."""
        return [each.command for each in self.calls]

    @property
    def lines(self) -> list[str]:
        """The same as command lines."""
        return [each.line for each in self.calls]

    def calls_of(self, beginning: str) -> list[Call]:
        """Calls that begin with this text."""
        return [each for each in self.calls if each.line.startswith(beginning)]


def visible(calls: Iterable[Call]) -> str:
    """Everything about these calls that is visible to other users of the machine, or in a log."""
    return "\n".join(f"{each.command.argv!r} {dict(each.command.env)!r} {each.command.paste()}" for each in calls)


def tarred(files: Mapping[str, str | bytes], mode: Literal["w", "w:gz"] = "w", **header: Any) -> bytes:
    """An archive of these files, each with these fields in its header; by default as `docker cp … -` writes it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            for field_name, value in {"size": len(data), **header}.items():
                setattr(entry, field_name, value)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def programs(**env: str) -> Programs:
    """The machine's programs in an environment of nothing else than PATH."""
    return Programs(env={"PATH": PATH, **env})


def script(text: str, *args: str, deadline: float = 20.0, stdin: str | None = None) -> Command:
    """A piece of shell as a command."""
    return Command(argv=("sh", "-c", text, "sh", *args), deadline=deadline, stdin=stdin)


def context(step: str = "a step", **changes: Any) -> Context:
    """What an action of a step is given."""
    return Context(**{"step": step, "deadline": 20.0, "cancelled": Cancel(), **changes})


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for what another thread or process does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.002)


def soon(act: Callable[[], object], seconds: float = 0.2) -> threading.Timer:
    """Do something a little later."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    return timer


def lives(pid: int) -> bool:
    """Whether a process is there; one that only waits to be waited for is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def pid_in(file: Path) -> int:
    """The number that a script wrote into a file."""
    until(lambda: file.exists() and file.read_text().strip())
    return int(file.read_text())
