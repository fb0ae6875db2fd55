"""`invoke cluster`: the k3d cluster, with the images and registries that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks import health, prepull
from tasks.engine.graph import fitted
from tasks.run.task import task
from tasks.settings.derived import CREATE_CLUSTER, NEEDS_CLUSTER, START_CLUSTER, pull_name

if TYPE_CHECKING:
    from tasks.engine.step import Step
    from tasks.facts.facts import Facts
    from tasks.k3d.ports import Choosers
    from tasks.run.session import Session


@task(
    "profile",
    "set",
    "engine",
    "keep_going",
    "wait_lock",
    help={"recreate": "recreate it if k3d cannot change it in place"},
    query_ahead=True,
)
def cluster(session: Session, recreate: bool = False) -> int:
    """Create or start the k3d cluster, with the images and registries that it needs."""
    from tasks.run.provision import bring_up

    return bring_up(
        session, ("prepull", "registry", "cluster"), steps, start_steps, remove=removal_steps if recreate else None
    )


def removal_steps(facts: Facts) -> list[Step]:
    """The steps that remove the cluster and everything created for it, after the user's own steps with `when: down`."""
    from tasks.k3d import removal
    from tasks.run.own_steps import before_removal

    return before_removal(facts, removal.steps(facts, removal.remains(facts)))


def steps(facts: Facts, choosers: Choosers, *, started: bool = False) -> list[Step]:
    """Its images, registries and nodes; then the closing steps, after everything that uses it."""
    found = creation_steps(facts, choosers, started=started)
    return fitted([*found, *closing_steps(facts, found)])


def creation_steps(facts: Facts, choosers: Choosers, *, started: bool = False) -> list[Step]:
    """Images and registries, then the nodes: created, started, or changed as far as k3d can do it in place."""
    from tasks.k3d.steps import cluster_steps
    from tasks.run import images, registries

    found: list[Step] = []
    if not started:
        through = images.sources(facts) if facts.bundle is None else {}
        found += prepull.steps(facts, needed=_needed_images(facts), caches=through)
        found += registries.steps(facts, choosers.free_port, required=False)
        if facts.bundle is not None:
            from tasks.run.bundle_load import fill_steps

            found += fill_steps(facts)
    # k3d needs node, tools and proxy images and connects the registries: not images that only prepull names
    only = {pull_name(image) for image in prepull.only_listed(facts)}
    before = tuple(step.name for step in found if step.name not in only)
    return [*found, *cluster_steps(facts, before, choosers.next_ports)]


def closing_steps(facts: Facts, steps: Sequence[Step]) -> list[Step]:
    """Limits of the nodes and the user's kubeconfig, after all other steps; a guard over the nodes meanwhile."""
    from tasks.k3d import kubeconfig
    from tasks.k3d.steps import WATCH, limit_steps, watch_step

    def names(found: Sequence[Step]) -> tuple[str, ...]:
        return tuple(step.name for step in found if step.task in {"cluster", *NEEDS_CLUSTER} and step.skip is None)

    closing = limit_steps(facts, names(steps))
    closing += kubeconfig.steps(facts, tuple(step.name for step in (*steps, *closing) if step.skip is None))
    everything = [*steps, *closing]
    guarded = names(everything)
    if guarded and all(step.name != WATCH for step in everything):  # a plan without work needs no guard
        create = next((step for step in everything if step.name in (CREATE_CLUSTER, START_CLUSTER)), None)
        closing.append(watch_step(facts, guarded, create.needs if create is not None else ()))
    return closing


def start_steps(facts: Facts, choosers: Choosers) -> list[Step]:
    """The nodes of a stopped cluster, until they report ready; the closing steps are left to the plan that follows."""
    from dataclasses import replace

    from tasks.k3d import kubeconfig

    later = (kubeconfig.SWITCH, *(f"cluster: limits of {role}s" for role in ("server", "agent")))
    last = health.reporting(facts)
    found = [step for step in steps(facts, choosers) if step.name not in later]
    guarded = [(*(name for name in step.until if name not in later), last.name) if step.until else () for step in found]
    return [*(replace(step, until=until) for step, until in zip(found, guarded, strict=True)), last]


def _needed_images(facts: Facts) -> frozenset[str]:
    """Images that this plan will actually need."""
    from tasks.run import registries

    settings = facts.settings
    needed = set(settings.images)
    if registries.missing(facts):
        needed.add(settings.registries.image)
    grows = facts.shape.agents > len(facts.cluster.of("agent"))
    if grows or facts.cluster.presence.to_create:
        needed |= {image for image in facts.images if image != settings.registries.image}
    return frozenset(needed)
