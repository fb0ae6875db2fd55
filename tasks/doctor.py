"""What stands in the way of a launch, each with the command that fixes it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tasks.core.errors import FAILED, NO_ENGINE, OK, BadInput

if TYPE_CHECKING:
    from tasks.checks.facts import HostFacts
    from tasks.facts.facts import Facts
    from tasks.run.session import Session


def doctor(session: Session, *, fix: bool, form: str) -> int:
    """Look at everything; 0: nothing would stop a launch, 1: something would, 6: no engine. Raises `BadInput`."""
    from tasks.checks.every import examine, problems
    from tasks.checks.finding import Mended, as_json, as_lines, mend
    from tasks.checks.gather import gather
    from tasks.view.console import out, width_of

    if form not in ("text", "json"):
        raise BadInput(f"--format is '{form}'", why="there are two", fix="use text or json")
    facts = gather(session)
    findings = examine(facts)
    mended: list[Mended] = []
    if fix:
        mended = mend(findings, facts.rights, session.programs(), lambda: _fetch(session))
        if any(each.ran for each in mended):
            facts = gather(session)
            findings = examine(facts)
    code = _code(facts, stops=bool(problems(findings)))
    if form == "json":
        out([as_json(findings, mended, cluster=session.name, exit_code=code)])
    else:
        out(as_lines(findings, mended, width_of(sys.stdout)))
    return code


def stop_launch(session: Session, facts: Facts) -> None:
    """Only what would stop a launch, from facts that are there or cost no process. Raises `LaunchError`."""
    from tasks.checks.every import examine, problems
    from tasks.checks.finding import Unfit
    from tasks.checks.gather import brief
    from tasks.facts.engine import engine

    host = facts.host or engine(facts.programs)
    found = problems(examine(brief(session, facts, host)))
    if found:
        raise Unfit(found)


def _code(facts: HostFacts, *, stops: bool) -> int:
    if facts.no_engine is not None:
        return NO_ENGINE
    return FAILED if stops else OK


def _fetch(session: Session) -> int:
    """Fetch the pinned programs, shown on standard error: standard output may be a document."""
    import contextlib

    from invoke.exceptions import Exit

    from tasks.core.errors import LaunchError
    from tasks.host.fetching import tools

    try:
        with contextlib.redirect_stdout(sys.stderr):
            return tools(session)
    except Exit as ended:
        return ended.code
    except LaunchError as error:
        return error.status
