"""Tasks around a launch: Docker itself, rehearsals, reports, comparisons, the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.run.task import task

if TYPE_CHECKING:
    from tasks.run.session import Session


@task("profile", "set", help={"undo": "give the file back as it was"})
def docker_tune(session: Session, undo: bool = False) -> int | None:
    """Merge parallel downloads and a mirror of Docker Hub into Docker's daemon.json."""
    from tasks.docker_tune import docker_tune as act

    return act(session, undo=undo)


@task(
    "profile",
    "set",
    "keep_going",
    "wait_lock",
    engine="rehearsal",
    help={
        "time_scale": "factor of all times: 1 as recorded, 0 without any waiting",
        "line": "as on a line of this rate, such as 20Mbit",
        "cores": "as on so many processors",
        "no_cache": "as if no image were there yet",
        "timing": "times of config/rehearsal/NAME.yaml (default: default)",
        "learn": "make the times of --timing from this recorded run of `up`; can be given again",
        "fault": "what is to fail: NAME[=TARGET][,after=S][,times=N]; can be given again",
        "recreate": "make the rehearsed cluster anew",
        "rollback": "if it fails, remove what this run made",
    },
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
) -> int | None:
    """Rehearse `up` without Docker and network: stand-ins, with times of real launches."""
    from tasks.rehearse import rehearse as act

    return act(
        session,
        time_scale=time_scale,
        line=line,
        cores=cores,
        no_cache=no_cache,
        timing=timing,
        fault=fault,
        learn=learn,
        recreate=recreate,
        rollback=rollback,
    )


@task(
    "profile",
    "set",
    help={
        "run": "latest, a task, a run's name or its beginning, or a path; with --history a task",
        "against": "hold it against that run; previous: the launch before it",
        "html": "write the page to this file or folder (default: next to the record)",
        "trace": "write a trace for Perfetto to this file or folder",
        "history": "totals of all runs over time instead",
        "format": "text or json",
    },
)
def report(
    session: Session,
    run: str = "",
    against: str = "",
    html: str = "",
    trace: str = "",
    history: bool = False,
    format: str = "text",  # noqa: A002 - the option's name
) -> int | None:
    """Show where a run's time went: as text, page and trace, or against another run."""
    from tasks.report import Wanted
    from tasks.report import report as act

    return act(session, Wanted(run=run, against=against, html=html, trace=trace, form=format), history=history)


@task(
    "profile",
    "set",
    "engine",
    help={
        "modes": "sequential, staged, graph, create; MODE:STATE for another state",
        "state": "warm, cold, second or noop",
        "runs": "rounds that count",
        "warmups": "rounds before, which are dropped",
        "against": "profile of A; B is the one in force",
        "against_set": "setting of A; can be given again",
        "before": "command before each launch, not timed",
        "rest": "seconds that the machine is watched at rest",
        "cluster": "name of its cluster; refused if it exists",
        "out": "folder for the results",
        "compare": "recorded results; given twice",
        "baseline": "recorded results to hold this against",
        "fail_over": "fail above this, such as 10%",
        "script": "print a mode as a bash script",
        "purge": "remove what bench keeps between runs",
        "cores": "with --engine rehearsal: as on so many processors",
        "line": "with --engine rehearsal: as on a line of this rate",
        "timing": "with --engine rehearsal: times of config/rehearsal/NAME.yaml",
        "time_scale": "with --engine rehearsal: factor of all times",
    },
)
def bench(
    session: Session,
    modes: str = "",
    state: str = "warm",
    runs: int = 5,
    warmups: int = 1,
    against: str = "",
    against_set: list[str] = [],  # noqa: B006 - invoke asks for a list
    before: str = "",
    rest: float = 2.0,
    cluster: str = "openframe-bench",
    out: str = "",
    compare: list[str] = [],  # noqa: B006
    baseline: str = "",
    fail_over: str = "",
    script: str = "",
    purge: bool = False,
    cores: str = "",
    line: str = "",
    timing: str = "",
    time_scale: str = "",
) -> int | None:
    """Launch again and again, and compare: modes, settings, or recorded results."""
    from tasks.bench import Wanted
    from tasks.bench import bench as act

    wanted = Wanted(
        modes=modes,
        state=state,
        runs=runs,
        warmups=warmups,
        against=against,
        against_set=tuple(against_set),
        before=before,
        rest=rest,
        cluster=cluster,
        out=out,
        compare=tuple(compare),
        baseline=baseline,
        fail_over=fail_over,
        script=script,
        purge=purge,
        cores=cores,
        line=line,
        timing=timing,
        time_scale=time_scale,
    )
    return act(session, wanted)


@task("profile", "set", help={"format": "text or json", "only": "only paths that begin with this"})
def config(session: Session, format: str = "text", only: str = "") -> int | None:  # noqa: A002 - the option's name
    """Show the configuration in force, and which layer set each value."""
    from tasks.config import configuration

    return configuration(session, form=format, only=only)
