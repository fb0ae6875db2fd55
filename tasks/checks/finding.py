"""A check's finding, its output, and the error that stops a launch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tasks.core.errors import LaunchError
from tasks.core.units import count
from tasks.view.console import Line, line, table, wrap


class Level(Enum):
    """How severe a finding is."""

    OK = "ok"
    UNKNOWN = "not known"
    """It cannot be determined: reported, rather than assumed to be good."""
    WARNING = "warning"
    PROBLEM = "problem"
    """It would stop a launch."""


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A fix that is safe to run automatically: it deletes nothing, and a restart of the machine reverts it."""

    argv: tuple[str, ...] = ()
    """Needs root."""
    fetch: bool = False
    """Instead of a command: download the pinned programs into the project's folder."""

    @property
    def shown(self) -> str:
        """As a user would type it."""
        return "make tools" if self.fetch else " ".join(self.argv)


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    level: Level
    what: str
    why: str = ""
    fix: str = ""
    """What to do; commands are in backquotes."""
    remedy: Remedy | None = None
    check: str = ""
    """The name of the check; `examine` fills it in."""


def ok(what: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, what)


def unknown(what: str, why: str = "") -> Finding:
    """It cannot be determined."""
    return Finding(Level.UNKNOWN, what, why)


def warning(what: str, *, why: str, fix: str, remedy: Remedy | None = None) -> Finding:
    """A launch continues, slower or with something missing."""
    return Finding(Level.WARNING, what, why, fix, remedy)


def problem(what: str, *, why: str, fix: str, remedy: Remedy | None = None) -> Finding:
    """It would stop a launch."""
    return Finding(Level.PROBLEM, what, why, fix, remedy)


class Unfit(LaunchError):
    """The machine, the engine or a program would make the launch fail."""

    def __init__(self, problems: Sequence[Finding]) -> None:
        if len(problems) == 1:
            (only,) = problems
            super().__init__(f"{only.check}: {only.what}", why=only.why, fix=only.fix)
        else:
            super().__init__(
                f"{count(len(problems), 'thing')} would stop this launch: {', '.join(each.check for each in problems)}",
                why="\n".join(
                    f"{each.check}: {each.what}" + (f"; {each.why}" if each.why else "") for each in problems
                ),
                fix="\n".join(f"{each.check}: {each.fix}" for each in problems),
            )
        self.problems = tuple(problems)


@dataclass(frozen=True, kw_only=True)
class Mended:
    """The result of one fix."""

    check: str
    command: str
    ran: bool
    result: str
    """ran, failed and why, or why it was skipped."""


_STYLES = {Level.OK: "good", Level.UNKNOWN: "dim", Level.WARNING: "warn", Level.PROBLEM: "bad"}


def as_lines(findings: Sequence[Finding], mended: Sequence[Mended], width: int | None = None) -> list[str | Line]:
    """The table, then each warning and problem with its reason and its fix, then the verdict."""
    lines: list[str | Line] = [line(f"{each.command}: {each.result}") for each in mended]
    lines += [""] if mended else []
    rows = [[each.check, each.level.value, each.what] for each in findings]
    lines += table(rows, head=("check", "result", "finding"), width=width)
    for finding in findings:
        if finding.why or finding.fix:
            head, *rest = wrap(finding.what, width, first=f"{finding.check}: ", rest="  ")
            cut = len(finding.check) + 1
            lines += ["", line((head[:cut], _STYLES[finding.level]), head[cut:]), *rest]
            lines += wrap(finding.why, width, first="  why:  ") if finding.why else []
            lines += wrap(finding.fix, width, first="  do:   ") if finding.fix else []
    return [*lines, "", _verdict(findings)]


def as_json(findings: Sequence[Finding], mended: Sequence[Mended], *, cluster: str, exit_code: int) -> str:
    """One document."""
    document: dict[str, Any] = {
        "cluster": cluster,
        "exit_code": exit_code,
        "findings": [
            {
                "check": each.check,
                "level": each.level.value,
                "what": each.what,
                "why": each.why,
                "fix": each.fix,
                "safe": each.remedy is not None,
            }
            for each in findings
        ],
        "fixed": [vars(each) for each in mended],
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def _verdict(findings: Sequence[Finding]) -> Line:
    stops = sum(each.level is Level.PROBLEM for each in findings)
    warnings = sum(each.level is Level.WARNING for each in findings)
    tail = f"; {count(warnings, 'warning')}" if warnings else ""
    safe = any(each.remedy is not None for each in findings)
    offer = "; `invoke doctor --fix` runs the fixes that are safe" if safe else ""
    if stops:
        return line((f"{count(stops, 'problem')} would stop a launch", "bad"), tail + offer)
    return line(("nothing here would stop a launch", "good"), tail + offer)
