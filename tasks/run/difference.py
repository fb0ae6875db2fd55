"""What a launch would change: settings of the cluster, objects, releases. Read-only."""

import json
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tasks.core.errors import FAILED, OK, LaunchError
from tasks.engine.scheduler import Run
from tasks.engine.step import Context, Result, Step
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.facts.objects import group_of, is_custom, kinds, labelled
from tasks.k3d import kubeconfig
from tasks.k3d.recorded import differences as changed_settings
from tasks.k3d.recorded import immutable
from tasks.kube.changes import CHANGE, CREATE, DELETE, Change
from tasks.kube.objects import FIELD_MANAGER, MANAGED_BY, display, is_marked, is_secret
from tasks.kube.ownership import CREATED_BY, created_by
from tasks.process.children import CHILDREN
from tasks.run.apply import difference
from tasks.run.charts import Chart, chart_of, fetch_steps
from tasks.run.desired import (
    contents,
    desired_keys,
    desired_namespaces,
    is_foreign,
    is_unchanged_namespace,
    namespace_names,
    to_remove,
)
from tasks.run.own_steps import each_time
from tasks.run.preview import Comparison, Preview
from tasks.run.session import bounds
from tasks.settings.derived import HELM, STEP_RECORD, install_name, release_name
from tasks.settings.schema import Release
from tasks.view import changes as view
from tasks.view.console import marks, out, width_of

_TASKS = frozenset({"registry", "cluster", "docker-tune", "build"})
"""Tasks whose steps change something outside the Kubernetes API."""
_OBJECTS = "diff: objects"
_IN_PLACE = "k3d cannot change settings of a cluster in place: `up` refuses them, `up --recreate` recreates it"


@dataclass(frozen=True, kw_only=True)
class ReleaseChange:
    """One release that would be installed or upgraded."""

    release: str
    action: str
    why: str
    objects: tuple[Change, ...] = ()
    fault: str = ""
    """Why its changes cannot be determined."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Everything that a launch would change."""

    cluster: str
    presence: str
    """absent, stopped, paused, running, or recreated: it would be removed first."""
    settings: tuple[str, ...] = ()
    """Changed settings of the cluster, with old and new value in words."""
    steps: tuple[tuple[str, str], ...] = ()
    """Steps that change something outside the Kubernetes API, each with its reason."""
    objects: tuple[Change, ...] = ()
    releases: tuple[ReleaseChange, ...] = ()

    @property
    def any(self) -> bool:
        """Whether anything would change."""
        return self.presence != "running" or bool(self.settings or self.steps or self.objects or self.releases)

    @property
    def fault(self) -> bool:
        """Whether the changes of some release cannot be determined."""
        return any(each.fault for each in self.releases)


def show(
    facts: Facts, steps: Sequence[Step], *, document: dict[str, Any] | None, recreate: bool = False, code: int = OK
) -> int:
    """Show what these steps would change; `document`: as a part of this JSON object.

    Returns `code` if anything would change, 1 if the changes of a release cannot be determined.
    """
    found = changes(facts, steps, recreate=recreate)
    if document is not None:
        out(json.dumps({**document, "diff": view.document(found)}, indent=2, ensure_ascii=False).splitlines())
    else:
        out(view.text(found, width=width_of(sys.stdout), marks=marks(sys.stdout.encoding)))
        out([_IN_PLACE] if found.settings and found.presence in ("running", "stopped", "paused") else [])
    return FAILED if found.fault else code if found.any else OK


def changes(facts: Facts, steps: Sequence[Step], *, recreate: bool = False) -> Changes:
    """What these steps would change. Missing charts are fetched; charts are rendered in the launch's pool.

    Raises `ApiError`.
    """
    wanted = {step.name: step for step in steps if step.skip is None and step.name != kubeconfig.SWITCH}
    installs = [each for each in facts.releases if install_name(each) in wanted]
    if facts.owns_cluster and (recreate or facts.cluster.presence.to_create):
        return Changes(
            cluster=facts.name,
            presence="recreated" if recreate and facts.cluster.nodes else "absent",
            settings=_settings(facts, recreate=recreate),
            objects=tuple(Change(what=display(each), action=CREATE) for each in _objects(facts)),
            releases=tuple(
                ReleaseChange(release=release_name(each), action=CREATE, why=chart_of(facts, each).display)
                for each in facts.releases
            ),
        )
    settings = tuple(changed_settings(facts)) if facts.owns_cluster else ()
    if facts.owns_cluster and facts.cluster.presence is Presence.STOPPED:
        presence = "paused" if facts.cluster.only_paused else "stopped"
        return Changes(cluster=facts.name, presence=presence, settings=settings)
    charts = {release_name(each): chart_of(facts, each) for each in installs}
    objects = difference(facts, _objects(facts)).objects
    own = {step.name for step in wanted.values() if step.task == "steps"} - each_time(facts, steps)
    previews, results = _previews(facts, objects, installs, charts)
    return Changes(
        cluster=facts.name,
        presence="running",
        settings=settings,
        steps=tuple((step.name, step.why) for step in wanted.values() if step.name in own or _changes(step)),
        objects=(
            *_changed(previews.get(_OBJECTS, ())),
            *(Change(what=display(each), action=DELETE) for each in to_remove(facts)),
        ),
        releases=tuple(
            ReleaseChange(
                release=name,
                action=CREATE if facts.installed(each) is None else CHANGE,
                why=_why(facts, each, charts[name], wanted[install_name(each)].why),
                objects=_changed(previews.get(_render(each), ())),
                fault="" if _render(each) in previews else _fault(results, _render(each), charts[name].step),
            )
            for each in installs
            for name in [release_name(each)]
        ),
    )


