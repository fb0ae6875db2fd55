"""What a check finds, and the command that fixes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tasks.errors import LaunchError


class Level(Enum):
    """How much a finding matters."""

    OK = "ok"
    UNKNOWN = "not known"
    """It cannot be seen from here: said, rather than taken for good."""
    WARNING = "warning"
    PROBLEM = "problem"
    """It would stop a launch."""


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A fix that is safe to run unasked: it deletes nothing, and a restart of the machine undoes it."""

    argv: tuple[str, ...] = ()
    """Needs root."""
    fetch: bool = False
    """Instead of a command: fetch the pinned programs into the project's folder."""

    @property
    def shown(self) -> str:
        """As a user would type it."""
        return "make tools" if self.fetch else " ".join(self.argv)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    level: Level
    what: str
    why: str = ""
    fix: str = ""
    """What to do; commands stand in back quotes."""
    remedy: Remedy | None = None


class Unfit(LaunchError):
    """The machine, the engine or a program would make the launch fail."""

    def __init__(self, problems: Sequence[Finding]) -> None:
        if len(problems) == 1:
            (only,) = problems
            super().__init__(f"{only.check}: {only.what}", why=only.why, fix=only.fix)
        else:
            super().__init__(
                f"{len(problems)} things would stop this launch: {', '.join(each.check for each in problems)}",
                why="\n".join(
                    f"{each.check}: {each.what}" + (f"; {each.why}" if each.why else "") for each in problems
                ),
                fix="\n".join(f"{each.check}: {each.fix}" for each in problems),
            )
        self.problems = tuple(problems)
