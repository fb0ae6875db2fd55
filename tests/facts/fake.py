"""Programs that answer from a table, and remember what they were asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tasks.engine.step import Context
from tasks.tools.program import Command, CommandFailed, Completed, DeadlinePassed, ProgramMissing, Programs


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a program does."""

    out: str = ""
    err: str = ""
    code: int = 0
    late: bool = False


@dataclass(frozen=True, kw_only=True)
class FakePrograms(Programs):
    """Commands are found by how they begin; paths by name."""

    answers: dict[str, Answer] = field(default_factory=dict)
    paths: Mapping[str, str | None] = field(default_factory=dict)
    asked: list[Command] = field(default_factory=list)

    def where(self, name: str) -> str | None:
        if name in self.paths:
            return self.paths[name]
        return f"/fake/{name}" if any(key.split()[0] == name for key in self.answers) else None

    def run(
        self,
        command: Command,
        context: Context | None = None,
        *,
        listen: Callable[[str], None] | None = None,
        quiet: bool = False,
    ) -> Completed:
        self.asked.append(command)
        text = " ".join(command.argv)
        found = max((key for key in self.answers if text.startswith(key)), key=len, default=None)
        if found is None:
            raise ProgramMissing(f"the program '{command.argv[0]}' is missing")
        answer = self.answers[found]
        done = Completed(command=command, code=answer.code, out=answer.out, err=answer.err, seconds=0.0)
        if answer.late:
            raise DeadlinePassed(done, command.deadline)
        if answer.code not in command.ok:
            raise CommandFailed(done)
        return done

    @property
    def lines(self) -> list[str]:
        """The commands that were run."""
        return [" ".join(command.argv) for command in self.asked]
