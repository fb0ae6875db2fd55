"""`invoke rehearse`: `up` on the embedded engine, under other conditions where options name them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.run.task import task
from tasks.up import launch

if TYPE_CHECKING:
    from tasks.run.session import Session


@task(
    "profile",
    "set",
    "keep_going",
    "wait_lock",
    engine="rehearsal",
    help={
        "time_scale": "factor of all times: 1 as recorded, 0 without waiting",
        "line": "simulate this bandwidth, such as 20Mbit",
        "cores": "simulate this number of CPUs",
        "no_cache": "simulate without any cached image",
        "timing": "times of config/rehearsal/NAME.yaml (default: default)",
        "learn": "create the times of --timing from this recorded run of `up`; can be repeated",
        "fault": "inject a failure: NAME[=TARGET][,after=S][,times=N]; can be repeated",
        "recreate": "recreate the rehearsed cluster",
        "rollback": "if it fails, remove what this run created",
    },
    values={"fault": "tasks.rehearsal.faults:NAMES", "learn": "tasks.run.completion:runs"},
)
def rehearse(
    session: Session,
    time_scale: str = "",
    line: str = "",
    cores: str = "",
    no_cache: bool = False,
    timing: str = "",
    fault: list[str] = [],  # noqa: B006 - invoke asks for a list
    learn: list[str] = [],  # noqa: B006
    recreate: bool = False,
    rollback: bool = False,
) -> int:
    """Rehearse `up` without Docker and network, with times of real launches."""
    from tasks.rehearsal.what_if import what_if

    if learn:
        from tasks.rehearsal.learning import learn as learn_times

        return learn_times(session, learn, timing)
    conditions = what_if(cores=cores, line=line, no_cache=no_cache, time_scale=time_scale, timing=timing, faults=fault)
    assert session.rehearsal is not None  # the task's engine is `rehearsal`
    return launch(replace(session, rehearsal=session.rehearsal.under(conditions)), recreate=recreate, rollback=rollback)
