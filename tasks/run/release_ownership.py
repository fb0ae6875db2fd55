"""Whose a release is, in a cluster that is not this project's: nothing is adopted, and nobody's work is undone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasks.clients import helm
from tasks.diagnose.command import run_command
from tasks.kube.objects import Resources, display, key, live
from tasks.kube.ownership import CREATED_BY, Foreign, owner_of, refused
from tasks.kube.releases import LiveRelease, documents, releases
from tasks.run.apply import ending

if TYPE_CHECKING:
    from tasks.engine.step import Context
    from tasks.facts.facts import Facts
    from tasks.process.command import Command
    from tasks.settings.schema import Release


def is_pending(live: LiveRelease) -> bool:
    """Whether a Helm is at work on it, or was killed at that."""
    return live.status.startswith("pending-") or live.status == "uninstalling"


def installed_by(live: LiveRelease) -> str:
    """Whose a release is, for a message."""
    other = live.labels.get(CREATED_BY)
    how = f"installed by this project for {other}" if other else "not installed by this project"
    return f"{how} ({live.status}, revision {live.revision}: see helm list)"


def refuse_pending(facts: Facts, parts: Collection[str]) -> None:
    """Raises `Foreign` for releases that somebody else's Helm may be at work on: clearing one would undo that work.

    In a cluster of this project its own releases are exempt: the cluster's lock is held, so no other run is at work and
    the Helm of an earlier one is dead. In others that cannot be known.
    """
    if facts.live is None or facts.clear_pending or "helm" not in parts:
        return
    found = {}
    for release in facts.releases:
        there = facts.live.releases.get((release.namespace, release.name))
        if there is None or not is_pending(there) or ending(facts, there.namespace):
            continue
        if not facts.owns_cluster or helm.FINGERPRINT not in there.labels:
            found[f"release {release.name} in {release.namespace}"] = f"{there.status}, revision {there.revision}"
    if found:
        raise Foreign(
            f"{', '.join(found)}: somebody's Helm is at work, or has left it pending",
            why="; ".join(f"{name} is {state}" for name, state in found.items()),
            fix="wait until that Helm has ended (helm list --pending); if it is dead, --clear-pending removes a first "
            "revision and rolls back a later one. It was not touched",
        )


def verb_for(facts: Facts, release: Release) -> dict[str, Any]:
    """Arguments of `helm.upgrade`: install what is absent, upgrade only what this project installed.

    `helm install` fails where somebody else was faster. Raises `Foreign`.
    """
    if facts.owns_cluster:
        return {}
    place = (release.namespace, release.name)
    there = releases(facts.api(), place).get(place)
    if there is None:
        return {"verb": "install", "labels": {CREATED_BY: facts.environment}}
    if there.labels.get(CREATED_BY) != facts.environment or is_pending(there):
        raise refused(_where(facts), {f"{release.namespace}/release/{release.name}": installed_by(there)})
    return {"verb": "upgrade"}


def refuse_hooks(facts: Facts, release: Release, command: Command, context: Context) -> None:
    """Helm deletes an object that stands where it puts a hook, whoever made it (Helm: `before-hook-creation`).

    For all else of a chart it checks the owner itself. Raises `Foreign` with the owners of such objects; those of the
    release's own hooks are left to Helm.
    """
    done = run_command(
        facts.helm_programs, replace(command, argv=(*command.argv, "--dry-run=server")), context, quiet=True
    )
    hooks = [item for text in helm.hooks_of(done.out) for item in documents(text)]
    for item in hooks:
        item["metadata"].setdefault("namespace", release.namespace)
    place = (release.namespace, release.name)
    own = releases(facts.api(), place).get(place) if hooks else None
    wanted = {key(item): item for item in hooks if own is None or key(item) not in own.hook_objects}
    api = facts.api()
    there = live(api, Resources(api), wanted)
    found = {display(wanted[each]): owner_of(item) for each, item in there.items() if item is not None}
    if found:
        raise refused(_where(facts), found)


def _where(facts: Facts) -> str:
    return f"the cluster of context '{facts.cluster.name}'"
