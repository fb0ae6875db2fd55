"""What keeps a pod, or what makes pods, from becoming ready. No input or output: API objects in, words out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.core.errors import LaunchError
from tasks.diagnose.diagnosis import Cause, Found, clean, recognise, short

Item = Mapping[str, Any]
ENVIRONMENT = "its container takes its environment from it"
_MISSING = re.compile(r"(?P<kind>secret|configmap) \"(?P<name>[^\"]+)\" not found")
_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?P<name>\S+)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why something is not ready: what is the matter, why, and what to do."""

    cause: str
    """Id of the cause, such as "image-missing"."""
    what: str
    why: str = ""
    fix: str = ""
    image: str = ""
    """The image that cannot be pulled, where that is the matter."""
    hopeless: bool = False
    """Whether waiting is no use: it does not pass by itself."""

    def error(self) -> LaunchError:
        """The same as an error."""
        return LaunchError(self.what, why=self.why, fix=self.fix)


def from_found(found: Found, subject: str) -> Trouble:
    """A cause of the catalogue as the trouble of `subject`; what may pass is not hopeless."""
    return Trouble(
        cause=found.id, what=f"{subject}: {found.what}", why=found.why, fix=found.fix, hopeless=not found.transient
    )


def pull_trouble(subject: str, image: str, message: str) -> Trouble:
    """Why an image does not come, by what containerd said of it. What a registry refuses does not pass by itself."""
    from tasks.diagnose import images, network

    text = clean(message)
    found = recognise((*_disk(), *images.CAUSES, *network.CAUSES), text, program="node")
    what = f"{subject} cannot pull {image}"
    if found is None:
        return Trouble(
            cause="image-pull",
            what=what,
            image=image,
            why=reason(text) or "its node says no more than that it waits before it tries again",
            fix="kubectl describe of the pod shows what its node said; see that the name is right",
        )
    return Trouble(
        cause=found.id,
        what=what,
        image=image,
        why=f"{found.what} ({reason(text)})",
        fix=found.fix,
        hopeless=not found.transient,
    )


def disk_trouble(subject: str, message: str) -> Trouble | None:
    """A node without room for what it is to write; None if the message tells of something else."""
    text = clean(message)
    found = recognise(_disk(), text, program="node")
    return replace(from_found(found, subject), why=reason(text)) if found is not None else None


def _disk() -> list[Cause]:
    from tasks.diagnose import node_rules

    return [cause for cause in node_rules.CAUSES if cause.id == "disk-full"]


def missing_config(subject: str, message: str, why: str) -> Trouble | None:
    """A Secret or ConfigMap, or a key of one, that is not there; None if the message names none.

    Not hopeless: the kubelet looks again, and whoever makes it (a certificate's issuer, another release) may come.
    """
    missing = _MISSING.search(message)
    match = missing or _KEY.search(message)
    if match is None:
        return None
    kind = match["kind"].lower()
    has_not = "is not there" if missing is not None else f"has no key {match['key']}"
    return Trouble(
        cause=f"{kind}-missing",
        what=f"{subject}: the {kind} '{match['name']}' {has_not}",
        why=why,
        fix="add it to `secrets` or to the manifests, in the pod's namespace; the pod starts when it is there",
    )


def reason(text: str) -> str:
    """The end of a chain of wrapped errors, where the cause stands."""
    line = short(text, 2000)
    parts = line.split(": ")
    told = ""
    for part in reversed(parts):
        told = f"{part}: {told}" if told else part
        if len(told) > 60:
            break
    return short(told)


def part(item: Item, *names: str) -> Item:
    """A mapping within mappings; empty if there is none."""
    for name in names:
        found = item.get(name) if isinstance(item, Mapping) else None
        item = found if isinstance(found, Mapping) else {}
    return item


def rows(item: Item, name: str) -> list[Item]:
    """A list of mappings; empty if there is none."""
    found = item.get(name)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, Sequence) else []


def condition(item: Item, kind: str) -> Item:
    """A condition of an object's status; empty if it has none of that type."""
    return next((row for row in rows(part(item, "status"), "conditions") if row.get("type") == kind), {})


def subject_of(item: Item, kind: str = "pod") -> str:
    """As messages name it: its kind, namespace and name."""
    meta = part(item, "metadata")
    namespace, name = meta.get("namespace"), meta.get("name", "")
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def worst(troubles: Iterable[Trouble | None]) -> Trouble | None:
    """The most telling of them: one that is hopeless before one that may pass, else the first."""
    there = [trouble for trouble in troubles if trouble is not None]
    return next((trouble for trouble in there if trouble.hopeless), there[0] if there else None)


_MAY_PASS = frozenset({"quota-exceeded"})
"""Refusals that end when other pods do, as those of an old version while a new one comes in."""


def workload_trouble(item: Item) -> Trouble | None:
    """Why a Deployment, ReplicaSet or Job makes no pods, or has given up; None if it says nothing of it."""
    kind = str(item.get("kind") or "workload").lower()
    subject, meta = subject_of(item, kind), part(item, "metadata")
    refused = condition(item, "ReplicaFailure")
    if refused.get("status") == "True":
        return refusal(subject, str(refused.get("message") or ""))
    failed = condition(item, "Failed")
    if kind == "job" and failed.get("status") == "True":
        return Trouble(
            cause="job-failed",
            what=f"{subject} has failed",
            why=short(clean(f"{failed.get('reason', '')}: {failed.get('message', '')}")),
            fix=f"kubectl logs job/{meta.get('name')} -n {meta.get('namespace') or 'default'}",
            hopeless=True,
        )
    progress = condition(item, "Progressing")
    if progress.get("status") == "False" and progress.get("reason") == "ProgressDeadlineExceeded":
        return Trouble(
            cause="progress-deadline",
            what=f"{subject} has made no progress for too long",
            why=short(clean(str(progress.get("message") or ""))),
            fix="its pods and their events tell why; spec.progressDeadlineSeconds is the limit",
            hopeless=True,
        )
    return None


def refusal(subject: str, message: str) -> Trouble:
    """Why the API takes no pods of a controller: a quota, a security policy, a missing service account."""
    from tasks.diagnose import api

    text = clean(message)
    found = recognise(api.CAUSES, text, program="kubectl")
    if found is None:
        return Trouble(
            cause="pods-refused",
            what=f"{subject} cannot make its pods",
            why=short(text),
            fix="correct what the API names, in the manifest or in the chart's values",
        )
    trouble = from_found(found, f"{subject} cannot make its pods")
    return Trouble(
        cause=trouble.cause,
        what=trouble.what,
        why=trouble.why,
        fix=trouble.fix,
        hopeless=trouble.hopeless and trouble.cause not in _MAY_PASS,
    )
