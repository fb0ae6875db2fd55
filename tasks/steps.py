"""`invoke steps`: the user's own commands, each after the steps that it needs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tasks.run.task import check_names, run_part, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.engine.step import Step
    from tasks.facts.facts import Facts
    from tasks.run.session import Session


@task(
    help={
        "only": "only the step of this name; can be repeated",
        "force": "run it even if its inputs are unchanged",
    },
    values={"only": "tasks.run.completion:own_steps"},
    query_ahead=True,
)
def steps(session: Session, only: Sequence[str] = [], force: bool = False) -> int:
    """Run your own commands (settings: steps): what is missing or changed, in a running cluster."""
    names, excluded = list[str](), dict[str, str]()
    for own in session.settings.steps:
        if own.enabled and own.when == "up":
            names.append(own.name)
        else:
            excluded[own.name] = "enabled=false" if not own.enabled else "when=down"
    check_names(only, names, "step", excluded)
    return run_part(session, "steps", partial(single_steps, only=only, force=force))


def single_steps(facts: Facts, only: Sequence[str] = (), *, force: bool = False) -> list[Step]:
    """The steps of this task alone: their needs from other tasks must be met already."""
    from tasks.run import own_steps, own_tasks
    from tasks.run.own_command import refuse_unset

    found = own_steps.steps(facts, (), only=only, force=force)
    refuse_unset(facts, found)
    return found if only else own_steps.woven(facts, found, own_tasks.steps(facts), alone=True)
