"""Each secret in each of its namespaces, from environment, file or command."""

from __future__ import annotations

from tasks.engine.step import Step
from tasks.facts.facts import Facts
from tasks.run.apply import apply_step
from tasks.settings.step_names import API_READY, NAMESPACES, SECRETS

TASK = "secrets"


def steps(facts: Facts) -> list[Step]:
    """One apply for those that are missing or changed; a step that says why for each that has no value."""
    left_out = [Step(name=f"secrets: leave out {name}", task=TASK, skip=why) for name, why in facts.secrets_left_out]
    if not facts.secrets and left_out:
        return left_out
    return [
        *left_out,
        apply_step(facts, SECRETS, TASK, facts.secrets, needs=(API_READY, NAMESPACES), secret=True),
    ]
