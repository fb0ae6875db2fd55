"""`invoke rehearse`: `up` on the embedded engine, under other circumstances where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.run.session import Session


def rehearse(
    session: Session,
    *,
    time_scale: str,
    line: str,
    cores: str,
    no_cache: bool,
    timing: str,
    fault: Sequence[str],
    learn: Sequence[str],
    recreate: bool,
    rollback: bool,
) -> int:
    """Bring up a rehearsed environment; or, of recorded launches, `learn` how long things take.

    Raises what `up` raises, and `BadInput` for options.
    """
    from tasks.rehearsal.what_if import what_if
    from tasks.up import up

    if learn:
        from tasks.rehearsal.learning import learn as from_records

        return from_records(session, learn, timing)
    asked = what_if(cores=cores, line=line, no_cache=no_cache, time_scale=time_scale, timing=timing, faults=fault)
    assert session.rehearsal is not None  # the task's engine is `rehearsal`
    return up(replace(session, rehearsal=session.rehearsal.ask(asked)), recreate=recreate, rollback=rollback)
