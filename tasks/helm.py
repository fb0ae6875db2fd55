"""`invoke helm`: releases by need; charts are downloaded while the cluster starts; unchanged ones are skipped."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import namespaces
from tasks.core.errors import LaunchError, some
from tasks.core.files import create_marker
from tasks.engine.step import Action, Context, Report, Retry, Step
from tasks.engine.work import AwaitRelease, InstallRelease
from tasks.run.task import run_part, task
from tasks.settings.derived import (
    API_READY,
    FINGERPRINT,
    HELM,
    NAMESPACES,
    QUOTAS,
    RELEASES_LEFT,
    SECRETS,
    done_name,
    install_name,
    ready_name,
    release_name,
)

if TYPE_CHECKING:
    from tasks.clients.postrender import PostRenderer
    from tasks.facts.facts import Facts
    from tasks.kube.objects import Key
    from tasks.kube.releases import LiveRelease
    from tasks.process.command import Completed
    from tasks.run.charts import Chart
    from tasks.run.session import Session
    from tasks.settings.schema import Release

TASK = "helm"
_RETRY = Retry(attempts=4, first=1.0, cap=8.0)
_LATE = frozenset({"webhook-failing"})  # its certificate may come some time after its pods are ready
_LATE_OF_NEEDS = _LATE | {"kind-missing"}  # an operator may define kinds only when it runs


@task(
    help={"clear_pending": "clear pending releases, even if another Helm may be working on them"},
    query_ahead=True,
)
def helm(session: Session, clear_pending: bool = False) -> int:
    """Install or upgrade the releases by their needs, and wait until they are ready."""
    session.clear_pending = clear_pending
    return run_part(session, TASK, single_steps)


def single_steps(facts: Facts) -> list[Step]:
    """The steps of this task alone: with the missing namespaces and images that it needs."""
    from tasks.run.images import remembering
    from tasks.run.releases import values_of

    found = namespaces.missing(facts, {release.namespace for release in facts.releases})
    if facts.builds:
        from tasks.run import builds

        found += builds.steps(facts, builds.used(facts, [values_of(facts, each) for each in facts.releases]))
    return [*found, *remembering(facts, steps(facts))]


def steps(facts: Facts) -> list[Step]:
    """Fetch, install and wait for each release."""
    from tasks.run.charts import chart_of, fetch_steps
    from tasks.settings.needs import named_releases

    if not facts.releases:
        return _staying(facts)
    charts = {_key(release): chart_of(facts, release) for release in facts.releases}
    reasons = {_key(release): _why(facts, release, charts[_key(release)]) for release in facts.releases}
    wanted = [charts[_key(r)] for r in facts.releases if reasons[_key(r)] is not None]
    found = fetch_steps(facts, tuple(charts.values()), frozenset(chart.id for chart in wanted))
    for release in facts.releases:
        needed = [each for need in release.needs for each in named_releases(need, facts.releases)]
        needs = tuple(done_name(each) for each in needed)
        found += _release(facts, release, charts[_key(release)], reasons[_key(release)], needs)
    return [*found, *_staying(facts)]


def _staying(facts: Facts) -> list[Step]:
    """Nothing is uninstalled unasked: a release that was removed, renamed or disabled may have data."""
    from tasks.run.releases import no_longer_configured

    names = no_longer_configured(facts)
    return [Step(name=RELEASES_LEFT, task=TASK, skip=f"no longer configured: {some(names)}")] if names else []


def _key(release: Release) -> str:
    return f"{release.namespace}/{release.name}"


def _why(facts: Facts, release: Release, chart: Chart) -> str | None:
    """Why a release must be installed or upgraded; None if it need not be."""
    from tasks.run.releases import fingerprint

    if facts.live is None:
        return chart.display
    live = facts.installed(release)
    if live is None:
        return "it is missing"
    if facts.namespace_ends(release.namespace):
        return "its namespace is being deleted"
    if live.status != "deployed":
        return f"its status is {live.status}"
    if live.fingerprint != fingerprint(facts, release, chart):
        return "its chart or values have changed"
    if live.by_hand:
        return f"its revision {live.revision} was not installed by this project"
    if gone := facts.live.gone.get((release.namespace, release.name), ()):
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        return f"{gone[0].kind.lower()}/{gone[0].name} is gone{more}"
    edited = facts.live.edited.get((release.namespace, release.name), ()) if release.conflicts == "ours" else ()
    return f"{edited[0]}{f', and {len(edited) - 1} more' if len(edited) > 1 else ''}" if edited else None


def _release(facts: Facts, release: Release, chart: Chart, why: str | None, needs: tuple[str, ...]) -> list[Step]:
    found: list[Step] = []
    live, timeouts = facts.installed(release), facts.settings.timeouts
    before = (API_READY, NAMESPACES, SECRETS, QUOTAS, chart.step, *needs, *_images(facts, release))
    if why is not None and live is not None and _left_behind(facts, live):
        clear = _clear(facts, release, live)
        found.append(clear)
        before = (*before, clear.name)
    found.append(
        Step(
            name=install_name(release),
            task=TASK,
            kind=HELM,
            action=_install(facts, release, chart),
            needs=before,
            deadline=release.timeout + 15,
            retry=replace(_RETRY, lasting=_LATE_OF_NEEDS if release.needs else _LATE, patience=timeouts.command),
            skip=f"{chart.display} and its values have not changed" if why is None else None,
            why=why or "",
            expected=1.5,
            work=InstallRelease(release=release_name(release)),
        )
    )
    found.append(_ready(facts, release, changed=why is not None))
    return found


def _images(facts: Facts, release: Release) -> tuple[str, ...]:
    """The steps after which the images of builds that it uses can be pulled."""
    if not facts.builds:
        return ()
    from tasks.run.builds import pushed
    from tasks.run.releases import values_of

    return pushed(facts, values_of(facts, release))


def _left_behind(facts: Facts, live: LiveRelease) -> bool:
    """Whether Helm's last operation on a release has not finished, so that the next one is rejected (helm#10323).

    Or, in a cluster of this project, its first installation failed at hooks before any object was created.
    What is in a namespace that is being deleted is deleted with it.
    """
    from tasks.run.releases import is_pending

    again = facts.owns_cluster and FINGERPRINT in live.labels and live.ended_before_objects
    return (is_pending(live) or again) and not facts.namespace_ends(live.namespace)


def _clear(facts: Facts, release: Release, live: LiveRelease) -> Step:
    from tasks.diagnose.command import run_command
    from tasks.run.foreign_releases import still_as
    from tasks.run.releases import clearing, is_pending

    gone = "--clear-pending" if facts.clear_pending else "its Helm process is gone"

    def act(context: Context) -> Report | None:
        if not facts.owns_cluster and not still_as(facts, live):
            return Report(skipped=True, why="the other Helm has finished its work on it")
        return Report(exit_code=run_command(facts.helm_programs, clearing(facts, release, live), context).code)

    return Step(
        name=f"helm: clear {release_name(release)}",
        task=TASK,
        kind=HELM,
        action=act,
        needs=(API_READY,),
        deadline=release.timeout + 15,
        why=f"{live.status}: {gone if is_pending(live) else 'at its pre-install hooks, which an upgrade does not run'}",
        expected=1.0,
    )


def _clear_own(facts: Facts, release: Release, context: Context) -> None:
    """Clear what this step's previous attempt left: a pending revision, or a first one whose hooks an upgrade skips.

    Before that attempt the release was not pending, so no other Helm works on it; on a foreign cluster one
    might.
    """
    from tasks.diagnose.command import run_command
    from tasks.kube.releases import release_in
    from tasks.run.releases import clearing

    if not facts.owns_cluster:
        return
    live = release_in(facts.api(), release.namespace, release.name)
    if live is None:
        return
    first = live.status == "failed" and live.revision == 1 and facts.installed(release) is None
    if live.status.startswith("pending-") or (first and live.installs_by_hooks):
        run_command(facts.helm_programs, clearing(facts, release, live), context)


def _install(facts: Facts, release: Release, chart: Chart) -> Action:
    before: dict[Key, Mapping[str, Any]] = {}

    def act(context: Context) -> Report | None:
        from tasks.run.apply import api_back
        from tasks.run.releases import upgrade_resolving_conflicts

        api_back(facts, context)
        if context.attempt > 1:
            _clear_own(facts, release, context)
        server_side = _server_side(facts, release, context)
        upgrade = functools.partial(_upgrade, facts, release, chart, context)
        report = upgrade_resolving_conflicts(facts, release, context, before, upgrade, server_side=server_side)
        notes = (*report.notes, *_applied_again(facts, release, context), *_hooks_left_out(facts, release))
        return replace(report, notes=notes)

    return act


def _hooks_left_out(facts: Facts, release: Release) -> tuple[str, ...]:
    """A note about install hooks that did not run: the first installation failed, and an upgrade continued from it."""
    from tasks.run.releases import uninstalling

    live = facts.installed(release)
    if live is None or (live.status, live.revision) != ("failed", 1) or _left_behind(facts, live):
        return ()
    why = "its first installation had failed, and an upgrade does not run install hooks"
    way = f"if it lacks what they create: {uninstalling(facts, release.name, release.namespace)}, then `invoke helm`"
    return (f"release {_key(release)}: {why}; {way}",) if live.installs_by_hooks else ()


def _applied_again(facts: Facts, release: Release, context: Context) -> tuple[str, ...]:
    """Reapply the user's own objects that Helm removed since they are no longer part of the release; with notes."""
    from tasks.kube.objects import display, key
    from tasks.kube.releases import refs
    from tasks.run.apply import applying
    from tasks.run.desired import user_objects

    installed, manifest = facts.installed(release), facts.outputs.manifests.get(_key(release))
    if installed is None or manifest is None:
        return ()
    gone = {*installed.objects} - {*refs(manifest, release.namespace)}
    own = {key(each)._replace(namespace=key(each).namespace or release.namespace): each for each in user_objects(facts)}
    lost = [own[each] for each in gone & own.keys()]
    if lost:
        applying(facts, lost)(context)
    return tuple(f"{display(each)} belongs to a manifest now: Helm removed it, and it was recreated" for each in lost)


