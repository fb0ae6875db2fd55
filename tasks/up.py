"""`invoke up`: the whole environment as one graph of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks import cluster, docker_tune, health, helm, manifests, namespaces, secrets
from tasks.core.errors import BadInput
from tasks.core.paths import expanded
from tasks.engine.graph import fitted
from tasks.engine.work import ApplyObjects
from tasks.run.task import task

if TYPE_CHECKING:
    from tasks.engine.step import Step
    from tasks.facts.facts import Facts
    from tasks.k3d.ports import Choosers
    from tasks.run.session import Session


@task(
    help={
        "recreate": "recreate the cluster if k3d cannot change it in place",
        "rollback": "if it fails, remove what this run created",
        "snapshot": "create the cluster from this snapshot (invoke snapshot --save NAME)",
        "bundle": "take all downloads from this file (invoke bundle save FILE)",
        "clear_pending": "clear pending releases, even if another Helm may be working on them",
    },
    values={"snapshot": "tasks.run.completion:snapshots"},
    query_ahead=True,
)
def up(
    session: Session,
    recreate: bool = False,
    rollback: bool = False,
    clear_pending: bool = False,
    bundle: str = "",
    snapshot: str = "",
) -> int:
    """Bring up the whole environment: only what is missing or changed."""
    session.clear_pending = clear_pending
    if snapshot:
        from tasks.run.snapshots import restoring

        with restoring(session, snapshot):
            return _launch(session, bundle, recreate=recreate, rollback=rollback)
    return _launch(session, bundle, recreate=recreate, rollback=rollback)


def _launch(session: Session, bundle: str, *, recreate: bool, rollback: bool) -> int:
    """As `launch`, with a bundle if one is given."""
    if not bundle:
        return launch(session, recreate=recreate, rollback=rollback)
    if session.options.engine != "k3d":
        raise BadInput(
            f"--bundle has no meaning with the engine {session.options.engine}",
            why="a bundle is loaded into the Docker engine and the caches of a k3d cluster",
            fix="omit it",
        )
    from tasks.run.bundle_load import opened

    with opened(expanded(bundle).absolute()) as session.bundle:
        return launch(session, recreate=recreate, rollback=rollback)


def launch(session: Session, *, recreate: bool, rollback: bool) -> int:
    """Run the whole plan; returns the exit code. Raises `LaunchError`, and `Exit` for a run that failed."""
    from tasks.run.provision import bring_up

    refuse_options(session, recreate=recreate, rollback=rollback)
    remove = cluster.removal_steps if recreate else None
    return bring_up(session, session.backend.parts, steps, cluster.start_steps, remove=remove, rollback=rollback)


def refuse_options(session: Session, *, recreate: bool = False, rollback: bool = False) -> None:
    """Raises `BadInput` for options that would create or remove a foreign cluster."""
    if not session.options.owns_cluster and (recreate or rollback):
        raise BadInput(
            f"{'--recreate' if recreate else '--rollback'} has no meaning with the engine existing",
            why="that cluster is not created or removed by this project",
            fix="omit it",
        )


def steps(facts: Facts, choosers: Choosers, *, started: bool = False) -> list[Step]:
    """The steps of all parts; on a foreign cluster only those inside it. See `tasks.run.provision.Plan`."""
    from tasks.run import components, images

    with_images = facts.owns_cluster and not started
    found = cluster.creation_steps(facts, choosers, started=started) if facts.owns_cluster else []
    if with_images:
        found += images.fetch_steps(facts)
    if facts.builds:
        from tasks.run import builds

        found += builds.steps(facts)
    found += namespaces.steps(facts)
    found += secrets.steps(facts)
    found += manifests.steps(facts)
    found += helm.steps(facts)
    acting = [step for step in found if not step.wait or isinstance(step.work, ApplyObjects)]
    users = [step for step in acting if step.task in ("manifests", "helm")]
    found = images.remembering(facts, [*found, *health.steps(facts, users)])
    if facts.has_own_steps:
        from tasks.run.own_steps import with_own

        found = with_own(facts, found)
    if not facts.owns_cluster:
        return fitted(found)
    found += components.deferral_steps(facts, found)
    found += cluster.closing_steps(facts, found)
    if with_images:
        found += images.pull_ahead_steps(facts, found)
    if facts.settings.docker.tune != "auto":
        return fitted(found)
    return docker_tune.first(fitted([*found, *docker_tune.steps(facts)]))
