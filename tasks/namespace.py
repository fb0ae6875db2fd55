"""All tasks, as invoke shows them. Each is thin: what it does stands in the room that its name says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.collection import Collection

from tasks.door import ROOT, door

if TYPE_CHECKING:
    from tasks.session import Session


@door(
    help={
        "recreate": "make the cluster anew where k3d cannot change it in place",
        "rollback": "if it fails, remove what this run made",
    }
)
def up(session: Session, recreate: bool = False, rollback: bool = False) -> int | None:
    """Bring up the whole environment: only what is missing or changed."""
    from tasks.up import up as act

    return act(session, recreate=recreate, rollback=rollback)


@door(
    help={
        "stop": "only stop the nodes",
        "purge": "also remove the registries and their caches",
        "yes": "with --engine existing: do not ask",
    }
)
def down(session: Session, stop: bool = False, purge: bool = False, yes: bool = False) -> int | None:
    """Delete this cluster and what was made for it; caches stay."""
    from tasks.down import down as act

    return act(session, stop=stop, purge=purge, yes=yes)


@door(
    "profile",
    "set",
    "engine",
    "context",
    help={
        "format": "text, json, mermaid or dot",
        "recreate": "as `up --recreate` would do",
        "line": "expected on a line of this rate, such as 20Mbit",
        "cores": "expected on so many processors",
        "no_cache": "expected if no image were there yet",
        "timing": "expected by the times of config/rehearsal/NAME.yaml",
    },
)
def plan(
    session: Session,
    format: str = "text",  # noqa: A002 - the option's name
    recreate: bool = False,
    line: str = "",
    cores: str = "",
    no_cache: bool = False,
    timing: str = "",
) -> int | None:
    """Show what `up` would do, step by step, and why. Changes nothing."""
    from tasks.planning import show

    return show(session, form=format, recreate=recreate, line=line, cores=cores, no_cache=no_cache, timing=timing)


@door("profile", "set", "engine", "context", help={"format": "text or json"})
def status(session: Session, format: str = "text") -> int | None:  # noqa: A002 - the option's name
    """Compare what stands with what is configured; the exit code tells."""
    from tasks.status import status as act

    return act(session, form=format)


@door("profile", "set", "engine", "context", help={"fix": "run the fixes that are safe", "format": "text or json"})
def doctor(session: Session, fix: bool = False, format: str = "text") -> int | None:  # noqa: A002 - the option's name
    """Check the machine, the engine and the programs before anything starts."""
    from tasks.doctor import doctor as act

    return act(session, fix=fix, form=format)


@door("profile", "set", "engine", "keep_going")
def prepull(session: Session) -> int | None:
    """Pull the images that the engine will ask for, at the same time."""
    from tasks.parts import part

    return part(session, "prepull")


@door(
    "profile",
    "set",
    "engine",
    "keep_going",
    "wait_lock",
    help={"purge": "remove the registries with all that they keep", "status": "size and hit rate of each"},
)
def registry(session: Session, purge: bool = False, status: bool = False) -> int | None:
    """Start the push registry and the pull-through caches."""
    from tasks.registries import registries as act

    return act(session, purge=purge, status=status)


@door(
    "profile",
    "set",
    "engine",
    "keep_going",
    "wait_lock",
    help={"recreate": "make it anew where k3d cannot change it in place"},
)
def cluster(session: Session, recreate: bool = False) -> int | None:
    """Create or start the k3d cluster, with the images and registries that it needs."""
    from tasks.up import cluster as act

    return act(session, recreate=recreate)


@door()
def namespaces(session: Session) -> int | None:
    """Create all namespaces at once."""
    from tasks.parts import part

    return part(session, "namespaces")


@door()
def secrets(session: Session) -> int | None:
    """Put each secret into each of its namespaces."""
    from tasks.parts import part

    return part(session, "secrets")


@door()
def manifests(session: Session) -> int | None:
    """Apply the base resources and your own manifests."""
    from tasks.parts import part

    return part(session, "manifests")


@door()
def helm(session: Session) -> int | None:
    """Install or upgrade the releases by their needs, and wait until they are ready."""
    from tasks.parts import part

    return part(session, "helm")


@door("profile", "set", "engine", "context")
def health(session: Session) -> int | None:
    """Ask the API's endpoints, nodes, system and base services until all are well."""
    from tasks.parts import part

    return part(session, "health")


@door("profile", "set", help={"undo": "give the file back as it was"})
def docker_tune(session: Session, undo: bool = False) -> int | None:
    """Merge parallel downloads and a mirror of Docker Hub into Docker's daemon.json."""
    from tasks.docker_tune import docker_tune as act

    return act(session, undo=undo)


@door(
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
        recreate=recreate,
        rollback=rollback,
    )


@door(
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
    from tasks.report.task import Wanted
    from tasks.report.task import report as act

    return act(session, Wanted(run=run, against=against, html=html, trace=trace, form=format), history=history)


@door("profile", "set", help={"format": "text or json", "only": "only paths that begin with this"})
def config(session: Session, format: str = "text", only: str = "") -> int | None:  # noqa: A002 - the option's name
    """Show the configuration in force, and which layer set each value."""
    from tasks.showing import configuration

    return configuration(session, form=format, only=only)


@door(
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
) -> int | None:
    """Launch again and again, and compare: modes, settings, or recorded results."""
    from tasks.bench.task import Wanted
    from tasks.bench.task import bench as act

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
    )
    return act(session, wanted)


def _collection() -> Collection:
    """The namespace; a broken invoke.yaml is told here, since invoke itself would show a traceback."""
    made = Collection()
    for each in (
        up,
        down,
        plan,
        status,
        doctor,
        prepull,
        registry,
        cluster,
        namespaces,
        secrets,
        manifests,
        helm,
        health,
        docker_tune,
        rehearse,
        report,
        bench,
        config,
    ):
        made.add_task(each)
    made.configure({"run": {"echo": False}})
    return made


def _check_file() -> None:
    """The one effect of this import: invoke reads invoke.yaml next, and a broken one is a traceback of its own."""
    if not (ROOT / "invoke.yaml").exists():
        return
    import os
    import sys

    from tasks.errors import LaunchError
    from tasks.settings.door import check_invoke_yaml

    try:
        check_invoke_yaml(ROOT, os.environ)
    except LaunchError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.status) from None


_check_file()
ns = _collection()
