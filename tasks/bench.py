"""`invoke bench`: repeated launches, compared; or two recorded results."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import FAILED, OK, BadInput, LaunchError
from tasks.core.files import write_whole
from tasks.core.lock import held
from tasks.core.paths import expanded, log_folder, run_name
from tasks.core.redact import redact
from tasks.run.task import task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.benchmark.compare import Comparison
    from tasks.benchmark.results import Measured, Results
    from tasks.benchmark.rounds import Rounds
    from tasks.benchmark.variants import Setting, Variant, Workspace
    from tasks.run.session import Session


@task(
    "profile",
    "set",
    "engine",
    help={
        "modes": "sequential, staged, graph, create; MODE:STATE for another state",
        "state": "warm, cold, second or noop",
        "runs": "rounds that are measured",
        "warmups": "rounds before, which are discarded",
        "against": "profile of A; B is the current one",
        "against_set": "setting of A; can be repeated",
        "before": "command before each launch, not timed",
        "rest": "seconds to measure the idle machine",
        "cluster": "name of its cluster; refused if it exists",
        "out": "folder for the results",
        "compare": "recorded results; used twice",
        "baseline": "recorded results to compare with",
        "fail_over": "fail above this, such as 10%",
        "script": "print a mode as a bash script",
        "purge": "remove what bench stores between runs",
        "cores": "with --engine rehearsal: simulate this number of CPUs",
        "line": "with --engine rehearsal: simulate this bandwidth",
        "timing": "with --engine rehearsal: times of config/rehearsal/NAME.yaml",
        "time_scale": "with --engine rehearsal: factor of all times",
    },
    values={
        "modes": "tasks.benchmark.variants:MODES",
        "script": "tasks.benchmark.variants:MODES",
        "state": "tasks.benchmark.variants:STATES",
        "against": "tasks.run.completion:profiles",
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
) -> int:
    """Launch repeatedly, and compare: modes, settings, or recorded results."""
    from tasks.benchmark.compare import between, inside, share
    from tasks.benchmark.results import read
    from tasks.benchmark.rounds import Rounds
    from tasks.benchmark.variants import Setting, variants_of, workspace_for

    limit = share(fail_over) if fail_over else None
    if compare:
        return _recorded(compare, limit)
    here = Setting(profile=session.options.profile, sets=session.options.sets)
    there = None
    if against or against_set:
        there = Setting(profile=against or here.profile, sets=tuple(against_set))
    if limit is not None and not baseline and there is None:
        raise BadInput(
            "--fail-over has nothing to compare with",
            why="it is a limit for what became slower",
            fix="add --baseline bench.json, or --against PROFILE, or --compare OLD.json --compare NEW.json",
        )
    usual = "sequential,staged,graph" if there is None and session.rehearsal is None else "graph"
    chosen = variants_of(modes or usual, state, here, there)
    _refuse_rehearsed(session, chosen)
    if script:
        return _script(session, script, here, cluster)
    if runs < 1 or warmups < 0:
        raise BadInput("--runs and --warmups are counts", why="at least one run is timed", fix="--runs 5 --warmups 1")
    earlier = read(baseline) if baseline else None
    conditions = {"cores": cores, "line": line, "timing": timing, "time_scale": time_scale}
    workspaces = {each.name: workspace_for(session, each.setting, cluster, conditions) for each in chosen}
    if purge:
        return _purge(workspaces)
    rounds = Rounds(
        variants=chosen,
        workspaces=workspaces,
        runs=runs,
        warmups=warmups,
        before=before,
        rest=rest if session.rehearsal is None else 0.0,
    )
    results, broken = _measure(session, rounds, cluster)
    comparisons = between(earlier, results) if earlier is not None else inside(results)
    _write(session, out, results, comparisons)
    if broken is not None:
        raise broken
    return _gate(comparisons, limit)


def _refuse_rehearsed(session: Session, chosen: Sequence[Variant]) -> None:
    """Raises `BadInput` for comparison modes on the embedded engine: it supports only what the tasks call."""
    modes = [each.mode for each in chosen if each.mode != "graph"]
    if session.rehearsal is not None and modes:
        raise BadInput(
            f"--modes {','.join(modes)} with --engine rehearsal",
            why="comparison modes use more of docker, k3d, kubectl and helm than the embedded engine supports",
            fix="--modes graph, or leave out --engine rehearsal",
        )


def _measure(session: Session, rounds: Rounds, cluster: str) -> tuple[Results, LaunchError | None]:
    """The measurements, and the error that ended them early, if any."""
    from tasks.benchmark import report as view
    from tasks.benchmark.results import Measured
    from tasks.benchmark.rounds import Clock, refuse_existing, refuse_shared, remove_cluster
    from tasks.view.console import out

    workspaces = rounds.workspaces
    clock, runs, trials = Clock(), list[Measured](), list(rounds.trials())
    lock = next(iter(workspaces.values())).folder.parent / f"{cluster}.lock"
    if session.note:
        out([session.note])
        session.noted = True
    with held(lock, "bench", 0.0):
        for each in workspaces.values():
            refuse_shared(each)
            each.session.ensure_programs()
            refuse_existing(each)
        try:
            for at, trial in enumerate(trials):
                out([view.beginning(trial, clock.left(trials[at:]))])
                begin = time.monotonic()
                try:
                    run = rounds.run(trial)
                except LaunchError as error:
                    if not any(each.round >= 0 for each in runs):
                        raise
                    return _results(session, rounds, runs), error  # keep what was measured
                clock.add(trial.variant.name, time.monotonic() - begin)
                runs.append(run)
                out([view.ended(trial, run)])
        finally:
            for each in workspaces.values():
                remove_cluster(each)
    return _results(session, rounds, runs), None


def _results(session: Session, rounds: Rounds, runs: Sequence[Measured]) -> Results:
    from tasks.benchmark.results import Results, described, with_rest

    workspaces = rounds.workspaces
    return Results(
        started=session.started.isoformat(timespec="seconds").replace("+00:00", "Z"),
        engine=session.options.engine,
        system=next(iter(workspaces.values())).session.system,
        variants=tuple(
            described(each, workspaces[each.name].session.resolved.settings_hash) for each in rounds.variants
        ),
        runs=with_rest(runs),
    )


def _write(session: Session, folder_name: str, results: Results, comparisons: Sequence[Comparison]) -> None:
    """Show the tables, and write JSON, Markdown and the plot. Raises `LaunchError`."""
    from tasks.benchmark import report as view
    from tasks.benchmark.results import write
    from tasks.view.console import out, width_of

    out(["", *view.text(results, comparisons, width=width_of(sys.stdout)), ""])
    if folder_name:
        folder = expanded(folder_name).absolute()
    else:
        folder = log_folder(Path(session.settings.log_dir)) / "bench-results" / run_name("bench", session.started)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(results, folder / "bench.json")
        write_whole(folder / "bench.md", redact(view.markdown(results, comparisons)))
        drawn = view.plot(results, folder)
    except OSError as error:
        raise LaunchError(
            f"the results cannot be written to {folder}",
            why=error.strerror or str(error),
            fix="choose another folder: --out FOLDER",
        ) from None
    lines = [f"results {folder / name}" for name in ("bench.json", "bench.md", *drawn)]
    out(lines if drawn else [*lines, "no plot: it needs matplotlib, which `make bench` installs"])


def _recorded(compare: Sequence[str], limit: float | None) -> int:
    from tasks.benchmark import report as view
    from tasks.benchmark.compare import between
    from tasks.benchmark.results import read
    from tasks.view.console import out, width_of

    paths = [part for each in compare for part in each.split(",") if part]
    if len(paths) != 2:
        raise BadInput(
            f"--compare names {len(paths)} results",
            why="exactly two are compared: before and now",
            fix="--compare OLD.json --compare NEW.json",
        )
    before, now = (read(each) for each in paths)
    comparisons = between(before, now)
    out(view.text(now, comparisons, width=width_of(sys.stdout)))
    return _gate(comparisons, limit)


def _gate(comparisons: Sequence[Comparison], limit: float | None) -> int:
    """Raises `LaunchError` if something became slower by more than the limit."""
    from tasks.benchmark.compare import exceeding

    bad = exceeding(comparisons, limit) if limit is not None else ()
    if not bad:
        return OK
    from tasks.run.finish import show_error

    for each in bad:
        named = [f"{name} ({before:.1f} → {now:.1f} s)" for name, before, now in each.slower]
        show_error(
            LaunchError(
                f"{each.other} takes {each.wall.mid - 1:.0%} longer than {each.one} (limit {limit:.0%})",
                why="on the critical path: " + ("; ".join(named) or "no single step stands out"),
                fix="`invoke report` of both launches shows where the time went",
            )
        )
    return FAILED


def _script(session: Session, mode: str, setting: Setting, cluster: str) -> int:
    from tasks.benchmark.commands import script
    from tasks.benchmark.rounds import gather_facts, staged
    from tasks.benchmark.variants import Variant, workspace_for
    from tasks.view.console import out

    if mode not in ("sequential", "staged", "create"):
        raise BadInput(
            f"--script is '{mode}'",
            why="only the modes sequential, staged and create are scripts",
            fix="use one of them",
        )
    there = workspace_for(session, setting, cluster)
    variant = Variant(name=mode, mode=mode, setting=setting)
    out(script(staged(there, variant, gather_facts(there)), there.environ, together=mode == "staged"))
    return OK


def _purge(workspaces: dict[str, Workspace]) -> int:
    import shutil

    from tasks.benchmark.rounds import refuse_existing, remove_caches

    for each in workspaces.values():
        refuse_existing(each)
        remove_caches(each)
        shutil.rmtree(each.folder, ignore_errors=True)
    return OK