def _server_side(facts: Facts, release: Release, context: Context) -> bool:
    """Whether Helm will use server-side apply: version 4 does, except for releases applied otherwise (Helm 3)."""
    from tasks.kube.releases import release_in

    if facts.helm_major < 4:
        return False
    live = facts.installed(release)
    if context.attempt > 1 or (live is not None and _left_behind(facts, live)):  # it has been cleared
        live = release_in(facts.api(), release.namespace, release.name)
    return live is None or live.server_side


def _upgrade(
    facts: Facts,
    release: Release,
    chart: Chart,
    context: Context,
    *,
    force_conflicts: bool = False,
    post_renderer: PostRenderer | None = None,
) -> Completed:
    from tasks.clients import helm
    from tasks.diagnose.command import run_command
    from tasks.kube.apply import line
    from tasks.run.foreign_releases import install_or_upgrade, refuse_existing
    from tasks.run.hooks import attended
    from tasks.run.releases import attempt_mark, fingerprint, values_of

    values, archive = values_of(facts, release), chart.archive(facts)
    mark = fingerprint(facts, release, chart)
    stamp = _stamp(facts, mark, archive)
    command = helm.upgrade(
        facts.paths.kubeconfig,
        release.name,
        release.namespace,
        archive,
        values=line(values),
        fingerprint=f"{mark}.{attempt_mark(facts, release, context)}",
        timeout=release.timeout,
        validate=stamp is None or not os.path.exists(stamp),  # noqa: PTH110 - false without permission
        force_conflicts=force_conflicts,
        post_renderer=post_renderer,
        **install_or_upgrade(facts, release),
    )
    if not facts.owns_cluster:
        refuse_existing(facts, release, chart, command, context)
    with attended(facts, release, context) as inner:
        done = run_command(facts.helm_programs, command, inner, quiet=True)  # the manifest may contain secrets
    if stamp is not None:
        create_marker(stamp)
    manifest = helm.manifest_of(done.out)
    if manifest is not None:
        facts.outputs.manifests[_key(release)] = manifest
    return done


