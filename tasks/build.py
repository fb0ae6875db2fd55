"""`invoke build`: your own images, built and pushed to the registry that nodes pull from."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tasks import prepull
from tasks.run.task import check_names, run_part, task
from tasks.settings.derived import PUSH_REGISTRY, pull_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.engine.step import Step
    from tasks.facts.facts import Facts
    from tasks.run.session import Session

TASK = "build"


@task(
    "profile",
    "set",
    "engine",
    "keep_going",
    help={"only": "only the build of this name; can be repeated"},
    values={"only": "tasks.run.completion:builds"},
    query_ahead=True,
)
def build(session: Session, only: Sequence[str] = []) -> int:
    """Build your own images and push them: only what is new or changed."""
    names = {each.name: each.enabled for each in session.settings.builds}
    disabled = {name: "enabled=false" for name, enabled in names.items() if not enabled}
    check_names(only, [name for name in names if name not in disabled], "build", disabled)
    return run_part(session, TASK, partial(steps, only=only), lock=False, shared=True)


def steps(facts: Facts, only: Sequence[str] = ()) -> list[Step]:
    """The builds, with the push registry and its image where a push needs them."""
    from tasks.k3d.ports import choosers
    from tasks.run import builds, registries

    found = builds.steps(facts, [each for each in facts.builds if not only or each.name in only])
    if not any(PUSH_REGISTRY in step.needs for step in found if step.skip is None):
        return found
    image = pull_name(facts.settings.registries.image)
    before = [step for step in prepull.steps(facts) if step.name == image]
    before += [s for s in registries.steps(facts, choosers(facts).free_port, required=True) if s.name == PUSH_REGISTRY]
    return [*before, *found]
