"""`invoke logs`: output of a run's failed steps; with `--export`, everything needed to find a cause elsewhere.

Modelled on `kind export logs` and `minikube logs`. An export needs nothing to work: what cannot be read is listed
in its index, and is no failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import LaunchError
from tasks.core.paths import expanded
from tasks.core.units import count
from tasks.engine.step import Bounds, Context, Report, Step
from tasks.run.task import task

if TYPE_CHECKING:
    from tasks.engine.record import RunRecord
    from tasks.run.export import ClusterDump, Export
    from tasks.run.session import Session
    from tasks.runs.catalogue import Recorded

    Run = tuple[Recorded, RunRecord]

TASK = "logs"
OBJECTS = "logs: objects"
_AT_ONCE = 8
_DEADLINE = 90.0
"""Seconds for one step: a part of a large cluster is better than nothing."""
_TAIL = 20
"""Lines of a failed step's log that are shown."""
_PAGE = 16_000_000


@task(
    "profile",
    "set",
    "engine",
    "context",
    help={
        "export": "write logs, objects, events and the run's record into this new or empty folder",
        "run": "latest, a task, a run's name or prefix, or a path",
    },
    values={"run": "tasks.run.completion:runs"},
)
def logs(session: Session, export: str = "", run: str = "") -> int:
    """Show the output of failed steps, or export everything needed to find a failure's cause."""
    from tasks.runs.catalogue import find, read

    log_dir = Path(session.settings.log_dir)
    if not export:
        session.show_note()
        return _show(find(log_dir, run))
    try:
        found = find(log_dir, run)
        recorded = (found, read(found))
    except LaunchError:
        if run:
            raise
        recorded = None
    return _export(session, expanded(export).absolute(), recorded)


def _show(found: Recorded) -> int:
    """The failed steps of a run with the end of their logs, and the location of the other logs."""
    from tasks.runs.catalogue import logs_of, read
    from tasks.view.console import out

    record = read(found)
    of = logs_of(found, record)
    lines = [f"{record.name}: {record.outcome}"]
    for row in record.failed:
        message = of[row.name].lines[-_TAIL:] if row.name in of else ()
        lines += ["", f"{row.name}: {row.why}", *(f"  {text}" for text in message)]
    lines += ["", f"logs of its steps: {found.logs}", "logs of nodes and pods: invoke logs --export DIR"]
    out(lines)
    return 0


def _export(session: Session, folder: Path, run: Run | None) -> int:
    from tasks.run.export import ClusterDump, Export
    from tasks.view.console import out

    export = Export(folder)
    session.open_logs()
    cluster = ClusterDump.begin(session, export)
    session.run(steps(session, export, cluster, run), Bounds(work=_AT_ONCE), acts=False)
    _index(session, export, cluster, run)
    out([f"{count(export.files, 'file')}, {export.bytes / 1e6:.1f} MB; begin with {folder / 'index.txt'}"])
    return 0


def steps(session: Session, export: Export, cluster: ClusterDump | None, run: Run | None) -> list[Step]:
    """All exports, concurrently; objects first, since their secrets are masked in everything else."""
    actions: dict[str, Callable[[Context], object]] = {
        "settings and versions": partial(_machine, session, export, cluster),
        "doctor": partial(_doctor, session, export),
    }
    if run is not None:
        actions["run"] = partial(_run, export, *run)
    if cluster is not None:
        for node in cluster.facts.cluster.nodes:
            actions[f"node {node.name}"] = partial(cluster.write_node, node)
        for name, registry in cluster.facts.registries.items():
            if registry.ours:
                actions[f"registry {name}"] = partial(cluster.write_container, name, f"registries/{name}.log")
    if cluster is None or cluster.api is None:
        return [_step(f"{TASK}: {name}", action) for name, action in actions.items()]
    actions["events"] = cluster.write_events
    if session.rehearsal is None:
        actions["describe nodes"] = partial(cluster.describe, "nodes", "", "nodes/describe.txt")
        for name in cluster.namespaces:
            actions[f"pods in {name}"] = partial(cluster.write_pods, name)
    later = [_step(f"{TASK}: {name}", action, OBJECTS) for name, action in actions.items()]
    return [_step(OBJECTS, cluster.write_objects), *later]