def _stamp(facts: Facts, mark: str, archive: str) -> Path | None:
    """A marker that Helm has validated the same chart with the same values for the same Kubernetes before.

    None on a foreign cluster: the kinds that it serves may change at any time.
    """
    from tasks.kube.objects import digest

    if not facts.owns_cluster:
        return None
    name = digest([mark, Path(archive).name, facts.shape.image, facts.helm_version])
    return facts.paths.cache / "validated" / name


def _ready(facts: Facts, release: Release, *, changed: bool) -> Step:
    skip, live = None, facts.installed(release)
    notes = _notes(release, live.unreadable) if live is not None and not changed else ()
    if not release.wait:
        skip = "its `wait` is false"
    elif not changed and facts.live is not None and not facts.live.unready.get((release.namespace, release.name)):
        skip = "; ".join(["all its workloads are ready", *notes])
    return Step(
        name=ready_name(release),
        task=TASK,
        action=functools.partial(_wait_ready, facts, release),
        needs=(install_name(release),),
        wait=True,
        deadline=release.timeout,
        retry=Retry(attempts=3, first=0.5),
        skip=skip,
        why="its workloads, read from the API",
        expected=6.0,
        work=AwaitRelease(release=release_name(release)),
        notes=notes,
    )


def _notes(release: Release, fault: str) -> tuple[str, ...]:
    """Notes for the user on a manifest that can be parsed only in part."""
    if not fault:
        return ()
    return (f"release {_key(release)}: objects that cannot be read in its manifest are not checked: {fault}",)


