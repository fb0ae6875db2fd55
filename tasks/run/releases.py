"""Releases: the values and fingerprint for Helm, ownership of a release, and fields that others have set since."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.clients import helm, kubectl
from tasks.core.documents import checked, read_text
from tasks.core.documents import documents as yaml_documents
from tasks.core.errors import BadInput
from tasks.diagnose.command import run_command
from tasks.engine.step import Report
from tasks.kube.apply import line, stream
from tasks.kube.client import ApiError
from tasks.kube.drift import conflicts, notes, yielding
from tasks.kube.objects import FIELD_MANAGER, Key, Resources, digest, fill, live
from tasks.kube.ownership import CREATED_BY, Foreign
from tasks.kube.releases import documents
from tasks.process.command import CommandFailed
from tasks.settings.derived import FINGERPRINT
from tasks.settings.needs import refuse_unknown
from tasks.settings.origin import conceal_named

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from tasks.clients.postrender import PostRenderer
    from tasks.engine.step import Context
    from tasks.facts.facts import Facts
    from tasks.kube.drift import Conflict
    from tasks.kube.releases import LiveRelease
    from tasks.process.command import Command, Completed
    from tasks.run.charts import Chart
    from tasks.settings.schema import Release

Item = Mapping[str, Any]
_SEPARATOR = re.compile(r"^(---(?:[ \t].*)?)$", re.MULTILINE)
_COMMENTS = re.compile(r"(?:[ \t]*(?:#.*)?\n)*")
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")
_OWN = (helm.MANAGER, FIELD_MANAGER)


def fingerprint(facts: Facts, release: Release, chart: Chart) -> str:
    """Identifies what a release was installed with, short enough for a label."""
    return release_fingerprint(release, chart.identity, values_of(facts, release))


def attempt_mark(facts: Facts, release: Release, context: Context) -> str:
    """Differs for each revision that this project creates: one with the label of another was created by others."""
    live = facts.installed(release)
    return f"{live.revision if live is not None else 0}-{context.attempt}"


def values_of(facts: Facts, release: Release) -> dict[str, Any]:
    """The values of a release as passed to Helm."""
    found = merged_values(release, facts.root, {})
    refuse_unknown(facts.settings, found, f"the values of release '{release.name}'")
    filled: dict[str, Any] = fill(found, facts.placeholders)
    return filled


def merged_values(release: Release, root: Path, placeholders: Mapping[str, str]) -> dict[str, Any]:
    """The values files in order, then the values of the settings, with `${IP}` and `${DOMAIN}` filled in.

    Paths are relative to `root`. Raises `BadInput` for a file that is missing or is not a mapping.
    """
    merged: dict[str, Any] = {}
    for name in release.values_files:
        merged = _merge(merged, _file(release, root, name))
    merged = _merge(merged, checked(release.values, f"helm.releases: the values of '{release.name}'"))
    filled: dict[str, Any] = fill(merged, placeholders)
    return filled


def release_fingerprint(release: Release, chart: str, values: Mapping[str, Any]) -> str:
    """16 digits that change with the chart, its values, or the target of the release. Fit for a label's value.

    `chart` identifies chart and version. Timeouts, needs and waiting do not change what is installed; the setting
    for conflicts does.
    """
    made = {"name": release.name, "namespace": release.namespace, "chart": chart, "values": values}
    if release.conflicts != "ours":
        made["conflicts"] = release.conflicts
    return digest(made)


def _file(release: Release, root: Path, name: str) -> dict[str, Any]:
    """A file's documents, merged as in Helm 4; Helm 3 uses the first (source: helm, loader.LoadValues)."""
    try:
        path = root / Path(name).expanduser()
    except RuntimeError:
        raise BadInput(
            f"cannot read {name}",
            why=f"there is no home folder of that user; it is a file of values of release '{release.name}'",
            fix="correct the path",
        ) from None
    merged: dict[str, Any] = {}
    for document in yaml_documents(read_text(path, f"a file of values of release '{release.name}'"), name):
        if not isinstance(document.value, dict):
            raise BadInput(
                f"{document.place} is a {type(document.value).__name__}, not a mapping",
                why=f"it is a file of values of release '{release.name}'",
                fix="write names and values as `name: value`",
            )
        merged = _merge(merged, document.value)
    conceal_named(merged)  # a chart may repeat it in an error
    return merged


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else is replaced, as Helm merges files (source: helm, loader.MergeMaps).

    null replaces, too, and stays: for Helm it deletes the chart's own default.
    """
    done = dict(below)
    for name, value in above.items():
        old = done.get(name)
        done[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return done


def no_longer_configured(facts: Facts) -> list[str]:
    """Releases that this project has installed in the cluster, and that the settings do not have, for display."""
    configured = {(release.namespace, release.name) for release in facts.releases}
    return [
        f"{name} in {namespace} ({uninstalling(facts, name, namespace)} removes it)"
        for (namespace, name), each in sorted(facts.live.releases.items() if facts.live is not None else ())
        if (each.fingerprint if facts.owns_cluster else each.labels.get(CREATED_BY) == facts.environment)
        and (namespace, name) not in configured
        and each.status != "uninstalled"
    ]


def uninstalling(facts: Facts, name: str, namespace: str) -> str:
    """The command for the user, with the context: the current one may be that of another cluster."""
    return f"helm uninstall {name} -n {namespace} --kube-context {shlex.quote(facts.context)}"


def is_pending(live: LiveRelease) -> bool:
    """Whether a Helm is working on it, or was killed while doing so."""
    return live.status.startswith("pending-") or live.status == "uninstalling"


def refuse_pending(facts: Facts, parts: Collection[str]) -> None:
    """Raises `Foreign` for releases that another user's Helm may be working on: clearing one would undo that work.

    In a cluster of this project its own releases are exempt: the cluster is locked, so no other run is active and
    the Helm of an earlier one is dead; a Helm on this machine was started by a person. Elsewhere this is unknown.
    """
    if facts.live is None or facts.clear_pending or "helm" not in parts:
        return
    found = {}
    for release in facts.releases:
        there = facts.installed(release)
        if there is None or not is_pending(there) or facts.namespace_ends(there.namespace):
            continue
        if not facts.owns_cluster or FINGERPRINT not in there.labels or _person_at_work(facts, release):
            found[f"release {release.name} in {release.namespace}"] = f"{there.status}, revision {there.revision}"
    if found:
        raise Foreign(
            f"{', '.join(found)}: another Helm is working on it, or has left it pending",
            why="; ".join(f"{name} is {state}" for name, state in found.items()),
            fix="wait until that Helm has ended (helm list --pending); if it is dead, --clear-pending removes a first "
            "revision and rolls back a later one. Nothing was changed",
        )


def _person_at_work(facts: Facts, release: Release) -> bool:
    from tasks.facts.host import helm_at_work  # only where one is pending

    return not facts.backend.rehearsed and helm_at_work(release.name) is not None


def clearing(facts: Facts, release: Release, live: LiveRelease) -> Command:
    """Uninstall a first revision, or a release that was being uninstalled; else roll back to the previous revision.

    A rollback would overwrite fields of other managers: to preserve them, only the record of the pending revision is
    removed, and the upgrade starts from the previous one.
    """
    kubeconfig, name, namespace = facts.paths.kubeconfig, release.name, release.namespace
    if live.revision == 1 or live.status == "uninstalling":
        return helm.uninstall(kubeconfig, name, namespace, release.timeout)
    if release.conflicts == "theirs":
        record = {"name": helm.record_name(name, live.revision), "namespace": namespace}
        return kubectl.delete(kubeconfig, line({"apiVersion": "v1", "kind": "Secret", "metadata": record}))
    forced = facts.helm_major >= 4 and live.server_side_before
    return helm.rollback(kubeconfig, name, namespace, release.timeout, force_conflicts=forced)


def rendered(facts: Facts, release: Release, chart: Chart, context: Context) -> list[Mapping[str, Any]]:
    """The objects of a release as Helm renders them without a cluster, hooks and CRDs among them."""
    match = _VERSION.search(facts.shape.image)
    command = helm.template(
        release.name,
        release.namespace,
        chart.archive(facts),
        values=line(values_of(facts, release)),
        kube_version=match[1] if match else facts.settings.cluster.kubernetes_version,
        deadline=facts.settings.timeouts.command,
    )
    return list(documents(run_command(facts.helm_programs, command, context, quiet=True).out))


def upgrade_resolving_conflicts(
    facts: Facts,
    release: Release,
    context: Context,
    before: dict[Key, Item],
    upgrade: Callable[..., Completed],
    *,
    server_side: bool,
) -> Report:
    """Upgrade the release with its setting `conflicts`. `before` holds its objects from before the first attempt."""
    if release.conflicts == "theirs":
        with without_foreign_fields(facts, release, server_side=server_side) as (renderer, left):
            try:
                done = upgrade(post_renderer=renderer)
            except CommandFailed as error:  # the next attempt sees fields set in the meantime
                error.amend(transient=error.transient or error.cause == "conflict-owner")
                raise
        return Report(exit_code=done.code, notes=left())
    before.update({**objects_before(facts, release), **before})
    done = upgrade(force_conflicts=server_side)
    manifest = helm.manifest_of(done.out) or ""
    return Report(
        exit_code=done.code,
        notes=notes_on_conflicts(facts, release, before, manifest, context, server_side=server_side),
    )


def objects_before(facts: Facts, release: Release) -> dict[Key, Item]:
    """The current objects of the installed release; only for notes, so an upgrade continues without them."""
    installed = facts.installed(release)
    if installed is None:
        return {}
    with contextlib.suppress(ApiError):
        api = facts.api()
        found = live(api, Resources(api), installed.objects)
        return {key: item for key, item in found.items() if item is not None}
    return {}


def notes_on_conflicts(
    facts: Facts,
    release: Release,
    before: Mapping[Key, Item],
    manifest: str,
    context: Context,
    *,
    server_side: bool,
) -> tuple[str, ...]:
    """Notes on fields that others owned before an upgrade, and that have the chart's values after it.

    Helm does it itself, except for custom resources with client-side apply: there it sends only differences to
    the previous revision (helm: `createPatch`). Those are applied here.
    """
    desired = {key: each for each in documents(manifest) if (key := _release_key(each, release.namespace)) in before}
    rows = [(key, conflicts(each, before[key], _OWN)) for key, each in desired.items()]
    rows = [row for row in rows if row[1]]
    if rows and not server_side:
        api = facts.api()
        there = live(api, Resources(api), [key for key, _ in rows])
        placed = [
            {**desired[key], "metadata": {**desired[key]["metadata"], **_namespace_of(item)}}
            for key, item in there.items()
            if item is not None and conflicts(desired[key], item, _OWN)
        ]
        if placed:
            deadline = facts.settings.timeouts.command
            command = kubectl.apply(facts.paths.kubeconfig, stream(placed), manager=FIELD_MANAGER, deadline=deadline)
            run_command(facts.programs, command, context, quiet=True)
    return notes(f"release {release.name}", [(before[key], found) for key, found in rows], "set to the chart's value")


@contextlib.contextmanager
def without_foreign_fields(
    facts: Facts, release: Release, *, server_side: bool
) -> Iterator[tuple[PostRenderer, Callable[[], tuple[str, ...]]]]:
    """A post-renderer that removes fields of other managers from the release, and a function with notes on them.

    With server-side apply those fields are omitted: only their managers own them then. With client-side apply they are
    sent with their live values, because a field that only the previous revision had would be deleted.
    """
    from tasks.clients.postrender import post_renderer

    found: list[tuple[Item, list[Conflict]]] = []

    def edit(text: str) -> str:
        api = facts.api()
        keys = [_release_key(each, release.namespace) for each in documents(text)]
        there = live(api, Resources(api), keys)

        def change(desired: Item) -> Item | None:
            key = _release_key(desired, release.namespace)
            item = there.get(key)
            if item is None or helm.HOOK in ((desired.get("metadata") or {}).get("annotations") or {}):
                return None
            held = conflicts(desired, item, _OWN)
            found.append((item, held))
            return yielding(desired, held, omit=server_side) if held else None

        found.clear()
        return edited(text, change)

    plugins = helm.plugin_folders(facts.helm_programs.env)
    with post_renderer(edit, facts.helm_major, plugins) as renderer:
        yield renderer, lambda: notes(f"release {release.name}", found, "left as it is (conflicts: theirs)")


def edited(manifest: str, change: Callable[[Item], Item | None]) -> str:
    """The manifest with each object as returned by `change`; None leaves the text unchanged."""
    return "".join(
        part if number % 2 else _edited(part, change) for number, part in enumerate(_SEPARATOR.split(manifest))
    )


def _edited(text: str, change: Callable[[Item], Item | None]) -> str:
    found = documents(text)
    made = [change(each) for each in found]
    if all(each is None for each in made):
        return text
    comments = _COMMENTS.match(text)
    rows = [old if new is None else new for old, new in zip(found, made, strict=True)]
    body = "\n---\n".join(json.dumps(each) for each in rows)  # a list becomes its objects, as in Helm
    return f"{comments[0] if comments else ''}{body}\n"


def _namespace_of(item: Item) -> dict[str, str]:
    """As part of metadata; empty for an object without a namespace."""
    return {name: value for name, value in item["metadata"].items() if name == "namespace"}


def _release_key(item: Item, namespace: str) -> Key:
    """The key of an object of a release; the default namespace is the release's."""
    metadata = item.get("metadata") or {}
    return Key(
        str(item.get("apiVersion", "")),
        str(item.get("kind", "")),
        str(metadata.get("namespace") or namespace),
        str(metadata.get("name", "")),
    )
