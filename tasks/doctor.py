"""What stands in the way of a launch, each with the command that fixes it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tasks.core.errors import FAILED, NO_ENGINE, OK, BadInput, LaunchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tasks.checks.facts import HostFacts
    from tasks.checks.finding import Finding, Mended, Remedy
    from tasks.facts.facts import Facts
    from tasks.facts.host import Rights
    from tasks.host.programs import Pins
    from tasks.process.command import Programs
    from tasks.run.session import Session
    from tasks.settings.schema import Settings


def doctor(session: Session, *, fix: bool, form: str) -> int:
    """Look at everything; 0: nothing would stop a launch, 1: something would, 6: no engine. Raises `BadInput`."""
    from tasks.checks.examine import examine, problems
    from tasks.checks.finding import as_json, as_lines
    from tasks.view.console import out, width_of

    if form not in ("text", "json"):
        raise BadInput(f"--format is '{form}'", why="there are two", fix="use text or json")
    facts = _gather(session)
    findings = examine(facts)
    mended: list[Mended] = []
    if fix:
        mended = mend(findings, facts.rights, session.programs(), lambda: _fetch(session))
        if any(each.ran for each in mended):
            facts = _gather(session)
            findings = examine(facts)
    code = _code(facts, stops=bool(problems(findings)))
    if form == "json":
        out([as_json(findings, mended, cluster=session.name, exit_code=code)])
    else:
        out(as_lines(findings, mended, width_of(sys.stdout)))
    return code


def stop_launch(session: Session, facts: Facts) -> None:
    """Only what would stop a launch, from facts that are there or need no process. Raises `LaunchError`."""
    from tasks.checks.examine import examine, problems
    from tasks.checks.finding import Unfit
    from tasks.checks.gather import brief
    from tasks.facts.engine import engine
    from tasks.facts.programs import Versions

    known = session.system
    reported = Versions(k3d=known.get("k3d"), kubectl=known.get("kubectl"), helm=known.get("helm"))
    host = facts.host or engine(facts.programs)
    found = problems(examine(brief(facts, host, reported=reported, minimum=_minimum(_pins(session)))))
    if found:
        raise Unfit(found)


def _gather(session: Session) -> HostFacts:
    from tasks.checks.gather import gather, gather_existing
    from tasks.host.trust import trust

    settings: Settings = session.settings
    pins = _pins(session)
    if session.options.engine == "existing":
        return gather_existing(
            settings,
            session.environ,
            session.programs(),
            state=session.state,
            minimum=_minimum(pins),
            context=str(session.options.context),
        )
    return gather(
        settings,
        session.environ,
        session.programs(),
        state=session.state,
        owner=session.owner,
        minimum=_minimum(pins),
        k3d_version=pins.of("k3d").version,
        authorities=lambda: trust(session.environ),
        folders=_folders(session),
        online=session.rehearsal is None,
    )


def _pins(session: Session) -> Pins:
    from tasks.host.programs import read

    return read(session.root / "config" / "pins.yaml")


def _minimum(pins: Pins) -> dict[str, str | None]:
    """The oldest version of each program that this project works with."""
    return {name: pins.of(name).minimum for name in ("k3d", "kubectl", "helm")}


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
    """Run each remedy once. `fetch` puts the pinned programs into the project's folder, and returns an exit code."""
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
        return Mended(check=finding.check, command=f"sudo {remedy.shown}", ran=False, result="left to you: needs root")
    argv = remedy.argv if rights.root else ("sudo", "-n", *remedy.argv)
    command = Command(argv=argv, deadline=60.0)
    try:
        programs.run(command)
    except LaunchError as error:
        return Mended(check=finding.check, command=command.paste(), ran=True, result=f"failed: {error.what}")
    return Mended(check=finding.check, command=command.paste(), ran=True, result="ran")


def _code(facts: HostFacts, *, stops: bool) -> int:
    if facts.no_engine is not None:
        return NO_ENGINE
    return FAILED if stops else OK


def _fetch(session: Session) -> int:
    """Fetch the pinned programs, shown on standard error: standard output may be a document."""
    import contextlib

    from invoke.exceptions import Exit

    from tasks.host.fetching import tools

    try:
        with contextlib.redirect_stdout(sys.stderr):
            return tools(session)
    except Exit as ended:
        return ended.code
    except LaunchError as error:
        return error.status
