"""Running the fixes that are safe, with the rights that are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.checks.facts import Rights
from tasks.checks.finding import Finding, Remedy
from tasks.errors import LaunchError
from tasks.tools.program import Command, Programs


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
