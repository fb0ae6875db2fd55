"""All namespaces at once: the configured ones, and those that releases name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from tasks.applying import apply_step
from tasks.cluster.plan import READY
from tasks.engine.step import Context, Report, Step
from tasks.objects.labels import key
from tasks.objects.namespaces import namespaces
from tasks.situation import Situation

TASK = "namespaces"
APPLY, GONE = "namespaces: apply", "namespaces: those being deleted are gone"


def names(situation: Situation) -> tuple[str, ...]:
    """Configured namespaces, then those of releases and secrets that are not among them."""
    settings = situation.settings
    more = [release.namespace for release in situation.releases]
    more += [name for secret in settings.secrets for name in secret.namespaces or ()]
    theirs = {"default", "kube-system", "kube-public", "kube-node-lease"}
    return tuple(dict.fromkeys([*settings.namespaces, *(name for name in more if name not in theirs)]))


def wanted(situation: Situation, only: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The objects; `only` those that a single task needs."""
    return namespaces([name for name in names(situation) if only is None or name in only])


def steps(situation: Situation, only: Collection[str] | None = None) -> list[Step]:
    """One server-side apply of those that are missing or changed; first what is being deleted must be gone."""
    objects = wanted(situation, only)
    apply = apply_step(situation, APPLY, TASK, objects, needs=(READY,), expected=0.3)
    going = [each["metadata"]["name"] for each in objects if _ends(situation, each)]
    if not going:
        return [apply]
    return [_gone(situation, going), replace(apply, needs=(*apply.needs, GONE))]


def _ends(situation: Situation, namespace: dict[str, Any]) -> bool:
    there = situation.live.objects.get(key(namespace)) if situation.live is not None else None
    return there is not None and bool(there["metadata"].get("deletionTimestamp"))


def _gone(situation: Situation, names: Sequence[str]) -> Step:
    """What goes into a namespace that is being deleted is refused."""

    def act(context: Context) -> Report | None:
        from tasks.tools.kubeapi import wait_until

        def look() -> bool | None:
            items = situation.api().get("/api/v1/namespaces")["items"]
            there = {item["metadata"]["name"] for item in items if item["metadata"].get("deletionTimestamp")}
            return True if there.isdisjoint(names) else None

        wait_until(look, context)
        return None

    return Step(
        name=GONE,
        task=TASK,
        action=act,
        needs=(READY,),
        wait=True,
        deadline=situation.settings.timeouts.health,
        why=f"{', '.join(names)}: what goes into them before is refused",
        expected=5.0,
    )
