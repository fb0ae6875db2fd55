"""Each secret in each of its namespaces, from environment, file or command."""

from __future__ import annotations

from tasks.applying import apply_step
from tasks.cluster.plan import READY
from tasks.engine.step import Step
from tasks.namespaces import APPLY as NAMESPACES
from tasks.situation import Situation

TASK = "secrets"
APPLY = "secrets: apply"


def steps(situation: Situation) -> list[Step]:
    """One apply for those that are missing or changed; a step that says why for each that has no value."""
    left_out = [Step(name=f"secrets: {name}", task=TASK, skip=why) for name, why in situation.secrets_left_out]
    if not situation.secrets and left_out:
        return left_out
    return [
        *left_out,
        apply_step(situation, APPLY, TASK, situation.secrets, needs=(READY, NAMESPACES), secret=True),
    ]
