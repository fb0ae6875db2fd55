"""`invoke secrets`: each secret in each of its namespaces, from environment, file or command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks import namespaces
from tasks.engine.step import Step
from tasks.run.task import run_part, task
from tasks.settings.derived import API_READY, LEAVE_OUT, NAMESPACES, SECRETS

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.run.session import Session

TASK = "secrets"


@task(query_ahead=True)
def secrets(session: Session) -> int:
    """Apply each secret to each of its namespaces."""
    return run_part(session, TASK, single_steps)


def single_steps(facts: Facts) -> list[Step]:
    """The steps of this task alone: with the missing namespaces that it needs."""
    homes = {each["metadata"]["namespace"] for each in facts.secrets}
    return [*namespaces.missing(facts, homes), *steps(facts)]


def steps(facts: Facts) -> list[Step]:
    """One apply for missing and changed secrets; a step with the reason for each one without a value."""
    from tasks.run.apply import apply_step

    left_out = [Step(name=f"{LEAVE_OUT}{name}", task=TASK, skip=why) for name, why in facts.secrets_left_out]
    if not facts.secrets and left_out:
        return left_out
    return [
        *left_out,
        apply_step(facts, SECRETS, TASK, facts.secrets, needs=(API_READY, NAMESPACES)),
    ]
