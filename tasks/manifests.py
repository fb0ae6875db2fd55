"""Base resources, and the user's own manifests after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tasks import helm, namespaces
from tasks.applying import apply_step, difference
from tasks.cluster.plan import READY
from tasks.engine.step import Action, Context, Report, Step
from tasks.health import SYSTEM
from tasks.namespaces import APPLY as NAMESPACES
from tasks.objects.base import NODE_LOCAL_DNS, STORAGE, base
from tasks.objects.contain import differences
from tasks.objects.labels import Key, is_namespace, key, unmarked
from tasks.objects.stream import split
from tasks.quotas import QUOTAS, counted_step
from tasks.settings.releases import named
from tasks.situation import Situation

TASK = "manifests"
LEFT_OUT = "manifests: base resources that are left out"
BASE = "manifests: base resources"
OWN_CRDS, OWN_READY, OWN = "manifests: your CRDs", "manifests: your CRDs are served", "manifests: yours"
_MAKERS = frozenset(
    {"APIService", "CustomResourceDefinition", "DaemonSet", "Deployment", "HelmChart", "Job", "Pod", "StatefulSet"}
)
"""Kinds of objects that may bring kinds, or answer for webhooks, some time after they are applied."""


def wanted_base(situation: Situation) -> list[dict[str, Any]]:
    """Base resources as configured. The policies let in every namespace that something of the launch goes to.

    In a cluster that is not this project's they go only into namespaces that it created, and nowhere else; the policies
    name the addresses that its nodes really have.
    """
    admitted = [*namespaces.names(situation), *(release.namespace for release in situation.releases)]
    return base(
        situation.settings,
        situation.root,
        managed=[each for each in situation.settings.namespaces if not namespaces.is_foreign(situation, each)],
        admitted=admitted,
        nodes=None if situation.owns_cluster or situation.live is None else situation.live.node_blocks,
        whole_cluster=situation.owns_cluster,
    )


def _left_out(situation: Situation) -> str:
    """Base resources that are switched on, and do not go into a cluster that is not this project's."""
    if situation.owns_cluster:
        return ""
    wanted = situation.settings.manifests
    whole = [name for name, on in ((NODE_LOCAL_DNS, wanted.node_local_dns), (STORAGE, wanted.storage_class)) if on]
    foreign = [each for each in situation.settings.namespaces if namespaces.is_foreign(situation, each)]
    parts = [f"{' and '.join(whole)}: only in a cluster that this project makes"] if whole else []
    if foreign and (wanted.quota.enabled or wanted.network_policies):
        parts.append(f"policies and quotas of {', '.join(foreign)}: not created by this project")
    return "; ".join(parts)


def wanted_own(situation: Situation) -> list[dict[str, Any]]:
    """The user's own, without namespaces that a launch makes anyway: these are made as the user's files have them."""
    made = namespaces.defined(situation)
    return [each for each in situation.own_objects() if not (is_namespace(each) and each["metadata"]["name"] in made)]


def _by_needs(situation: Situation, own: Sequence[dict[str, Any]]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The user's own by the releases that their files need; those that need none first."""
    needs: dict[Key, tuple[str, ...]] = {}
    for file in situation.settings.manifests.files:
        for each in situation.own_objects([file.path]) if file.needs else ():
            needs[key(each)] = tuple(dict.fromkeys((*needs.get(key(each), ()), *file.needs)))
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {(): []}
    for each in own:
        found.setdefault(needs.get(key(each), ()), []).append(each)
    return found


def steps(situation: Situation) -> list[Step]:
    """Base resources in one apply; then the user's CRDs, and when they are served, the rest.

    What the rest needs of releases may come while it is applied: see `tasks.sending`. Files that name their `needs` are
    applied after these, each group by a step of its own.
    """
    resources = wanted_base(situation)
    found = [apply_step(situation, BASE, TASK, resources, needs=(READY, NAMESPACES))]
    quotas = tuple(each for each in resources if each["kind"] == "ResourceQuota")
    if quotas:
        found.append(counted_step(situation, QUOTAS, quotas, needs=(BASE,), skip=found[0].skip))
    left_out = _left_out(situation)
    if left_out:
        found.append(Step(name=LEFT_OUT, task=TASK, skip=left_out))
    own = [each for each in wanted_own(situation) if not is_there_as_wanted(situation, each)]
    if not own:
        return found
    groups = _by_needs(situation, own)
    crds, rest = split(groups.pop(()))
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
    brings = any(each["kind"] in _MAKERS for each in difference(situation, own).objects)
    if rest or not groups:
        found.append(_own_step(situation, OWN, rest, needs=needs, brings=brings))
    for names, objects in groups.items():
        after = [each for name in names for each in named(name, situation.releases)]
        before = (READY, NAMESPACES, *(helm.done_name(each) for each in after))
        found.append(_own_step(situation, f"{OWN} after {', '.join(names)}", objects, needs=before, brings=brings))
    return found


def is_there_as_wanted(situation: Situation, obj: dict[str, Any]) -> bool:
    """Whether it is a namespace that was there before and would not be changed: manifests often bring theirs."""
    if not is_namespace(obj) or not namespaces.is_foreign(situation, obj["metadata"]["name"]):
        return False
    there = situation.live.objects.get(key(obj)) if situation.live is not None else None
    return there is not None and not differences(unmarked(obj), there)


def _own_step(
    situation: Situation, name: str, objects: list[dict[str, Any]], *, needs: tuple[str, ...], brings: bool
) -> Step:
    """One that awaits what is being installed meanwhile."""
    step = apply_step(situation, name, TASK, objects, needs=needs, more_to_come=brings)
    names = [part for release in situation.releases for part in (helm.install_name(release), helm.ready_name(release))]
    return step if step.skip is not None else replace(step, awaits=(*names, SYSTEM), wait=True)


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
