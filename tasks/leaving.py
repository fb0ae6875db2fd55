"""Leaving a cluster of somebody else: what carries this project's label goes, and nothing that others put beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.acting import running
from tasks.engine.step import Step
from tasks.objects.labels import FIELD_MANAGER, MANAGED_BY
from tasks.objects.stream import stream
from tasks.removal import TASK
from tasks.settings.tree import Settings
from tasks.situation import Situation
from tasks.tools import helm, kubectl
from tasks.tools.kubeapi import Patient
from tasks.tools.kuberesources import Key, Resources, live

OBJECTS = "down: objects with our label"
_TIMEOUT = 300.0
_MAKERS = (
    ("apps/v1", "deployments", "Deployment"),
    ("apps/v1", "statefulsets", "StatefulSet"),
    ("apps/v1", "daemonsets", "DaemonSet"),
    ("batch/v1", "cronjobs", "CronJob"),
    ("batch/v1", "jobs", "Job"),
    ("v1", "pods", "Pod"),
)
"""What runs in a namespace, and who makes it: by these it is seen whether others use it."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """What is there of this project, and of others in its namespaces."""

    ours: tuple[Key, ...] = ()
    guests: Mapping[str, str] = field(default_factory=dict)
    """By namespace of ours: what others run in it."""


def look(situation: Situation) -> Left:
    """Ask the cluster. Values of secrets are not read: their names are known from the settings."""
    assert situation.live is not None
    api = Patient(situation.api())
    secrets = live(api, Resources(api), secret_keys(situation.settings))
    ours = tuple(
        key for key, found in {**situation.live.objects, **secrets}.items() if found is not None and _ours(found)
    )
    mine = frozenset(key.name for key in ours if key.kind == "Namespace")
    running: list[tuple[str, Mapping[str, Any]]] = []
    if mine:
        for api_version, plural, kind in _MAKERS:
            root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            running += [(kind, item) for item in api.get(f"{root}/{plural}")["items"] or ()]
    return Left(ours=ours, guests=guests(situation, mine, running))


def secret_keys(settings: Settings) -> list[Key]:
    """Keys of all configured secrets."""
    return [
        Key("v1", "Secret", namespace, secret.name)
        for secret in settings.secrets
        for namespace in (settings.namespaces if secret.namespaces is None else secret.namespaces)
    ]


def guests(
    situation: Situation, namespaces: frozenset[str], running: Iterable[tuple[str, Mapping[str, Any]]]
) -> dict[str, str]:
    """What runs in these namespaces that neither carries our label nor belongs to a release of ours."""
    assert situation.live is not None
    found: dict[str, list[str]] = {}
    own: set[tuple[str, str | None, str]] = set()
    for (namespace, name), release in situation.live.releases.items():
        if helm.FINGERPRINT in release.labels:
            own |= {(key.kind, key.namespace, key.name) for key in release.objects}
        elif namespace in namespaces:
            found.setdefault(namespace, []).append(f"release {name}")
    for kind, item in running:
        meta = item["metadata"]
        if meta["namespace"] not in namespaces or meta.get("ownerReferences") or _ours(item):
            continue
        if (kind, meta["namespace"], meta["name"]) not in own:
            found.setdefault(meta["namespace"], []).append(f"{kind.lower()} {meta['name']}")
    return {
        namespace: ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for namespace, names in found.items()
    }


def _ours(item: Mapping[str, Any]) -> bool:
    return (item["metadata"].get("labels") or {}).get(MANAGED_BY) == FIELD_MANAGER


def steps(situation: Situation, left: Left) -> list[Step]:
    """Releases of this project first, then objects with its label; a namespace that others use stays."""
    assert situation.live is not None
    found = []
    for (namespace, name), release in sorted(situation.live.releases.items()):
        if helm.FINGERPRINT not in release.labels:
            continue
        command = helm.uninstall(situation.folders.kubeconfig, name, namespace, _TIMEOUT)
        found.append(
            Step(
                name=f"down: release {namespace}/{name}",
                task=TASK,
                kind="helm",
                action=running(situation.helm_programs, command),
                deadline=_TIMEOUT + 15,
                why=f"it carries {helm.FINGERPRINT}",
            )
        )
    going = [key for key in left.ours if not (key.kind == "Namespace" and key.name in left.guests)]
    objects = [{"apiVersion": key.api_version, "kind": key.kind, "metadata": _place(key)} for key in going]
    found.append(
        Step(
            name=OBJECTS,
            task=TASK,
            action=running(situation.programs, kubectl.delete(situation.folders.kubeconfig, stream(objects))),
            needs=tuple(step.name for step in found),
            skip=None if going else "there are none",
            why=f"{len(going)} with {MANAGED_BY}={FIELD_MANAGER}: {_counted(going)}",
            deadline=150.0,
        )
    )
    found += [
        Step(name=f"down: namespace {name}", task=TASK, skip=f"others use it: {what}")
        for name, what in sorted(left.guests.items())
    ]
    return found


def _counted(keys: Iterable[Key]) -> str:
    """Namespaces by name, since all that is in them goes too; of the rest, how many of each kind."""
    names = sorted(key.name for key in keys if key.kind == "Namespace")
    kinds = [key.kind for key in keys if key.kind != "Namespace"]
    told = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    return ", ".join([*([f"the namespaces {', '.join(names)} with all that is in them"] if names else []), *told])


def _place(key: Key) -> dict[str, str]:
    return {"name": key.name, **({"namespace": key.namespace} if key.namespace else {})}