def _step(name: str, action: Callable[[Context], object], *needs: str) -> Step:
    def act(context: Context) -> Report | None:
        action(context)
        return None

    return Step(name=name, task=TASK, action=act, needs=needs, deadline=_DEADLINE)


def _machine(session: Session, export: Export, cluster: ClusterDump | None, _context: Context) -> None:
    import platform

    from tasks.facts.engine import ASK
    from tasks.facts.programs import versions
    from tasks.settings.merge import as_rows
    from tasks.view.console import table

    rows = table(as_rows(session.resolved, ""), head=("setting", "value", "set by"))
    export.write("settings.txt", "\n".join(rows) + "\n")
    programs = session.programs()
    about: dict[str, Any] = {"python": platform.python_version(), "system": platform.platform()}
    about |= vars(versions(programs, session.state))
    if cluster is not None and cluster.api is not None:
        with export.collecting("/version"):
            about["kubernetes"] = cluster.api.get("/version")
    export.json("versions.json", about)
    if session.options.owns_cluster:
        with export.collecting("docker info"):
            export.write("docker-info.json", programs.run(ASK, quiet=True).out)


def _doctor(session: Session, export: Export, _context: Context) -> None:
    from tasks.checks.examine import examine
    from tasks.checks.finding import as_lines
    from tasks.doctor import host_facts

    with export.collecting("doctor"):
        lines = as_lines(examine(host_facts(session)), ())
        export.write("doctor.txt", "".join(f"{each}\n" for each in lines))


def _run(export: Export, found: Recorded, record: RunRecord, _context: Context) -> None:
    """The record, its report as text and page, and the logs of its steps."""
    from tasks.run.export import read_end
    from tasks.runs.catalogue import logs_of
    from tasks.runs.page import html
    from tasks.runs.text import text

    of = logs_of(found, record)
    export.json("run/record.json", record.as_json(str))
    export.write("run/report.html", html(record, of), _PAGE)
    export.write("run/report.txt", "".join(f"{each}\n" for each in text(record, of)))
    for log in of.values():
        export.write(f"run/steps/{Path(log.path).name}", read_end(Path(log.path)))


_OVERVIEW = """\
settings.txt, versions.json, docker-info.json, doctor.txt: effective settings, programs, engine, checks
run/: record, report (text and page) and steps' logs of the run
nodes/, registries/: logs and states of containers on the engine; descriptions of nodes
objects/, events.txt: objects of the API, without values of Secrets
pods/: descriptions and logs, also of containers that have ended (.previous.log)
Values of Secrets, and anything named or assigned like one, are masked as ***.
"""


def _index(session: Session, export: Export, cluster: ClusterDump | None, run: Run | None) -> None:
    """What is wrong, from the run and the catalogue of causes; then what is missing, and an overview."""
    parts = {"The run": list(_outcome(run))}
    if cluster is not None:
        parts["Nodes"] = list(cluster.broken_nodes())
        parts["Pods that are not ready"] = list(cluster.unready_pods())
        parts["The newest warnings"] = cluster.warnings()
    parts |= {"Not collected": list(dict.fromkeys(export.missing)), "What is where": _OVERVIEW.splitlines()}
    head = [session.note] if session.note else []
    head.append(f"{session.name}, engine {session.options.engine}, {session.started:%Y-%m-%d %H:%M:%S} UTC")
    for title, lines in parts.items():
        head += ["", title, *(f"  {each}" for each in lines)] if lines else []
    export.write("index.txt", "".join(f"{each}\n" for each in head))


def _outcome(run: Run | None) -> Iterator[str]:
    """Of each failed step: its record, the known cause in its log, or else the end of the log."""
    from tasks.diagnose.rules import catalogue, clean, recognise
    from tasks.runs.catalogue import logs_of

    if run is None:
        yield "none is recorded: if one was refused before it started, see its own output and doctor.txt"
        return
    found, record = run
    of = logs_of(found, record)
    yield f"{record.name}: {record.outcome}"
    for row in record.failed:
        yield f"{row.name}: {row.why}"
        lines = of[row.name].lines if row.name in of else ()
        cause = recognise(catalogue(), clean("\n".join(lines)), code=row.exit_code)
        yield from [f"  why: {cause.reason}", f"  do:  {cause.fix}"] if cause else [f"  {each}" for each in lines[-5:]]
