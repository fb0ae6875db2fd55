"""`invoke down`: remove a cluster and what was created for it, or only stop or pause its nodes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tasks import cluster, registry
from tasks.core.errors import BadInput
from tasks.run.task import task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.engine.step import Step
    from tasks.run.session import Session


@task(
    help={
        "stop": "only stop the nodes",
        "pause": "only freeze the nodes: `up` resumes them within seconds; their memory stays allocated",
        "purge": "also remove the registries and their caches",
        "yes": "with --engine existing: do not ask",
    }
)
def down(session: Session, stop: bool = False, pause: bool = False, purge: bool = False, yes: bool = False) -> int:
    """Delete this cluster and what was created for it; caches stay."""
    given = [name for name, on in (("--stop", stop), ("--pause", pause), ("--purge", purge)) if on]
    if len(given) > 1:
        raise BadInput(
            f"{' and '.join(given)} cannot be combined",
            why="a cluster is stopped, paused or removed; a cluster that stays needs its registries when it runs again",
            fix="use only one of them",
        )
    with session.locked():
        session.open_logs()
        if session.options.owns_cluster:
            _own(session, stop=stop, pause=pause, purge=purge)
        else:
            _foreign(session, yes=yes, refused="".join(given))
    if session.rehearsal is not None and not (stop or pause):
        session.rehearsal.leave()
    return 0


def _own(session: Session, *, stop: bool, pause: bool, purge: bool) -> None:
    """Remove, stop or pause this project's cluster, found by its exact label."""
    from dataclasses import replace

    from tasks.k3d import removal
    from tasks.run.gather import gather
    from tasks.run.session import bounds

    facts = gather(session, ())
    if stop or pause:
        session.run((removal.stop_steps if stop else removal.pause_steps)(facts), bounds(facts))
        return
    steps = cluster.removal_steps(facts)
    if purge:
        names = tuple(step.name for step in steps)
        steps += [replace(step, needs=(*step.needs, *names)) for step in registry.purge_steps(session, facts)]
    session.run(steps, bounds(facts))


def _foreign(session: Session, *, yes: bool, refused: str) -> None:
    """On a foreign cluster remove only what this project created, and only after confirmation."""
    if refused:
        raise BadInput(
            f"{refused} has no meaning with the engine existing",
            why="that cluster and its registries are not managed by this project",
            fix="omit it",
        )
    from tasks.run import inventory, own_steps, uninstall
    from tasks.run.gather import gather
    from tasks.run.rights import refuse_removal
    from tasks.run.session import bounds

    facts = gather(session, ("helm",), refuse=False)
    scope = inventory.read(facts)
    steps = own_steps.before_removal(facts, uninstall.steps(facts, scope))
    doing = [step for step in steps if step.skip is None]
    refuse_removal(facts, scope)
    if doing and not yes:
        _ask(session.name, doing, scope.staying)
    session.run(steps, bounds(facts), facts=facts)


def _ask(context: str, doing: Sequence[Step], staying: Mapping[str, str]) -> None:
    """Raises `BadInput` unless the user confirms."""
    from tasks.view.console import out

    out([f"This removes from the cluster of context '{context}':", *(f"  {step.name}: {step.why}" for step in doing)])
    if staying:
        out(["This stays:", *(f"  {name}: {why}" for name, why in sorted(staying.items()))])
    if not sys.stdin.isatty():
        raise BadInput(
            "no confirmation is possible here", why="standard input is not a terminal", fix="confirm with --yes"
        )
    if _answer("Type the context's name to continue: ") != context:
        raise BadInput("nothing was removed", why="the answer was not the context's name", fix="run it again")


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:  # Ctrl-D
        return ""
