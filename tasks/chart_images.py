"""The images of releases and of the system, brought into the caches while the cluster starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tasks import caching
from tasks.acting import run
from tasks.charts import Chart, chart_of
from tasks.cluster.arguments import disabled
from tasks.core.optional import attempt
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.releases import documents
from tasks.facts.standing import Presence
from tasks.helm import fingerprint, install_name, values_of
from tasks.objects.stream import line
from tasks.prepull import KIND
from tasks.settings.tree import Release
from tasks.situation import Situation
from tasks.tools import helm

FIND = "registry: find images of "
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")


def steps(situation: Situation) -> list[Step]:
    """For a cluster that is being made: of the system, if an earlier launch tells, then of each release."""
    making = situation.standing.presence in (Presence.ABSENT, Presence.INCOMPLETE)
    if situation.engine == "existing" or not making or not situation.settings.registries.caches:
        return []
    found = []
    system = caching.known(situation, system_key(situation))
    if system is not None:
        found.append(caching.fetch_step(situation, caching.SYSTEM, system))
    for release in situation.releases:
        found += _of_release(situation, release)
    return [step for step in found if step is not None]


def system_key(situation: Situation) -> str:
    """What the images of kube-system depend on."""
    off = disabled(situation.settings.cluster, situation.settings.ingress.controller)
    return f"system {situation.shape.image} without {' '.join(sorted(off))}"


def remembered(situation: Situation) -> dict[str, tuple[str, ...]]:
    """Images that are known of earlier launches, by what the steps that fetch them call it."""
    found = {caching.SYSTEM: caching.known(situation, system_key(situation))}
    found |= {what_of(each): caching.known(situation, key_of(situation, each)) for each in situation.releases}
    return {what: images for what, images in found.items() if images is not None}


def key_of(situation: Situation, release: Release) -> str:
    """What the images of a release depend on."""
    return f"release {fingerprint(situation, release, chart_of(situation, release))}"


def what_of(release: Release) -> str:
    """A release as the steps about its images name it."""
    return release.name if release.namespace == release.name else f"{release.name} in {release.namespace}"


def _of_release(situation: Situation, release: Release) -> list[Step | None]:
    chart = chart_of(situation, release)
    key, what = key_of(situation, release), what_of(release)
    images = caching.known(situation, key)
    if images is not None:
        return [caching.fetch_step(situation, what, images)]
    return _found_first(situation, release, chart, key, what)


def _found_first(situation: Situation, release: Release, chart: Chart, key: str, what: str) -> list[Step | None]:
    """The first time: what the chart is rendered to tells its images; it costs a tenth of an installation."""
    from tasks.registry import cache_step

    caches = tuple(cache_step(each) for each in situation.settings.registries.caches)

    def find(context: Context) -> Report | None:
        objects = _rendered(situation, release, chart, context)
        notes = attempt(f"images of {what} are not remembered", lambda: caching.remember(situation, key, objects))
        why = ", ".join(caching.known(situation, key) or ()) or "it names none"
        return Report(why=why, exit_code=0, notes=notes)

    def act(context: Context) -> Report | None:
        images = caching.known(situation, key)
        if not images:
            return Report(why="they are not known" if images is None else "it names none", skipped=True)
        step = caching.fetch_step(situation, what, images)
        if step is None or step.skip is not None:
            return Report(why=(step and step.skip) or "no cache stands before their registries", skipped=True)
        return step.action(context)

    first = Step(
        name=f"{FIND}{what}",
        task=caching.TASK,
        action=find,
        needs=(chart.step,),
        deadline=situation.settings.timeouts.command,
        why="those that its chart names",
        expected=0.3,
        optional=True,
    )
    then = Step(
        name=f"{caching.FETCH}{what}",
        task=caching.TASK,
        kind=KIND,
        wait=True,  # for the line
        action=act,
        needs=(first.name, *caches),
        deadline=situation.settings.timeouts.pull,
        why="those that its chart names, before a node asks for them",
        expected=3.0,
        optional=True,
    )
    return [first, then]


def _rendered(situation: Situation, release: Release, chart: Chart, context: Context) -> list[Mapping[str, Any]]:
    match = _VERSION.search(situation.shape.image)
    command = helm.template(
        release.name,
        release.namespace,
        chart.archive(situation),
        values=line(values_of(situation, release)),
        kube_version=match[1] if match else situation.settings.cluster.kubernetes_version,
        deadline=situation.settings.timeouts.command,
    )
    return list(documents(run(situation.helm_programs, command, context, quiet=True).out))


def remembering(situation: Situation, wait: Callable[[Context], Report | None]) -> Callable[[Context], Report | None]:
    """A wait for the system's services, after which the images of their pods are known for the next launch."""

    def act(context: Context) -> Report | None:
        report = wait(context) or Report()
        return replace(report, notes=(*report.notes, *attempt("images of the system are not remembered", keep)))

    def keep() -> None:
        pods = situation.watched().get("/api/v1/namespaces/kube-system/pods")["items"] or ()
        caching.remember(situation, system_key(situation), pods)

    return act


def releases_remembered(situation: Situation, found: list[Step]) -> list[Step]:
    """The plan in which an installation tells the images of its release, where rendering its chart did not.

    A chart may need what only a cluster has (`lookup`, `.Capabilities.APIVersions`): the next launch knows by this.
    """
    if situation.engine == "existing" or not situation.settings.registries.caches:
        return found
    keys = {install_name(each): (each, key_of(situation, each)) for each in situation.releases}
    return [
        replace(step, action=_telling(situation, *keys[step.name], step.action))
        if step.name in keys and step.skip is None and caching.known(situation, keys[step.name][1]) is None
        else step
        for step in found
    ]


def _telling(situation: Situation, release: Release, key: str, install: Action) -> Action:
    def act(context: Context) -> Report | None:
        report = install(context) or Report()
        manifest = situation.handover.manifests.get(f"{release.namespace}/{release.name}")
        if manifest is None or caching.known(situation, key) is not None:
            return report
        lost = f"images of {what_of(release)} are not remembered"
        notes = attempt(lost, lambda: caching.remember(situation, key, documents(manifest)))
        return replace(report, notes=(*report.notes, *notes))

    return act


def system_remembered(situation: Situation, found: list[Step], name: str) -> list[Step]:
    """The plan with that wait in place of the one of that name, where there are caches to fill."""
    if situation.engine == "existing" or not situation.settings.registries.caches:
        return found
    return [
        replace(step, action=remembering(situation, step.action)) if step.name == name and step.skip is None else step
        for step in found
    ]