def _changes(step: Step) -> bool:
    """Whether it changes something outside the API; among waiting steps, builds and a new agent."""
    return step.task in _TASKS and not step.until and (not step.wait or step.task in ("cluster", "build"))


def _render(release: Release) -> str:
    return f"diff: {release_name(release)}"


def _changed(previews: Sequence[Preview]) -> tuple[Change, ...]:
    return tuple(change for each in previews if (change := each.change()) is not None)


def _previews(
    facts: Facts, objects: Sequence[dict[str, Any]], installs: Sequence[Release], charts: Mapping[str, Chart]
) -> tuple[dict[str, list[Preview]], Mapping[str, Result]]:
    """Previews by step, and the results of all steps."""
    if not objects and not installs:
        return {}, {}
    compared = Comparison(facts)
    found: dict[str, list[Preview]] = {}

    def of_objects(_context: Context) -> None:
        found[_OBJECTS] = compared.objects(objects)

    def of_release(release: Release, context: Context) -> None:
        chart, installed = charts[release_name(release)], facts.installed(release)
        found[_render(release)] = compared.release(release, installed, chart, context)

    seconds = facts.settings.timeouts.command
    plan = fetch_steps(facts, tuple(charts.values()), frozenset(each.id for each in charts.values()))
    plan += [
        Step(
            name=_render(each),
            task="helm",
            kind=HELM,
            action=partial(of_release, each),
            needs=(charts[release_name(each)].step,),
            deadline=seconds,
        )
        for each in installs
    ]
    if objects:
        plan.append(Step(name=_OBJECTS, task="manifests", action=of_objects, deadline=seconds))
    known = {step.name for step in plan}  # not those that start a registry
    plan = [replace(step, needs=tuple(each for each in step.needs if each in known)) for step in plan]
    run = Run(plan, bounds(facts), keep_going=True, stop_children=CHILDREN.stop)
    results = {each.name: each for each in run.execute()}
    if run.interrupted:
        raise KeyboardInterrupt
    error = results[_OBJECTS].error if objects else None
    if error is not None:
        raise error
    return found, results


def _fault(results: Mapping[str, Result], *names: str) -> str:
    """Why a release could not be rendered: the last failure among its steps, chart fetch or rendering."""
    errors = [results[name].error for name in names if name in results and results[name].error is not None]
    if errors and isinstance(errors[-1], LaunchError):
        return f"{errors[-1].what}: {errors[-1].why}" if errors[-1].why else errors[-1].what
    return str(errors[-1]) if errors else "its chart, or a dependency of it, could not be fetched"


def _settings(facts: Facts, *, recreate: bool) -> tuple[str, ...]:
    """For a cluster that would be created: differences to the existing one, else its settings."""
    if recreate and facts.cluster.label:
        return tuple(changed_settings(facts))
    rows = immutable(facts.settings, facts.shape)
    private = ("cluster.args", "cluster.env")
    return tuple(f"{path}: {value}" for path, value in rows.items() if value != "none" and path not in private)


def _objects(facts: Facts) -> list[dict[str, Any]]:
    """The objects that a launch applies."""
    spaces = [each for each in desired_namespaces(facts) if not is_foreign(facts, each["metadata"]["name"])]
    own = contents(facts, facts.backend.parts)
    return [*spaces, *(each for each in own if not is_unchanged_namespace(facts, each))]


def _why(facts: Facts, release: Release, chart: Chart, why: str) -> str:
    """With the chart's versions if they differ."""
    installed = facts.installed(release)
    if installed is None:
        return chart.display
    name, _, version = installed.chart.rpartition(" ")
    if release.version and version and release.version.removeprefix("v") != version.removeprefix("v"):
        return f"{name} {version} → {release.version}; {why}"
    return why


def objects_left(facts: Facts, parts: Collection[str]) -> list[str]:
    """Objects that this project applied and that are no longer configured, each with the command that removes it.

    Not a copy that somebody else made with its labels. Lists every kind. Raises `ApiError`.
    """
    api, wanted = facts.api(), desired_keys(facts, parts)
    own = (MANAGED_BY, FIELD_MANAGER) if facts.owns_cluster else (CREATED_BY, facts.environment)
    spaces = namespace_names(facts)
    configured = {(group_of(each.api_version), *each[1:]) for each in wanted}
    found = []
    for each, there in sorted(labelled(api, kinds(api)[0], *own, spaces).items.items()):
        metadata, group = there["metadata"], group_of(each.api_version)
        if facts.owns_cluster:
            managers = [entry.get("manager") for entry in metadata.get("managedFields") or ()]
            applied = FIELD_MANAGER in managers and (is_marked(there) or is_secret(there))
        else:
            applied = created_by(there) == facts.environment
        copied = metadata.get("ownerReferences") or metadata.get("deletionTimestamp")
        if not applied or copied or each.name.startswith(STEP_RECORD) or (group, *each[1:]) in configured:
            continue
        kind = each.kind.lower() + (f".{group}" if is_custom(each.api_version) else "")
        where = f"{f'-n {each.namespace} ' if each.namespace else ''}--context {shlex.quote(facts.context)}"
        found.append(f"{display(there)} (kubectl delete {kind} {each.name} {where} removes it)")
    return found
