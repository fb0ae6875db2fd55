"""The whole launch, and the cluster alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from invoke.exceptions import Exit

from tasks import health
from tasks.core.errors import BadInput, Drifted, LaunchError
from tasks.engine.step import Result, Step
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.facts.gather import survey, with_live
from tasks.k3d import kubeconfig, removal
from tasks.k3d.ports import anew, choosers
from tasks.k3d.recorded import differences
from tasks.run.launch import launch
from tasks.run.session import Session, bounds
from tasks.settings.step_names import NEEDS_CLUSTER, PARTS
from tasks.view.console import err

_NOT_KEPT = "that the cluster is complete is not remembered"


def up(session: Session, *, recreate: bool, rollback: bool) -> int:
    """Everything: on an existing cluster only what is missing or changed, a stopped one is started."""
    refuse_options(session, recreate=recreate, rollback=rollback)
    return _bring(session, parts_of(session), recreate=recreate, rollback=rollback)


def cluster(session: Session, *, recreate: bool) -> int:
    """The cluster, with the images and registries without which it cannot be made."""
    return _bring(session, ("prepull", "registry", "cluster"), recreate=recreate, rollback=False)


def parts_of(session: Session) -> tuple[str, ...]:
    """All parts; on a cluster of somebody else those that work inside it."""
    if session.options.engine == "existing":
        return tuple(part for part in PARTS if part in NEEDS_CLUSTER)
    return PARTS


def refuse_options(session: Session, *, recreate: bool = False, rollback: bool = False) -> None:
    """Raises `BadInput` for what would make or remove a cluster of somebody else."""
    if session.options.engine == "existing" and (recreate or rollback):
        raise BadInput(
            f"{'--recreate' if recreate else '--rollback'} has no meaning with the engine existing",
            why="that cluster is not this project's to make or remove",
            fix="leave it out",
        )


def _bring(session: Session, parts: Sequence[str], *, recreate: bool, rollback: bool) -> int:
    with session.locked():
        session.open_logs()
        session.ensure_programs()
        facts = survey(session, parts)
        if facts.engine == "existing":
            steps = launch(facts, parts, choosers(facts))
            session.run(steps, bounds(facts), facts=facts)
            return 0
        before: list[Step] = []
        if recreate and facts.cluster.nodes:
            before = removal.steps(facts, removal.remains(facts))
            facts = anew(facts)
        else:
            refuse_drift(facts)
        check(session, facts)
        try:
            _run(session, facts, parts, before)
        except Exit:
            if rollback:
                _roll_back(facts)
            raise
    return 0


def _run(session: Session, facts: Facts, parts: Sequence[str], before: list[Step]) -> None:
    """A cluster that was stopped is started first: what it lacks shows only when it runs."""
    whole = set(parts) == set(PARTS)
    earlier: tuple[Sequence[Step], Sequence[Result]] = ((), ())
    if facts.cluster.presence is Presence.STOPPED:
        first = _starting(facts)
        results = session.run(first, bounds(facts), facts=facts, launch=whole, last=False)
        earlier = (first, results)
        session.attempt(_NOT_KEPT, lambda: remember_complete(facts))
        facts = with_live(_standing_again(facts), parts)
        parts = tuple(part for part in parts if part not in ("prepull", "registry"))
    steps = launch(facts, parts, choosers(facts))
    if (lines := kubeconfig.warnings(steps)) and not session.settings.silent:
        err(lines)
    if before:
        steps = removal.before(before, steps)
    steps = _not_yet_done(steps, {step.name for step in earlier[0]})
    session.run(steps, bounds(facts), facts=facts, launch=whole, earlier=earlier)
    session.attempt(_NOT_KEPT, lambda: remember_complete(facts))


def _starting(facts: Facts) -> list[Step]:
    """The nodes, until they report again. What comes when all is well is left to the plan that follows."""
    later = (kubeconfig.SWITCH, *(f"cluster: limits of {role}s" for role in ("server", "agent")))
    steps = [
        step for step in launch(facts, ("prepull", "registry", "cluster"), choosers(facts)) if step.name not in later
    ]
    last = health.reporting(facts)
    return [
        *(
            replace(step, until=(*(name for name in step.until if name not in later), last.name))
            if step.until
            else step
            for step in steps
        ),
        last,
    ]


def _not_yet_done(steps: Sequence[Step], done: Collection[str]) -> list[Step]:
    """What an earlier plan of this call has done is not done again; but its guard must stand again."""
    found = []
    for step in steps:
        if step.until:
            until = tuple(name for name in step.until if name not in done)
            if until:
                found.append(replace(step, name=f"{step.name}, again" if step.name in done else step.name, until=until))
        elif step.name not in done:
            found.append(step)
    return found


def _standing_again(facts: Facts) -> Facts:
    from tasks.facts.cluster import cluster_state

    stands = cluster_state(facts.programs, facts.name)
    return replace(facts, cluster=stands)


def remember_complete(facts: Facts) -> None:
    """Keep the id of the server that carries the marker, where this run found it and did not put it there.

    It only saves the next run a question. Raises OSError, `LaunchError`.
    """
    from tasks.core.files import remembered, write_whole
    from tasks.facts.cluster import cluster_state

    if facts.cluster.presence in (Presence.ABSENT, Presence.INCOMPLETE):
        return
    path, known = facts.paths.complete, facts.cluster.first
    if known is not None and remembered(path) == known.id:
        return
    stands = cluster_state(facts.programs, facts.name)
    if stands.first is not None and stands.presence is Presence.RUNNING:
        write_whole(path, stands.first.id + "\n")


def refuse_drift(facts: Facts) -> None:
    """What k3d cannot change in place stops `up`, with the list. Raises `Drifted`."""
    if facts.cluster.presence not in (Presence.RUNNING, Presence.STOPPED):
        return
    differs = differences(facts)
    if differs:
        raise Drifted(
            f"the cluster '{facts.name}' was made with other settings",
            why="k3d cannot change in place: " + "; ".join(differs),
            fix="invoke up --recreate makes it anew (what is in it is lost); or set them back",
        )


def check(session: Session, facts: Facts) -> None:
    """Those checks of doctor that would stop a launch; none where a cluster runs already."""
    from tasks.doctor import stop_launch

    if facts.cluster.presence in (Presence.ABSENT, Presence.INCOMPLETE):
        stop_launch(session, facts)


def _roll_back(facts: Facts) -> None:
    """Remove what this run made: the cluster, if it was not there before."""
    from tasks.engine.scheduler import Run
    from tasks.process.children import CHILDREN

    if facts.cluster.presence not in (Presence.ABSENT, Presence.INCOMPLETE):
        err(["--rollback: the cluster was there before this run, so it stays"])
        return
    try:
        steps = removal.steps(facts, removal.remains(facts))
    except LaunchError as error:  # nothing of it is this run's
        err([f"--rollback: {error.what}"])
        return
    results = Run(steps, bounds(facts), stop_children=CHILDREN.stop).execute()
    bad = [result.name for result in results if result.state.value in ("failed", "aborted")]
    err([f"--rollback: not removed: {', '.join(bad)}"] if bad else ["--rollback: what this run made is removed"])
