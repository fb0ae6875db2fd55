"""What a check finds, and the command that fixes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tasks.checks.facts import HostFacts, Rights
from tasks.core.errors import LaunchError
from tasks.process.command import Command, Programs
from tasks.view.console import Line, count, line, wrap
from tasks.view.table import table


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


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What became of one fix."""

    check: str
    command: str
    ran: bool
    result: str
    """ran, failed and why, or why it was left."""


def mend(
    findings: Sequence[Finding], rights: Rights | None, programs: Programs, fetch: Callable[[], int]
) -> list[Mended]:
    """Run each remedy once. `fetch` puts the pinned programs into the project's folder, and returns an exit code."""
    done: dict[Remedy, Mended] = {}
    for finding in findings:
        remedy = finding.remedy
        if remedy is not None and remedy not in done:
            done[remedy] = _fetched(finding, fetch) if remedy.fetch else _run(finding, remedy, rights, programs)
    return list(done.values())


def _fetched(finding: Finding, fetch: Callable[[], int]) -> Mended:
    code = fetch()
    result = "ran" if code == 0 else f"failed with code {code}"
    return Mended(check=finding.check, command="make tools", ran=True, result=result)


def _run(finding: Finding, remedy: Remedy, rights: Rights | None, programs: Programs) -> Mended:
    if rights is None or not rights.enough:
        return Mended(check=finding.check, command=f"sudo {remedy.shown}", ran=False, result="left to you: needs root")
    argv = remedy.argv if rights.root else ("sudo", "-n", *remedy.argv)
    command = Command(argv=argv, deadline=60.0)
    try:
        programs.run(command)
    except LaunchError as error:
        return Mended(check=finding.check, command=command.paste(), ran=True, result=f"failed: {error.what}")
    return Mended(check=finding.check, command=command.paste(), ran=True, result="ran")


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


def sudo(facts: HostFacts) -> Iterator[Finding]:
    """No launch needs it: `docker-tune` and some fixes do."""
    rights = facts.rights
    if rights is None:
        return
    if rights.enough:
        yield Finding(check="sudo", level=Level.OK, what="you are root" if rights.root else "works without a password")
        return
    what = "there is none" if rights.sudo is None else "asks for a password"
    if facts.settings.docker.tune == "auto":
        yield Finding(
            check="sudo",
            level=Level.WARNING,
            what=f"{what}, and docker.tune is auto",
            why="Docker's daemon.json belongs to root, so it will be left as it is",
            fix="`sudo invoke docker-tune` once, or docker.tune off",
        )
    else:
        yield Finding(check="sudo", level=Level.OK, what=f"{what}: what needs root is left to you")


def folders(facts: HostFacts) -> Iterator[Finding]:
    """What is remembered of clusters, and their private kubeconfigs."""
    error = facts.folders
    if error is not None:
        yield Finding(check="folders", level=Level.PROBLEM, what=error.what, why=error.why, fix=error.fix)


def kubeconfig(facts: HostFacts) -> Iterator[Finding]:
    """A launch goes on without: its private kubeconfig is always there."""
    if facts.unwritable:
        yield Finding(
            check="kubeconfig",
            level=Level.WARNING,
            what=f"your kubeconfig cannot be written: {facts.unwritable}",
            why="the cluster's entry will not be put into the first file of KUBECONFIG",
            fix="mount or make it writable, or name another one in KUBECONFIG; or kubeconfig.merge=false",
        )
