"""One part of the launch alone: it does what is missing, and needs nothing but what it names."""

from __future__ import annotations

import contextlib

from tasks.facts.gather import require_running, survey
from tasks.k3d.ports import choosers
from tasks.run.launch import launch
from tasks.run.session import Session, bounds
from tasks.settings.step_names import NEEDS_CLUSTER

_READS = frozenset({"health", "prepull"})
"""Parts that change nothing in the cluster need no lock."""
_SHARED = frozenset({"prepull", "registry"})
"""Parts for all clusters of the engine."""


def part(session: Session, name: str) -> int:
    """Run one part. Raises `ClusterAbsent`, `ClusterStopped` where it needs a cluster that runs."""
    with contextlib.nullcontext() if name in _READS else session.locked():
        session.open_logs()
        session.ensure_programs()
        facts = survey(session, (name,), shared=name in _SHARED)
        if name in NEEDS_CLUSTER:
            require_running(facts)
        steps = launch(facts, (name,), choosers(facts))
        session.run(steps, bounds(facts), facts=facts, acts=name != "health")
    return 0
