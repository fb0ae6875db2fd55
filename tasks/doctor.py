"""`invoke doctor`: what would stop a launch, with commands that fix it.

The exit code is 0 if nothing would stop a launch, 1 if something would, 6 without an engine.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tasks.core.errors import FAILED, NO_ENGINE, OK, BadInput, LaunchError
from tasks.run.task import check_format, task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tasks.checks.facts import HostFacts
    from tasks.checks.finding import Finding, Mended, Remedy
    from tasks.facts.host import Rights
    from tasks.process.programs import Programs
    from tasks.run.session import Session
    from tasks.settings.schema import Settings


@task("profile", "set", "engine", "context", help={"fix": "run the safe fixes", "format": "text or json"})
def doctor(session: Session, fix: bool = False, format: str = "text") -> int:  # noqa: A002 - the option's name
    """Check the machine, the engine and the programs before anything starts."""
    from tasks.checks.examine import examine, problems
    from tasks.checks.finding import as_json, as_lines
    from tasks.view.console import out, width_of

    check_format(format)
    facts = host_facts(session)
    findings = examine(facts)
    mended: list[Mended] = []
    if fix:
        mended = mend(findings, facts.rights, session.programs(), lambda: _fetch(session))
        if any(each.ran for each in mended):
            facts = host_facts(session)
            findings = examine(facts)
    code = NO_ENGINE if facts.no_engine is not None else FAILED if problems(findings) else OK
    if format == "json":
        out([as_json(findings, mended, cluster=session.name, exit_code=code)])
    else:
        out(as_lines(findings, mended, width_of(sys.stdout)))
    return code


def host_facts(session: Session) -> HostFacts:
    """The facts for the checks."""
    from tasks.checks.examine import gather, gather_existing
    from tasks.facts.programs import read_pins

    settings: Settings = session.settings
    pins = read_pins(session.root)
    if not session.options.owns_cluster:
        return gather_existing(
            settings,
            session.environ,
            session.programs(),
            state=session.state,
            minimum=pins.minimum,
            context=str(session.options.context),
        )
    return gather(
        settings,
        session.environ,
        session.programs(),
        state=session.state,
        owner=session.owner,
        minimum=pins.minimum,
        k3d_version=pins.of("k3d").version,
        folders=_folders(session),
        online=session.rehearsal is None,
    )


def _folders(session: Session) -> BadInput | None:
    """Why the state or the cache folder cannot be used."""
    try:
        session.check_folders()
    except BadInput as error:
        return error
    return None


def mend(
    findings: Sequence[Finding], rights: Rights | None, programs: Programs, fetch: Callable[[], int]
) -> list[Mended]:
    """Run each remedy once. `fetch` downloads the pinned programs to the project's folder; returns an exit code."""
    done: dict[Remedy, Mended] = {}
    for finding in findings:
        remedy = finding.remedy
        if remedy is not None and remedy not in done:
            done[remedy] = _fetched(finding, fetch) if remedy.fetch else _run(finding, remedy, rights, programs)
    return list(done.values())


def _fetched(finding: Finding, fetch: Callable[[], int]) -> Mended:
    from tasks.checks.finding import Mended

    code = fetch()
    result = "ran" if code == 0 else f"failed with code {code}"
    return Mended(check=finding.check, command="make tools", ran=True, result=result)


def _run(finding: Finding, remedy: Remedy, rights: Rights | None, programs: Programs) -> Mended:
    from tasks.checks.finding import Mended
    from tasks.process.command import Command

    if rights is None or not rights.enough:
        return Mended(check=finding.check, command=f"sudo {remedy.shown}", ran=False, result="skipped: needs root")
    argv = remedy.argv if rights.root else ("sudo", "-n", *remedy.argv)
    command = Command(argv=argv, deadline=60.0)
    try:
        programs.run(command)
    except LaunchError as error:
        return Mended(check=finding.check, command=command.paste(), ran=True, result=f"failed: {error.what}")
    return Mended(check=finding.check, command=command.paste(), ran=True, result="ran")


def _fetch(session: Session) -> int:
    """Download the pinned programs; output goes to standard error, since standard output may be a document."""
    import contextlib

    from invoke.exceptions import Exit

    from tasks.run.tools import tools

    try:
        with contextlib.redirect_stdout(sys.stderr):
            return tools(session)
    except Exit as ended:
        return ended.code
    except LaunchError as error:
        return error.status
