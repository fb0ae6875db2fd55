"""The launch as one graph, and any part of it as a smaller one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tasks import health, helm, manifests, namespaces, prepull, secrets
from tasks.engine.graph import fitted
from tasks.engine.step import Step
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.k3d import kubeconfig
from tasks.k3d import steps as cluster
from tasks.k3d.ports import Choosers
from tasks.run import images, pulls, registries
from tasks.run.desired import user_namespaces
from tasks.settings.step_names import (
    CREATE_CLUSTER,
    NEEDS_CLUSTER,
    START_CLUSTER,
    SYSTEM_READY,
    pull_name,
)


def launch(facts: Facts, parts: Collection[str], choosers: Choosers) -> list[Step]:
    """The steps of these parts; a need that is not in the plan is met already."""
    steps: list[Step] = []
    making = facts.cluster.presence in (Presence.ABSENT, Presence.INCOMPLETE)
    if "prepull" in parts:
        asked = None if "cluster" not in parts else _asked(facts, making=making)
        steps += prepull.steps(facts, needed=asked, caches=_caches(facts, parts))
    elif "registry" in parts and registries.missing(facts):
        image = pull_name(facts.settings.registries.image)
        steps += [step for step in prepull.steps(facts) if step.name == image and step.skip is None]
    if "registry" in parts:
        steps += registries.steps(facts, choosers.free_port, required="cluster" not in parts)
    if "cluster" in parts:
        before = tuple(step.name for step in steps if step.name in _before_cluster(facts, steps))
        steps += cluster.cluster_steps(facts, before, choosers.next_ports)
    if {"cluster", "registry", "helm"} <= set(parts):
        steps += images.steps(facts)
    steps += _inside(facts, parts)
    if "cluster" in parts:
        last = tuple(step.name for step in steps if step.task in {"cluster", *NEEDS_CLUSTER} and step.skip is None)
        steps += cluster.limit_steps(facts, last)
        steps += kubeconfig.steps(facts, tuple(step.name for step in steps if step.skip is None))
        steps += _guard(facts, steps)
    if {"cluster", "registry", "helm"} <= set(parts):
        steps += pulls.steps(facts, steps)
    if {"cluster", "helm"} <= set(parts) and facts.settings.docker.tune == "auto":
        from tasks import docker_tune  # a room that most launches never enter

        return docker_tune.first(fitted([*steps, *docker_tune.steps(facts)]))
    return fitted(steps)


def _caches(facts: Facts, parts: Collection[str]) -> dict[str, tuple[str, str]]:
    """Images come through caches that run, or that the same plan starts."""
    found = images.sources(facts)
    if "registry" in parts:
        return found
    there = {name for name, each in facts.registries.items() if each.running}
    return {image: each for image, each in found.items() if each[0] in there}


def _inside(facts: Facts, parts: Collection[str]) -> list[Step]:
    steps: list[Step] = []
    if "namespaces" in parts:
        steps += namespaces.steps(facts)
    else:
        only = _homes(facts, parts)
        if only:
            steps += [step for step in namespaces.steps(facts, only) if step.skip is None]
    if "secrets" in parts:
        steps += secrets.steps(facts)
    if "manifests" in parts:
        steps += manifests.steps(facts)
    if "helm" in parts:
        steps += images.releases_remembered(facts, helm.steps(facts))
    if "health" in parts:
        put = [step for step in steps if step.task in ("manifests", "helm") and not step.wait]
        waits = health.steps(facts, put, everything=set(parts) == {"health"})
        steps += images.system_remembered(facts, waits, SYSTEM_READY)
    return steps


def _homes(facts: Facts, parts: Collection[str]) -> frozenset[str]:
    """Namespaces that a single task puts things into."""
    homes: set[str] = set()
    if "secrets" in parts:
        homes |= {each["metadata"]["namespace"] for each in facts.secrets}
    if "manifests" in parts:
        homes |= {*facts.settings.namespaces, *user_namespaces(facts)}
    if "helm" in parts:
        homes |= {release.namespace for release in facts.releases}
    return frozenset(homes)


def _asked(facts: Facts, *, making: bool) -> frozenset[str]:
    """Images that something of this launch will really ask for."""
    settings = facts.settings
    asked = set(settings.images)
    if registries.missing(facts):
        asked.add(settings.registries.image)
    grows = facts.shape.agents > len(facts.cluster.of("agent"))
    if making or grows:
        asked |= {image for image in facts.images if image != settings.registries.image}
    return frozenset(asked)


def _before_cluster(facts: Facts, steps: Sequence[Step]) -> frozenset[str]:
    """k3d asks for node, tools and proxy images and connects the registries: not for images that only prepull names."""
    own = {pull_name(image) for image in prepull.only_listed(facts)}
    return frozenset(step.name for step in steps if step.name not in own)


def _guard(facts: Facts, steps: Sequence[Step]) -> list[Step]:
    """Watch the nodes while anything is done with them; a plan that does nothing needs no guard."""
    names = {step.name for step in steps}
    inside = tuple(step.name for step in steps if step.task in {"cluster", *NEEDS_CLUSTER} and step.skip is None)
    if not inside or cluster.WATCH in names:
        return []
    create = next((step for step in steps if step.name in (CREATE_CLUSTER, START_CLUSTER)), None)
    return [cluster.watch_step(facts, inside, create.needs if create is not None else ())]
