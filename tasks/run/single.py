"""A task that does one part of a launch: what is missing of it, and nothing but what it names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tasks.engine.graph import fitted
from tasks.engine.step import Step
from tasks.facts.facts import Facts
from tasks.run.gather import gather, require_running
from tasks.run.session import Session, bounds
from tasks.settings.step_names import NEEDS_CLUSTER


def run_part(
    session: Session,
    part: str,
    plan: Callable[[Facts], list[Step]],
    *,
    lock: bool = True,
    shared: bool = False,
    acts: bool = True,
) -> int:
    """Run one part; a need that is not in its plan is met already.

    `lock`: it changes the cluster. `shared`: it is about what all clusters of the engine share. `acts`: its record
    becomes latest.json. Raises `ClusterAbsent`, `ClusterStopped` where it needs a cluster that runs.
    """
    with session.locked() if lock else contextlib.nullcontext():
        session.open_logs()
        session.ensure_programs()
        facts = gather(session, (part,), refuse=not shared)
        if part in NEEDS_CLUSTER:
            require_running(facts)
        session.run(fitted(plan(facts)), bounds(facts), facts=facts, acts=acts)
    return 0
