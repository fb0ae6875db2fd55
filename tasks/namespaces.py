"""All namespaces at once: the configured ones, and those that releases name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tasks.applying import apply_step
from tasks.cluster.plan import READY
from tasks.engine.step import Step
from tasks.objects.namespaces import namespaces
from tasks.situation import Situation

TASK = "namespaces"
APPLY = "namespaces: apply"


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
    """One server-side apply of those that are missing or changed."""
    return [apply_step(situation, APPLY, TASK, wanted(situation, only), needs=(READY,), expected=0.3)]
