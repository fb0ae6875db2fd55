"""What is the matter with what makes pods, read from its own conditions."""

from __future__ import annotations

from tasks.causes.cause import clean, recognise, short
from tasks.causes.trouble import Item, Trouble, condition, from_found, part, subject_of

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
    from tasks.causes import api

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
