"""`invoke build`: your own images, built and pushed to where nodes pull them from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks import prepull
from tasks.run.task import run_part, task
from tasks.settings.step_names import PUSH_REGISTRY, pull_name

if TYPE_CHECKING:
    from tasks.engine.step import Step
    from tasks.facts.facts import Facts
    from tasks.run.session import Session

TASK = "build"


@task("profile", "set", "engine", "keep_going", query_ahead=True)
def build(session: Session) -> int:
    """Build your own images and push them: only what is new or changed."""
    return run_part(session, TASK, steps, lock=False, shared=True)


def steps(facts: Facts) -> list[Step]:
    """The builds, with the push registry and its image where a push needs them."""
    from tasks.k3d.ports import choosers
    from tasks.run import builds, registries

    found = builds.steps(facts)
    if not any(PUSH_REGISTRY in step.needs for step in found if step.skip is None):
        return found
    image = pull_name(facts.settings.registries.image)
    before = [step for step in prepull.steps(facts) if step.name == image]
    before += [s for s in registries.steps(facts, choosers(facts).free_port, required=True) if s.name == PUSH_REGISTRY]
    return [*before, *found]
