"""Fields of a release that something else has set since: who held which, and a release that leaves them alone."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tasks.clients import helm, kubectl
from tasks.diagnose.command import run_command
from tasks.engine.step import Context, Report
from tasks.kube.apply import stream
from tasks.kube.client import ApiError
from tasks.kube.drift import Conflict, conflicts, notes, yielding
from tasks.kube.objects import Key, Resources, live
from tasks.kube.releases import documents
from tasks.process.command import CommandFailed, Completed

if TYPE_CHECKING:
    from tasks.clients.postrender import PostRenderer
    from tasks.facts.facts import Facts
    from tasks.settings.schema import Release

Item = Mapping[str, Any]
_SEPARATOR = re.compile(r"^(---(?:[ \t].*)?)$", re.MULTILINE)
_COMMENTS = re.compile(r"(?:[ \t]*(?:#.*)?\n)*")
_OWN = (helm.MANAGER, kubectl.FIELD_MANAGER)
_HOOK = "helm.sh/hook"


def resolved(
    facts: Facts,
    release: Release,
    context: Context,
    before: dict[Key, Item],
    upgrade: Callable[..., Completed],
    *,
    server_side: bool,
) -> Report:
    """Upgrade the release as its `conflicts` has it. `before` keeps its objects as they were at the first attempt."""
    if release.conflicts == "theirs":
        with leaving_theirs(facts, release, server_side=server_side) as (renderer, left):
            try:
                done = upgrade(post_renderer=renderer)
            except CommandFailed as error:  # a field that was set since the look is seen by the next one
                error.amend(transient=error.transient or error.cause == "conflict-owner")
                raise
        return Report(exit_code=done.code, notes=left())
    before.update({**objects_before(facts, release), **before})
    done = upgrade(force_conflicts=server_side)
    manifest = helm.manifest_of(done.out) or ""
    return Report(
        exit_code=done.code, notes=take_over(facts, release, before, manifest, context, server_side=server_side)
    )


def objects_before(facts: Facts, release: Release) -> dict[Key, Item]:
    """The objects of the release that is there, as they are now; for notes, without which an upgrade goes on."""
    installed = None if facts.live is None else facts.live.releases.get((release.namespace, release.name))
    if installed is None:
        return {}
    with contextlib.suppress(ApiError):
        api = facts.api()
        found = live(api, Resources(api), installed.objects)
        return {key: item for key, item in found.items() if item is not None}
    return {}


def take_over(
    facts: Facts,
    release: Release,
    before: Mapping[Key, Item],
    manifest: str,
    context: Context,
    *,
    server_side: bool,
) -> tuple[str, ...]:
    """Notes of fields that others held before an upgrade, and that have the chart's values after it.

    Helm does it itself, but for custom resources that it applies by the client: there it sends only what differs from
    the revision before (helm: `createPatch`). Those are applied here.
    """
    desired = {key: each for each in documents(manifest) if (key := _key(each, release.namespace)) in before}
    rows = [(key, conflicts(each, before[key], _OWN)) for key, each in desired.items()]
    rows = [row for row in rows if row[1]]
    if rows and not server_side:
        api = facts.api()
        there = live(api, Resources(api), [key for key, _ in rows])
        placed = [
            {**desired[key], "metadata": {**desired[key]["metadata"], **_namespace(item)}}
            for key, item in there.items()
            if item is not None and conflicts(desired[key], item, _OWN)
        ]
        if placed:
            deadline = facts.settings.timeouts.command
            command = kubectl.apply(facts.paths.kubeconfig, stream(placed), deadline=deadline)
            run_command(facts.programs, command, context, quiet=True)
    return notes(f"release {release.name}", [(before[key], found) for key, found in rows], "set to the chart's value")


@contextlib.contextmanager
def leaving_theirs(
    facts: Facts, release: Release, *, server_side: bool
) -> Iterator[tuple[PostRenderer, Callable[[], tuple[str, ...]]]]:
    """A post-renderer that takes out of the release what others hold, and afterwards the notes of it.

    With server-side apply those fields are left out: nobody but their managers holds them then. By the client they are
    sent as they are, because a field that the revision before had and this one has not would be deleted.
    """
    from tasks.clients.postrender import post_renderer

    found: list[tuple[Item, list[Conflict]]] = []

    def edit(text: str) -> str:
        api = facts.api()
        keys = [_key(each, release.namespace) for each in documents(text)]
        there = live(api, Resources(api), keys)

        def change(desired: Item) -> Item | None:
            key = _key(desired, release.namespace)
            item = there.get(key)
            if item is None or _HOOK in ((desired.get("metadata") or {}).get("annotations") or {}):
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
    """The manifest with each object as `change` returns it; where that is None, the text stays as it is."""
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
    body = "\n---\n".join(json.dumps(each) for each in rows)  # a list becomes its objects: Helm takes it apart anyway
    return f"{comments[0] if comments else ''}{body}\n"


def _namespace(item: Item) -> dict[str, str]:
    """As part of metadata; an object without one must not be given one."""
    return {name: value for name, value in item["metadata"].items() if name == "namespace"}


def _key(item: Item, namespace: str) -> Key:
    metadata = item.get("metadata") or {}
    return Key(
        str(item.get("apiVersion", "")),
        str(item.get("kind", "")),
        str(metadata.get("namespace") or namespace),
        str(metadata.get("name", "")),
    )
