"""The launch as one graph, and any part of it as a smaller one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from tasks import health, helm, manifests, namespaces, prepull, secrets
from tasks.engine.graph import reduced
from tasks.engine.step import Bounds, Step
from tasks.facts.cluster import Presence
from tasks.facts.facts import Situation
from tasks.k3d import kubeconfig
from tasks.k3d import steps as cluster
from tasks.k3d.create import NextPorts
from tasks.run import images, pulls, registries

PARTS = ("prepull", "registry", "cluster", "namespaces", "secrets", "manifests", "helm", "health")
NEEDS_CLUSTER = frozenset({"namespaces", "secrets", "manifests", "helm", "health"})
"""Parts that work in a cluster that is there, and never make one."""


@dataclass(frozen=True, kw_only=True)
class Choosers:
    """How ports are chosen: facts of this machine, handed in so that plans stay pure."""

    next_ports: NextPorts
    free_port: Callable[[int | None], int]


def launch(situation: Situation, parts: Collection[str], choosers: Choosers) -> list[Step]:
    """The steps of these parts; a need that is not in the plan is met already."""
    steps: list[Step] = []
    making = situation.standing.presence in (Presence.ABSENT, Presence.INCOMPLETE)
    if "prepull" in parts:
        asked = None if "cluster" not in parts else _asked(situation, making=making)
        steps += prepull.steps(situation, needed=asked, caches=_caches(situation, parts))
    elif "registry" in parts and registries.missing(situation):
        image = prepull.step_name(situation.settings.registries.image)
        steps += [step for step in prepull.steps(situation) if step.name == image and step.skip is None]
    if "registry" in parts:
        steps += registries.steps(situation, choosers.free_port, required="cluster" not in parts)
    if "cluster" in parts:
        before = tuple(step.name for step in steps if step.name in _before_cluster(situation, steps))
        steps += cluster.cluster_steps(situation, before, choosers.next_ports)
    if {"cluster", "registry", "helm"} <= set(parts):
        steps += images.steps(situation)
    steps += _inside(situation, parts)
    if "cluster" in parts:
        last = tuple(step.name for step in steps if step.task in {"cluster", *NEEDS_CLUSTER} and step.skip is None)
        steps += cluster.limit_steps(situation, last)
        steps += kubeconfig.steps(situation, tuple(step.name for step in steps if step.skip is None))
        steps += _guard(situation, steps)
    if {"cluster", "registry", "helm"} <= set(parts):
        steps += pulls.steps(situation, steps)
    if {"cluster", "helm"} <= set(parts) and situation.settings.docker.tune == "auto":
        from tasks import docker_tune  # a room that most launches never enter

        return docker_tune.first(fitted([*steps, *docker_tune.steps(situation)]))
    return fitted(steps)


def _caches(situation: Situation, parts: Collection[str]) -> dict[str, tuple[str, str]]:
    """Images come through caches that run, or that the same plan starts."""
    found = images.sources(situation)
    if "registry" in parts:
        return found
    there = {name for name, each in situation.registries.items() if each.running}
    return {image: each for image, each in found.items() if each[0] in there}


def _inside(situation: Situation, parts: Collection[str]) -> list[Step]:
    steps: list[Step] = []
    if "namespaces" in parts:
        steps += namespaces.steps(situation)
    else:
        only = _homes(situation, parts)
        if only:
            steps += [step for step in namespaces.steps(situation, only) if step.skip is None]
    if "secrets" in parts:
        steps += secrets.steps(situation)
    if "manifests" in parts:
        steps += manifests.steps(situation)
    if "helm" in parts:
        steps += images.releases_remembered(situation, helm.steps(situation))
    if "health" in parts:
        put = [step for step in steps if step.task in ("manifests", "helm") and not step.wait]
        waits = health.steps(situation, put, everything=set(parts) == {"health"})
        steps += images.system_remembered(situation, waits, health.SYSTEM)
    return steps


def _homes(situation: Situation, parts: Collection[str]) -> frozenset[str]:
    """Namespaces that a single task puts things into."""
    homes: set[str] = set()
    if "secrets" in parts:
        homes |= {each["metadata"]["namespace"] for each in situation.secrets}
    if "manifests" in parts:
        homes |= {*situation.settings.namespaces, *namespaces.defined(situation)}
    if "helm" in parts:
        homes |= {release.namespace for release in situation.releases}
    return frozenset(homes)


def _asked(situation: Situation, *, making: bool) -> frozenset[str]:
    """Images that something of this launch will really ask for."""
    settings = situation.settings
    asked = set(settings.images)
    if registries.missing(situation):
        asked.add(settings.registries.image)
    grows = situation.shape.agents > len(situation.standing.of("agent"))
    if making or grows:
        asked |= {image for image in situation.images if image != settings.registries.image}
    return frozenset(asked)


def _before_cluster(situation: Situation, steps: Sequence[Step]) -> frozenset[str]:
    """k3d asks for node, tools and proxy images and connects the registries: not for images that only prepull names."""
    own = {prepull.step_name(image) for image in prepull.only_listed(situation)}
    return frozenset(step.name for step in steps if step.name not in own)


def _guard(situation: Situation, steps: Sequence[Step]) -> list[Step]:
    """Watch the nodes while anything is done with them; a plan that does nothing needs no guard."""
    names = {step.name for step in steps}
    inside = tuple(step.name for step in steps if step.task in {"cluster", *NEEDS_CLUSTER} and step.skip is None)
    if not inside or cluster.WATCH in names:
        return []
    create = next((step for step in steps if step.name in (cluster.CREATE, cluster.START)), None)
    return [cluster.watch_step(situation, inside, create.needs if create is not None else ())]


def fitted(steps: Sequence[Step]) -> list[Step]:
    """Needs that are not in this plan are dropped, and those that follow from others."""
    names = {step.name for step in steps}
    return reduced(
        [
            replace(
                step,
                needs=tuple(dict.fromkeys(need for need in step.needs if need in names and need != step.name)),
                until=tuple(name for name in step.until if name in names),
                awaits=tuple(name for name in step.awaits if name in names),
            )
            for step in steps
        ]
    )


def bounds(situation: Situation) -> Bounds:
    """The pool's bound, and the smaller ones for kinds of work."""
    pool = situation.settings.pool
    work = situation.shape.concurrency
    return Bounds(
        work=work,
        waits=pool.waits,
        kinds={
            prepull.KIND: pool.downloads,
            pulls.KIND: pool.downloads,
            helm.KIND: min(pool.helm or work, work),
        },
    )
