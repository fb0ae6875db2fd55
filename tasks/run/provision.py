"""Brings a cluster to the state of a plan: created, started, recreated, or completed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Protocol

from invoke.exceptions import Exit

from tasks.core.errors import BadInput, Drifted, LaunchError
from tasks.engine.graph import joined
from tasks.engine.step import Result, Step
from tasks.facts.cluster import Presence, cluster_state
from tasks.facts.facts import Facts
from tasks.k3d import kubeconfig, removal
from tasks.k3d.ports import Choosers, choosers, without_cluster
from tasks.k3d.recorded import differences, lost_servers
from tasks.run.gather import gather, with_builds, with_live
from tasks.run.rights import refuse_forbidden
from tasks.run.session import Session, bounds
from tasks.settings.derived import PARTS
from tasks.view.console import err

Earlier = tuple[Sequence[Step], Sequence[Result]]
"""Steps of this call that have run, and their results."""
_NOT_KEPT = "the cluster could not be recorded as complete"


class Plan(Protocol):
    """Creates the steps of a task."""

    def __call__(self, facts: Facts, choosers: Choosers, *, started: bool = False) -> list[Step]:
        """The steps; `started`: this call has started the cluster, so its images and registries are done."""


def bring_up(
    session: Session,
    parts: Sequence[str],
    plan: Plan,
    start: Callable[[Facts, Choosers], list[Step]],
    *,
    remove: Callable[[Facts], list[Step]] | None = None,
    rollback: bool = False,
) -> int:
    """Run a plan on this project's cluster; `parts` are its parts.

    `start` returns the steps until a stopped cluster runs: only then its differences are visible. `remove` returns the
    steps that remove it first. `rollback`: remove on failure what was created. Raises `Drifted`, `LaunchError`, `Exit`.
    """
    with session.locked():
        session.open_logs()
        session.ensure_programs()
        facts = gather(session, parts, live=remove is None)
        if not facts.owns_cluster:
            facts, steps, earlier = _planned(session, facts, parts, plan, ((), ()))
            steps = _without_done(steps, {step.name for step in earlier[0]})
            refuse_forbidden(facts, parts, steps)
            session.run(steps, bounds(facts), facts=facts, earlier=earlier)
            return 0
        removing: list[Step] = []
        if remove is not None and facts.cluster.nodes:
            removing = remove(facts)
            facts = without_cluster(facts)
        else:
            refuse_drift(facts)
        if facts.restore is not None:
            facts = restorable(facts)
        if facts.bundle is not None:
            from tasks.run.bundle_load import refuse_lacking

            refuse_lacking(facts)
        refuse_unfit(session, facts)
        try:
            _run(session, facts, parts, plan, start, removing)
        except Exit:
            if rollback:
                _roll_back(facts)
            raise
    return 0


def _run(
    session: Session,
    facts: Facts,
    parts: Sequence[str],
    plan: Plan,
    start: Callable[[Facts, Choosers], list[Step]],
    removing: list[Step],
) -> None:
    launch = tuple(parts) == PARTS
    restored = facts.restore is not None
    earlier: Earlier = ((), ())
    if started := restored or facts.cluster.presence is Presence.STOPPED:
        first = start(facts, choosers(facts))
        if removing:
            first, removing = removal.before(removing, first), []
        results = session.run(first, bounds(facts), facts=facts, launch=launch, last=False)
        earlier = (first, results)
        session.attempt(_NOT_KEPT, lambda: remember_complete(facts))
        facts = replace(facts, restore=None, cluster=cluster_state(facts.programs, facts.name))
        facts = with_live(facts, parts)
    facts, steps, earlier = _planned(session, facts, parts, plan, earlier, started=started)
    if (lines := kubeconfig.warnings(steps)) and not session.settings.silent:
        err(lines)
    if removing:
        steps = removal.before(removing, steps)
    steps = _without_done(steps, {step.name for step in earlier[0]})
    session.run(steps, bounds(facts), facts=facts, launch=launch, earlier=earlier)
    session.attempt(_NOT_KEPT, lambda: remember_complete(facts))


def _planned(
    session: Session, facts: Facts, parts: Sequence[str], plan: Plan, earlier: Earlier, *, started: bool = False
) -> tuple[Facts, list[Step], Earlier]:
    """The rest of the plan; after the user's steps that run before builds, their files are read again."""
    steps = plan(facts, choosers(facts), started=started)
    if not facts.has_own_steps:
        return facts, steps, earlier
    from tasks.run.own_command import refuse_unset
    from tasks.run.own_steps import before_builds

    refuse_unset(facts, steps)
    if first := before_builds(steps):
        results = session.run(first, bounds(facts), facts=facts, earlier=earlier, last=False)
        earlier = joined(earlier, (first, results))
        facts = with_builds(session, facts, parts)
        steps = plan(facts, choosers(facts), started=started)
    return facts, steps, earlier