def _wait_ready(facts: Facts, release: Release, context: Context) -> Report | None:
    from tasks.kube.components import without_address
    from tasks.kube.wait import wait_ready
    from tasks.run.explain import explain

    refs, services, fault = _awaited(facts, release)
    diagnose = functools.partial(explain, facts)
    ready = wait_ready(facts.watched(), refs, context, jobs=release.wait_for_jobs, settle=True, diagnose=diagnose)
    ready.sort(key=lambda each: each.startswith("customresourcedefinition/"))  # what runs is named first
    why = some(ready) or "it has no workloads"
    alone = without_address(facts.api(), services) if services else ()
    return Report(why=why, notes=(*_notes(release, fault), *(f"release {_key(release)}: {each}" for each in alone)))


def _awaited(facts: Facts, release: Release) -> tuple[tuple[Key, ...], tuple[Key, ...], str]:
    """What has to become ready, by the manifest that this run installed, else by the one stored in the cluster.

    Also its Services of type LoadBalancer, and the part of that manifest that cannot be parsed.
    """
    from tasks.kube.components import balanced
    from tasks.kube.releases import awaited_refs, documents, release_in, unreadable

    manifest, namespace = facts.outputs.manifests.get(_key(release)), release.namespace
    if manifest is not None:
        return awaited_refs(manifest, namespace), balanced(documents(manifest), namespace), unreadable(manifest)
    live = release_in(facts.api(), namespace, release.name)
    if live is None:
        raise LaunchError(
            f"the release '{release.name}' does not exist",
            why="neither this run nor an earlier one has installed it",
            fix="invoke helm",
        )
    return live.workloads, balanced(live.configured.values(), namespace), live.unreadable
