"""What applying objects, and installing releases, would change. Read-only.

An object is compared with the result of a server-side dry run, so defaults, normalisation and
merges are no difference. A release is rendered as for installation, and its objects are compared in the same way.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.clients import helm, kubectl
from tasks.core.errors import LaunchError
from tasks.diagnose.command import run_command
from tasks.engine.step import Context
from tasks.facts.facts import Facts, concurrently
from tasks.kube.apply import line, preview
from tasks.kube.changes import CHANGE, CREATE, DELETE, Change, field_changes
from tasks.kube.client import ApiError, Direct
from tasks.kube.concealing import conceal_secrets, conceal_values
from tasks.kube.drift import conflicts, differences, yielding
from tasks.kube.objects import FIELD_MANAGER, Key, Resources, display, key, live
from tasks.kube.ownership import RELEASE_NAME, RELEASE_NAMESPACE
from tasks.kube.releases import LiveRelease, documents
from tasks.process.command import CommandFailed
from tasks.run.charts import Chart
from tasks.run.releases import fingerprint, merged_values, rendered, values_of
from tasks.run.session import Session
from tasks.settings.rules import releases as enabled_releases
from tasks.settings.schema import Release

Item = Mapping[str, Any]
_AT_ONCE = 4
"""Concurrent dry runs for one release."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """One object as it is and as it would be; None: it does not exist. `note`: as in `Change`."""

    what: str
    before: Item | None
    after: Item | None
    note: str = ""

    def change(self) -> Change | None:
        """None if nothing would change. Needs all secrets of all objects: they may be in this one."""
        if self.before is None or self.after is None:
            return Change(what=self.what, action=DELETE if self.after is None else CREATE, note=self.note)
        fields = field_changes(self.before, self.after)
        return Change(what=self.what, action=CHANGE, fields=fields, note=self.note) if fields or self.note else None


def conceal_settings(session: Session) -> None:
    """Conceal the values of the settings' secrets, as far as their sources can be read, and secrets among values."""
    from tasks.facts.secrets import read_secrets

    settings = session.settings
    for secret in settings.secrets:
        with contextlib.suppress(LaunchError):
            alone = settings.model_copy(update={"secrets": [secret]})
            read_secrets(alone, session.environ, session.root, session.programs(), ("secrets",))
    for release in enabled_releases(settings):
        with contextlib.suppress(LaunchError):
            conceal_values(merged_values(release, session.root, {"IP": "", "DOMAIN": ""}))


class Comparison:
    """Compares desired objects with live ones."""

    def __init__(self, facts: Facts) -> None:
        self.facts, self.api = facts, facts.api()
        self._resources = Resources(self.api)

    def objects(self, wanted: Sequence[Item]) -> list[Preview]:
        """Previews of this project's own objects. Raises `ApiError`."""
        assert self.facts.live is not None
        there = self.facts.live.objects
        conceal_secrets(there.values())
        conceal_secrets(wanted)
        with concurrently(_AT_ONCE) as pool:
            return list(pool.map(lambda each: self._of(each, there.get(key(each)), FIELD_MANAGER), wanted))

    def release(self, release: Release, installed: LiveRelease | None, chart: Chart, context: Context) -> list[Preview]:
        """Previews of the objects of a release, including removed ones, without hooks.

        Raises `LaunchError` if it cannot be rendered, `ApiError`.
        """
        values = values_of(self.facts, release)
        conceal_values([values, {} if installed is None else installed.values])
        wanted = self._placed(release, _manifest(self.facts, release, chart, values, context))
        before = self._placed(release, () if installed is None else installed.configured.values())
        there = live(self.api, self._resources, dict.fromkeys([*wanted, *before]))
        conceal_secrets([*wanted.values(), *there.values()])
        own = (helm.MANAGER, FIELD_MANAGER)

        def of(where: Key) -> Preview | None:
            item, desired = there[where], wanted.get(where)
            if desired is None:
                kept = item is None or helm.KEEP in (item["metadata"].get("annotations") or {})
                return None if kept else Preview(what=display(before[where]), before=item, after=None)
            if item is not None and release.conflicts == "theirs":
                desired = yielding(desired, conflicts(desired, item, own), omit=True)
            found = self._of(desired, item, helm.MANAGER)
            if item is None or found.after is None or installed is None or installed.server_side:
                return found
            return replace(found, after=_without(found.after, before.get(where, {}), desired))

        with concurrently(_AT_ONCE) as pool:
            return [each for each in pool.map(of, there) if each is not None]

    def _of(self, desired: Item, there: Item | None, manager: str) -> Preview:
        what = display(desired)
        if there is None:
            return Preview(what=what, before=None, after=desired)
        if there["metadata"].get("deletionTimestamp"):
            note = "it is being deleted, and would be created again"
            return Preview(what=what, before=None, after=desired, note=note)
        try:
            return Preview(what=what, before=there, after=self._preview(desired, manager))
        except ApiError as error:
            if error.code in (0, 401, 403, 429) or error.code >= 500:
                raise
            message = f"the API rejects it: {getattr(error, 'message', error.what)}"
            return Preview(what=what, before=there, after=_expected(desired, there), note=message)

    def _preview(self, desired: Item, manager: str) -> Item:
        if isinstance(self.api, Direct):
            return preview(self.api, self._resources, desired, manager)
        command = kubectl.apply(self.facts.paths.kubeconfig, line(desired), dry_run=True, manager=manager)
        try:
            found: Item = json.loads(self.facts.programs.run(command, quiet=True).out)
        except CommandFailed as error:
            raise ApiError(400, error.last_line()) from error
        return found

    def _placed(self, release: Release, items: Iterable[Item]) -> dict[Key, dict[str, Any]]:
        """Objects as Helm installs them: with its labels, in the release's namespace (helm: `setMetadataVisitor`)."""
        marks = {RELEASE_NAME: release.name, RELEASE_NAMESPACE: release.namespace}
        found: dict[Key, dict[str, Any]] = {}
        for item in items:
            given = item.get("metadata")
            if not isinstance(given, dict) or not all((given.get("name"), item.get("kind"), item.get("apiVersion"))):
                continue
            metadata = {name: value for name, value in given.items() if name != "namespace"}
            where = self._resources.find(str(item["apiVersion"]), str(item["kind"]))
            if where is None or where[1]:
                metadata["namespace"] = given.get("namespace") or release.namespace
            metadata["labels"] = {**(given.get("labels") or {}), "app.kubernetes.io/managed-by": "Helm"}
            metadata["annotations"] = {**(given.get("annotations") or {}), **marks}
            placed = {**item, "metadata": metadata}
            found[key(placed)] = placed
        return found