def restorable(facts: Facts) -> Facts:
    """The same facts with the number of agents in the snapshot, unless a setting overrides it. Raises `BadInput`."""
    from tasks.k3d.restore import refuse_misfit

    assert facts.restore is not None
    if not facts.cluster.presence.to_create:
        raise BadInput(
            f"the cluster '{facts.name}' already exists",
            why="a snapshot creates a cluster, and never changes an existing one",
            fix="invoke down, or up --recreate --snapshot NAME (its data is lost); or another name (CLUSTER_NAME)",
        )
    if facts.settings.cluster.agents is None:
        facts = replace(facts, shape=replace(facts.shape, agents=facts.restore.manifest.agents))
    refuse_misfit(facts)
    return facts


def _without_done(steps: Sequence[Step], done: Collection[str]) -> list[Step]:
    """Steps that an earlier plan of this call has done are left out; but its guard must watch again."""
    found = []
    for step in steps:
        if step.until:
            until = tuple(name for name in step.until if name not in done)
            if until:
                found.append(replace(step, name=f"{step.name}, again" if step.name in done else step.name, until=until))
        elif step.name not in done:
            found.append(step)
    return found


def remember_complete(facts: Facts) -> None:
    """Store the id of the server with the marker, if this run found the marker and did not create it.

    It only saves the next run a query. Raises OSError, `LaunchError`.
    """
    from tasks.core.files import remembered, write_whole

    if facts.cluster.presence.to_create:
        return
    path, known = facts.paths.complete, facts.cluster.first
    if known is not None and remembered(path) == known.id:
        return
    state = cluster_state(facts.programs, facts.name)
    if state.first is not None and state.presence is Presence.RUNNING:
        write_whole(path, state.first.id + "\n")


def refuse_drift(facts: Facts) -> None:
    """Raises `Drifted`, with a list, for settings that k3d cannot change in place."""
    if not facts.cluster.presence.complete:
        return
    differs = differences(facts)
    if (lost := lost_servers(facts)) is not None:
        raise lost
    if differs:
        raise Drifted(
            f"the cluster '{facts.name}' was created with other settings",
            why="k3d cannot change in place: " + "; ".join(differs),
            fix="invoke up --recreate recreates it (its data is lost); or restore the settings",
        )


def refuse_unfit(session: Session, facts: Facts) -> None:
    """The checks of doctor that would stop a launch, if a cluster has to be created. Raises `Unfit`.

    They use facts that are known, or need no process.
    """
    if not facts.cluster.presence.to_create:
        return
    from tasks.checks.examine import brief, examine, problems
    from tasks.checks.finding import Unfit
    from tasks.facts.engine import engine
    from tasks.facts.programs import Versions, read_pins

    known = session.system
    reported = Versions(k3d=known.get("k3d"), kubectl=known.get("kubectl"), helm=known.get("helm"))
    minimum = read_pins(session.root).minimum
    host = facts.host or engine(facts.programs)
    found = problems(examine(brief(facts, host, reported=reported, minimum=minimum)))
    if found:
        raise Unfit(found)


def _roll_back(facts: Facts) -> None:
    """Remove what this run created: the cluster, if it did not exist before."""
    from tasks.engine.scheduler import Run
    from tasks.process.children import CHILDREN

    if not facts.cluster.presence.to_create:
        err(["--rollback: the cluster existed before this run, so it stays"])
        return
    try:
        steps = removal.steps(facts, removal.remains(facts))
    except LaunchError as error:  # this run created nothing of it
        err([f"--rollback: {error.what}"])
        return
    results = Run(steps, bounds(facts), stop_children=CHILDREN.stop).execute()
    bad = [result.name for result in results if result.state.value in ("failed", "aborted")]
    err([f"--rollback: not removed: {', '.join(bad)}"] if bad else ["--rollback: what this run created is removed"])
