"""Each secret in each of its namespaces, from environment, file or command."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from tasks.applying import apply_step
from tasks.cluster.plan import READY
from tasks.engine.step import Step
from tasks.namespaces import APPLY as NAMESPACES
from tasks.situation import Situation
from tasks.tools.program import Command

if TYPE_CHECKING:
    from tasks.session import Session

TASK = "secrets"
APPLY = "secrets: apply"


def values(session: Session, parts: Collection[str]) -> dict[str, Any]:
    """What a situation holds of secrets. Values are read only where secrets are put in. Raises `BadInput`."""
    if "secrets" not in parts:
        return {}
    from tasks.objects.secret_source import reader
    from tasks.objects.secrets import secrets

    programs = session.programs()

    def output(argv: Sequence[str]) -> bytes:
        program = str(session.root / argv[0]) if "/" in argv[0] else argv[0]
        command = Command(argv=(program, *argv[1:]), cwd=session.root, deadline=session.settings.timeouts.command)
        return programs.run(command, quiet=True).raw

    made, left_out = secrets(session.settings, session.environ, reader(session.root), output)
    return {"secrets": tuple(made), "secrets_left_out": tuple((each.name, each.why) for each in left_out)}


def steps(situation: Situation) -> list[Step]:
    """One apply for those that are missing or changed; a step that says why for each that has no value."""
    left_out = [
        Step(name=f"secrets: leave out {name}", task=TASK, skip=why) for name, why in situation.secrets_left_out
    ]
    if not situation.secrets and left_out:
        return left_out
    return [
        *left_out,
        apply_step(situation, APPLY, TASK, situation.secrets, needs=(READY, NAMESPACES), secret=True),
    ]