def _expected(desired: Item, there: Item) -> Item:
    """Without an answer of the server: the desired fields merged over the live ones, if they differ at all."""
    return _over(there, desired) if differences(desired, there) else there


def _without(after: Any, before: Any, desired: Any) -> Any:  # noqa: ANN401 - any JSON values
    """For Helm's client-side apply: without fields that only the previous revision had (helm: `createPatch`)."""
    if isinstance(after, list) and isinstance(before, list) and isinstance(desired, list):
        named = [{each["name"]: each for each in rows if "name" in each} for rows in (before, desired) if _maps(rows)]
        if len(named) < 2 or not _maps(after):
            return after
        kept = [each for each in after if each.get("name") not in named[0] or each["name"] in named[1]]
        return [_without(each, named[0].get(each.get("name")), named[1].get(each.get("name"))) for each in kept]
    if not (isinstance(after, Mapping) and isinstance(before, Mapping) and isinstance(desired, Mapping)):
        return after
    return {
        name: _without(value, before.get(name), desired.get(name))
        for name, value in after.items()
        if name in desired or name not in before
    }


def _maps(rows: Sequence[Any]) -> bool:
    return all(isinstance(each, Mapping) for each in rows)


def _over(there: Any, desired: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(there, Mapping) and isinstance(desired, Mapping):
        return {**there, **{name: _over(there.get(name), value) for name, value in desired.items()}}
    if isinstance(there, list) and isinstance(desired, list) and _maps(there) and _maps(desired):
        named = {each.get("name", place): each for place, each in enumerate(there)}  # ports, claims: by their place
        return [_over(named.get(each.get("name", place)), each) for place, each in enumerate(desired)]
    return desired


def _manifest(
    facts: Facts, release: Release, chart: Chart, values: Mapping[str, Any], context: Context
) -> Sequence[Item]:
    """What would be installed: rendered by Helm against this cluster, or, if that is not possible yet, without one."""
    command = helm.upgrade(
        facts.paths.kubeconfig,
        release.name,
        release.namespace,
        chart.archive(facts),
        values=line(values),
        fingerprint=fingerprint(facts, release, chart),
        timeout=release.timeout,
        validate=False,
        dry_run=True,
    )
    try:
        return documents(helm.manifest_of(run_command(facts.helm_programs, command, context, quiet=True).out) or "")
    except LaunchError:  # it defines its own kinds, or is pending
        items = rendered(facts, release, chart, context)
        return [each for each in items if helm.HOOK not in ((each.get("metadata") or {}).get("annotations") or {})]
