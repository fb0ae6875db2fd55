"""Releases in a foreign cluster: none of others is upgraded, and none of their objects is changed or removed by Helm.

Helm identifies a release by its name and namespace, and the objects of a release by theirs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tasks.clients import helm
from tasks.diagnose.command import run_command
from tasks.engine.step import Context
from tasks.facts.facts import Facts
from tasks.kube.objects import Key, Resources, display, key, live
from tasks.kube.ownership import CREATED_BY, RELEASE_NAME, installed_by, owner_of, refused, taken
from tasks.kube.releases import LiveRelease, documents, present, release_in
from tasks.process.command import Command, CommandFailed
from tasks.run.charts import Chart
from tasks.run.desired import is_foreign
from tasks.run.releases import is_pending, rendered
from tasks.settings.schema import Release

Item = Mapping[str, Any]


def install_or_upgrade(facts: Facts, release: Release) -> dict[str, Any]:
    """Arguments of `helm.upgrade`: install what is absent, upgrade only what this project installed.

    `helm install` fails if the release was created in the meantime. Raises `Foreign`.
    """
    if facts.owns_cluster:
        return {}
    there = release_in(facts.api(), release.namespace, release.name)
    if there is None:
        return {"verb": "install", "labels": {CREATED_BY: facts.environment}}
    if there.labels.get(CREATED_BY) != facts.environment or is_pending(there):
        raise refused(_where(facts), {f"{release.namespace}/release/{release.name}": installed_by(there)})
    if there.status == "uninstalled":  # with --keep-history: `upgrade` has nothing to start from
        return {"verb": "install --replace", "labels": {CREATED_BY: facts.environment}}
    refuse_taken(facts, there)
    return {"verb": "upgrade"}


def still_as(facts: Facts, release: LiveRelease) -> bool:
    """Whether a pending release is in the same state as when the facts were read. Raises `Foreign`."""
    now = release_in(facts.api(), release.namespace, release.name)
    if now is None or (now.status, now.revision) != (release.status, release.revision):
        return False
    refuse_taken(facts, now)
    return True


def refuse_taken(facts: Facts, there: LiveRelease) -> None:
    """Raises `Foreign` for objects of a release that are others' by now: Helm would change or remove them."""
    others = [each for each in present(facts.api(), there).values() if taken(each, there.name, there.namespace)]
    if others:
        raise refused(_where(facts), {display(each): owner_of(each) for each in others})


def refuse_existing(facts: Facts, release: Release, chart: Chart, command: Command, context: Context) -> None:
    """Raises `Foreign` with the owners of objects that Helm would delete, or take over.

    Helm deletes an object with the name of a hook, whoever created it (Helm: `before-hook-creation`); those of the
    release's own hooks are left to it. It takes over objects with the annotations of a release of this name, of which
    there is no record here: another tool may store its records elsewhere (Flux: `storageNamespace`; HELM_DRIVER).
    """
    own = release_in(facts.api(), release.namespace, release.name)
    hooks, parts = _rendered(facts, release, chart, command, context)
    wanted = {each for each in hooks if own is None or each not in own.hook_objects}
    if own is None and is_foreign(facts, release.namespace):
        wanted |= parts
    api, found = facts.api(), dict[str, str]()
    for each, item in live(api, Resources(api), wanted).items():
        if item is not None and (each in hooks or _is_of_release(item)):
            found[display(item)] = owner_of(item)
    if found:
        raise refused(_where(facts), found)


def _rendered(
    facts: Facts, release: Release, chart: Chart, command: Command, context: Context
) -> tuple[set[Key], set[Key]]:
    """The hooks of a chart, without tests, and its other objects."""
    try:
        trial = replace(command, argv=(*command.argv, "--dry-run=server"))
        done = run_command(facts.helm_programs, trial, context, quiet=True)
        hooks = [item for text in helm.hooks_of(done.out) for item in documents(text)]
        parts = documents(helm.manifest_of(done.out) or "")
    except CommandFailed as error:
        if error.cause != "kind-missing":
            raise
        items = rendered(facts, release, chart, context)  # its own crds/ may bring the kind
        hooks, parts = helm.hooks_among(items), [dict(each) for each in items]
    return _keys(hooks, release), _keys(parts, release)


def _keys(items: Iterable[Item], release: Release) -> set[Key]:
    """Their keys; those with generateName have none."""
    placed = (
        {**item, "metadata": {"namespace": release.namespace, **item["metadata"]}}
        for item in items
        if (item.get("metadata") or {}).get("name")
    )
    return {key(item) for item in placed}


def _is_of_release(item: Item) -> bool:
    """Whether it is in a namespace, and of a release; without what a chart keeps when it is uninstalled.

    Objects of the whole cluster stay when a release's namespace is deleted: they may be taken over then.
    """
    notes = item["metadata"].get("annotations") or {}
    return bool(item["metadata"].get("namespace")) and RELEASE_NAME in notes and notes.get(helm.KEEP) != "keep"


def _where(facts: Facts) -> str:
    return f"the cluster of context '{facts.cluster.name}'"
