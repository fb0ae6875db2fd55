"""Remove a cluster and what was made for it, or only stop it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tasks.core.errors import BadInput
from tasks.engine.step import Step
from tasks.facts.facts import Facts
from tasks.facts.gather import survey
from tasks.k3d import removal
from tasks.run.session import Session, bounds


def down(session: Session, *, stop: bool, purge: bool, yes: bool) -> int:
    """Find it by exact label; the registries stay unless `purge`."""
    if stop and purge:
        raise BadInput(
            "--stop and --purge are asked for together",
            why="a cluster that is only stopped needs its registries when it is started again",
            fix="leave one of them out",
        )
    with session.locked():
        session.open_logs()
        if not session.options.owns_cluster:
            return _existing(session, yes=yes, refused="--stop" if stop else "--purge" if purge else "")
        facts = survey(session, ())
        if stop:
            session.run(removal.stop_steps(facts), bounds(facts), facts=None)
            return 0
        found = removal.remains(facts)
        steps = removal.steps(facts, found)
        if purge:
            steps = [*steps, *_purge(session, facts, tuple(step.name for step in steps))]
        session.run(steps, bounds(facts), facts=None)
    if session.rehearsal is not None:
        session.rehearsal.leave()
    return 0


def _purge(session: Session, facts: Facts, needs: tuple[str, ...]) -> list[Step]:
    from tasks.registry import purge_steps

    return [replace(step, needs=(*step.needs, *needs)) for step in purge_steps(session, facts)]


def _existing(session: Session, *, yes: bool, refused: str) -> int:
    """On a cluster that is not this project's only what it created goes, and only when that is confirmed."""
    if refused:
        raise BadInput(
            f"{refused} has no meaning with the engine existing",
            why="that cluster and its registries are not this project's",
            fix="leave it out",
        )
    from tasks.run import leaving, uninstall
    from tasks.run.existing import existing

    facts = existing(session, ("helm",))
    left = leaving.look(facts)
    steps = uninstall.steps(facts, left)
    doing = [step for step in steps if step.skip is None]
    if doing and not yes:
        _ask(session.name, doing, left.staying)
    session.run(steps, bounds(facts), facts=facts)
    return 0


def _ask(context: str, doing: Sequence[Step], staying: Mapping[str, str]) -> None:
    """Raises `BadInput` unless a person says yes."""
    from tasks.view.console import out

    out([f"This removes from the cluster of context '{context}':", *(f"  {step.name}: {step.why}" for step in doing)])
    if staying:
        out(["This stays:", *(f"  {name}: {why}" for name, why in sorted(staying.items()))])
    if not sys.stdin.isatty():
        raise BadInput(
            "nobody can be asked here", why="there is no terminal on standard input", fix="say it beforehand with --yes"
        )
    if _answer("Type the context's name to go on: ") != context:
        raise BadInput("nothing was removed", why="the answer was not the context's name", fix="run it again")


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:  # Ctrl-D
        return ""
