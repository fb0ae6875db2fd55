"""Base resources, and the user's own manifests after them."""

from __future__ import annotations

from typing import Any

from tasks.applying import apply_step
from tasks.cluster.plan import READY
from tasks.engine.step import Action, Context, Report, Step
from tasks.namespaces import APPLY as NAMESPACES
from tasks.objects.base import base
from tasks.objects.stream import split
from tasks.objects.user import user_objects
from tasks.quotas import counted_step
from tasks.situation import Situation

TASK = "manifests"
BASE, QUOTAS = "manifests: base resources", "manifests: quotas are counted"
OWN_CRDS, OWN_READY, OWN = "manifests: your CRDs", "manifests: your CRDs are served", "manifests: yours"


def wanted_base(situation: Situation) -> list[dict[str, Any]]:
    """Base resources as configured; in a cluster of somebody else with the addresses that its nodes really have."""
    nodes = situation.live.node_blocks if situation.engine == "existing" and situation.live is not None else None
    return base(situation.settings, situation.root, managed=situation.settings.namespaces, nodes=nodes)


def wanted_own(situation: Situation) -> list[dict[str, Any]]:
    """The user's own."""
    cluster = situation.settings.cluster
    values = {"IP": cluster.bind_address, "DOMAIN": cluster.domain}
    return user_objects(situation.settings.manifests.files, situation.root, values)


def steps(situation: Situation) -> list[Step]:
    """Base resources in one apply; then the user's CRDs, and when they are served, the rest."""
    resources = wanted_base(situation)
    found = [apply_step(situation, BASE, TASK, resources, needs=(READY, NAMESPACES))]
    quotas = tuple(each for each in resources if each["kind"] == "ResourceQuota")
    if quotas:
        found.append(counted_step(situation, QUOTAS, quotas, needs=(BASE,), skip=found[0].skip))
    own = wanted_own(situation)
    if not own:
        return found
    crds, rest = split(own)
    needs: tuple[str, ...] = (READY, NAMESPACES)
    if crds:
        found.append(apply_step(situation, OWN_CRDS, TASK, crds, needs=(READY,)))
        found.append(
            Step(
                name=OWN_READY,
                task=TASK,
                action=_served(situation, crds),
                needs=(OWN_CRDS,),
                wait=True,
                deadline=situation.settings.timeouts.command,
                skip=found[-1].skip,
                why="what uses them is refused before",
                expected=0.5,
            )
        )
        needs = (*needs, OWN_READY)
    found.append(apply_step(situation, OWN, TASK, rest, needs=needs))
    return found


def _served(situation: Situation, crds: list[dict[str, Any]]) -> Action:
    def act(context: Context) -> Report | None:
        from tasks.tools.kuberesources import Key
        from tasks.waiting import wait_ready

        refs = [
            Key(
                kind="CustomResourceDefinition",
                api_version="apiextensions.k8s.io/v1",
                namespace=None,
                name=crd["metadata"]["name"],
            )
            for crd in crds
        ]
        wait_ready(situation.watched(), refs, context)
        return None

    return act
