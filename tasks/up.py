"""The whole launch, and the cluster alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tasks import removal
from tasks.cluster import plan as cluster_plan
from tasks.cluster.config import changed
from tasks.engine.step import Result, Step
from tasks.errors import Drifted
from tasks.facts.standing import Presence
from tasks.launch import NEEDS_CLUSTER, PARTS, bounds, launch
from tasks.lock import held
from tasks.session import Ended, Session
from tasks.situation import Situation
from tasks.survey import choosers, survey, with_live

_LONG = 86400.0


def up(session: Session, *, recreate: bool, rollback: bool) -> int:
    """Everything: on an existing cluster only what is missing or changed, a stopped one is started."""
    return _bring(session, parts_of(session), recreate=recreate, rollback=rollback)


def cluster(session: Session, *, recreate: bool) -> int:
    """The cluster, with the images and registries without which it cannot be made."""
    return _bring(session, ("prepull", "registry", "cluster"), recreate=recreate, rollback=False)


def parts_of(session: Session) -> tuple[str, ...]:
    """All parts; on a cluster of somebody else those that work inside it."""
    if session.options.engine == "existing":
        return tuple(part for part in PARTS if part in NEEDS_CLUSTER)
    return PARTS


@contextlib.contextmanager
def locked(session: Session) -> Iterator[None]:
    """Hold this cluster for this run alone. Raises `Held`."""
    with held(session.lock, session.options.task, _LONG if session.options.wait_lock else 0.0):
        yield


def _bring(session: Session, parts: Sequence[str], *, recreate: bool, rollback: bool) -> int:
    with locked(session):
        session.open_logs()
        ensure_programs(session)
        situation = survey(session, parts)
        if situation.engine == "existing":
            steps = launch(situation, parts, choosers(situation))
            session.run(steps, bounds(situation), situation=situation)
            return 0
        before: list[Step] = []
        if recreate and situation.standing.nodes:
            before = removal.steps(situation, removal.remains(situation))
            situation = replace(
                situation, standing=replace(situation.standing, presence=Presence.ABSENT, nodes=()), live=None
            )
        else:
            refuse_drift(situation)
        check(session, situation)
        try:
            _run(session, situation, parts, before)
        except Ended:
            if rollback:
                _roll_back(situation)
            raise
    return 0


def _run(session: Session, situation: Situation, parts: Sequence[str], before: list[Step]) -> None:
    """A cluster that was stopped is started first: what it lacks shows only when it runs."""
    earlier: tuple[Sequence[Step], Sequence[Result]] = ((), ())
    if situation.standing.presence is Presence.STOPPED:
        first = launch(situation, ("prepull", "registry", "cluster"), choosers(situation))
        first = [step for step in first if not step.name.startswith("cluster: CPU limit")]
        results = session.run(first, bounds(situation), situation=situation, launch=True, last=False)
        earlier = (first, results)
        remember_complete(situation)
        situation = with_live(_standing_again(situation), parts)
        parts = tuple(part for part in parts if part not in ("prepull", "registry"))
    steps = launch(situation, parts, choosers(situation))
    if before:
        steps = removal.before(before, steps)
    done = {step.name for step in earlier[0]}
    steps = [step for step in steps if step.name not in done]
    session.run(steps, bounds(situation), situation=situation, launch=True, earlier=earlier)
    remember_complete(situation)


def _standing_again(situation: Situation) -> Situation:
    from tasks.facts.standing import standing

    stands = standing(situation.programs, situation.name)
    return replace(situation, standing=stands)


def remember_complete(situation: Situation) -> None:
    """Keep the id of the server that carries the marker: the next run need not ask for it."""
    from tasks.engine.folder import write_whole
    from tasks.facts.standing import standing

    known = situation.standing.first
    if known is not None and situation.folders.complete.exists():
        return
    stands = standing(situation.programs, situation.name)
    if stands.first is not None and stands.presence is Presence.RUNNING:
        write_whole(situation.folders.complete, stands.first.id + "\n")


def refuse_drift(situation: Situation) -> None:
    """What k3d cannot change in place stops `up`, with the list. Raises `Drifted`."""
    if situation.standing.presence not in (Presence.RUNNING, Presence.STOPPED):
        return
    differs = changed(situation.settings, situation.shape, situation.standing.label)
    if differs:
        raise Drifted(
            f"the cluster '{situation.name}' was made with other settings",
            why="k3d cannot change in place: " + "; ".join(differs),
            fix="invoke up --recreate makes it anew (what is in it is lost); or set them back",
        )


def check(session: Session, situation: Situation) -> None:
    """Those checks of doctor that would stop a launch; none where a cluster runs already."""
    from tasks.doctor import stop_launch

    if situation.standing.presence in (Presence.ABSENT, Presence.INCOMPLETE):
        stop_launch(session, situation)


def ensure_programs(session: Session) -> None:
    """Fetch k3d, kubectl and helm into the project's folder where they are missing or too old."""
    from tasks.engine.step import Bounds
    from tasks.fetching import fetch_plan

    steps = fetch_plan(session)
    if any(step.skip is None for step in steps):
        session.run(steps, Bounds(work=3), acts=False, last=False)


def _roll_back(situation: Situation) -> None:
    """Remove what this run made: the cluster, if it was not there before."""
    from tasks.engine.scheduler import Run
    from tasks.view.output import err

    if situation.standing.presence is not Presence.ABSENT:
        err(["--rollback: the cluster was there before this run, so it stays"])
        return
    found = removal.remains(situation)
    results = Run(removal.steps(situation, found), bounds(situation)).execute()
    bad = [result.name for result in results if result.state.value in ("failed", "aborted")]
    err([f"--rollback: not removed: {', '.join(bad)}"] if bad else ["--rollback: what this run made is removed"])


CREATE = cluster_plan.CREATE
