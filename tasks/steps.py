"""`invoke steps`: the user's own commands, each after what it needs of the others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.run.task import run_part, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.engine.step import Step
    from tasks.facts.facts import Facts
    from tasks.run.session import Session


@task(
    help={
        "only": "only the step of this name; can be given again",
        "force": "run it although its inputs are unchanged",
    },
    values={"only": "tasks.run.complete:own_steps"},
    query_ahead=True,
)
def steps(session: Session, only: Sequence[str] = [], force: bool = False) -> int:
    """Run your own commands (settings: steps): what is missing or changed, in a cluster that runs."""
    _check(session, only)
    return run_part(session, "steps", partial(single_steps, only=only, force=force))


def _check(session: Session, only: Sequence[str]) -> None:
    """Raises `BadInput` for a name that no step has."""
    from tasks.settings.origin import nearest
    from tasks.settings.references import own_steps

    names = [own.name for own in own_steps(session.settings) if own.when == "up"]
    for name in only:
        if name not in names:
            near = nearest(name, names)
            raise BadInput(
                f"there is no step '{name}'",
                why=f"the settings have {', '.join(names) or 'none'}",
                fix=f"did you mean {near}?" if near else "name one of these, or add it to `steps`",
            )


def single_steps(facts: Facts, only: Sequence[str] = (), *, force: bool = False) -> list[Step]:
    """The steps of this task alone: what they need of other tasks is there already."""
    from tasks.run import own_steps, own_tasks
    from tasks.run.own_command import refuse_unset

    found = own_steps.steps(facts, (), only=only, force=force)
    refuse_unset(facts, found)
    return found if only else own_steps.woven(facts, found, own_tasks.steps(facts), alone=True)
