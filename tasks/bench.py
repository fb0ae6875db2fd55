"""`invoke bench`: launches again and again, compared; or two recorded results."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.benchmark.compare import Comparison, between, exceeding, inside, share
from tasks.benchmark.results import Measured, Results, described, read, with_rest, write
from tasks.benchmark.variants import CLUSTER, Place, Rival, Setting, place, rivals
from tasks.core.errors import FAILED, OK, BadInput, LaunchError
from tasks.core.redact import redact

if TYPE_CHECKING:
    from tasks.run.session import Session


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was asked for; empty: nothing of that kind."""

    modes: str = ""
    state: str = "warm"
    runs: int = 5
    warmups: int = 1
    against: str = ""
    """The profile of A; B is what `--profile` and `--set` say."""
    against_set: tuple[str, ...] = ()
    """Settings of A."""
    before: str = ""
    rest: float = 2.0
    cluster: str = CLUSTER
    out: str = ""
    """The folder for the results."""
    compare: tuple[str, ...] = ()
    """Two recorded results: before, and now."""
    baseline: str = ""
    """Recorded results that new ones are held against."""
    fail_over: str = ""
    script: str = ""
    """Print the bash script of this mode."""
    purge: bool = False
    """Remove what bench keeps between launches."""
    cores: str = ""
    """On the embedded engine: as on so many processors; `line`, `timing` and `time_scale` likewise."""
    line: str = ""
    timing: str = ""
    time_scale: str = ""

    @property
    def circumstances(self) -> dict[str, str]:
        """What `rehearse` takes for options of the same names."""
        return {"cores": self.cores, "line": self.line, "timing": self.timing, "time_scale": self.time_scale}


def bench(session: Session, wanted: Wanted) -> int:
    """Measure, show, keep; the exit code is that of the gate, where one was asked for. Raises `LaunchError`."""
    limit = share(wanted.fail_over) if wanted.fail_over else None
    if wanted.compare:
        return _recorded(wanted, limit)
    here = Setting(profile=session.options.profile, sets=session.options.sets)
    there = None
    if wanted.against or wanted.against_set:
        there = Setting(profile=wanted.against or here.profile, sets=wanted.against_set)
    if limit is not None and not wanted.baseline and there is None:
        raise BadInput(
            "--fail-over has nothing to compare with",
            why="it is about what became slower than before",
            fix="add --baseline bench.json, or --against PROFILE, or --compare OLD.json --compare NEW.json",
        )
    chosen = rivals(wanted.modes or _modes(there), wanted.state, here, there)
    if wanted.script:
        return _script(session, wanted, here)
    if wanted.runs < 1 or wanted.warmups < 0:
        raise BadInput("--runs and --warmups are counts", why="at least one run is timed", fix="--runs 5 --warmups 1")
    before = read(Path(wanted.baseline)) if wanted.baseline else None
    places = {each.name: place(session, each.setting, wanted.cluster, wanted.circumstances) for each in chosen}
    if wanted.purge:
        return _purge(places)
    results, broken = _measure(session, wanted, chosen, places)
    comparisons = between(before, results) if before is not None else inside(results)
    _keep(session, wanted, results, comparisons)
    if broken is not None:
        raise broken
    return _gate(comparisons, limit)


def _modes(there: Setting | None) -> str:
    return "sequential,staged,graph" if there is None else "graph"


def _measure(
    session: Session, wanted: Wanted, chosen: Sequence[Rival], places: dict[str, Place]
) -> tuple[Results, LaunchError | None]:
    """What was measured, and what ended it early."""
    from tasks.benchmark.rounds import Clock, Rounds, refuse_existing, remove_cluster
    from tasks.core.lock import held
    from tasks.view import bench as view
    from tasks.view.console import out

    rounds = Rounds(
        rivals=chosen,
        places=places,
        runs=wanted.runs,
        warmups=wanted.warmups,
        before=wanted.before,
        rest=wanted.rest if session.rehearsal is None else 0.0,
    )
    clock, runs, turns = Clock(), list[Measured](), list(rounds.turns())
    lock = next(iter(places.values())).folder.parent / f"{wanted.cluster}.lock"
    if session.note:
        out([session.note])
        session.noted = True
    with held(lock, "bench", 0.0):
        for each in places.values():
            each.session.ensure_programs()
            refuse_existing(each)
        try:
            for at, turn in enumerate(turns):
                out([view.beginning(turn, clock.left(turns[at:]))])
                begin = time.monotonic()
                try:
                    run = rounds.take(turn)
                except LaunchError as error:
                    if not any(each.round >= 0 for each in runs):
                        raise
                    return _results(session, chosen, places, runs), error  # what was measured is not lost
                clock.add(turn.rival.name, time.monotonic() - begin)
                runs.append(run)
                out([view.ended(turn, run)])
        finally:
            for each in places.values():
                remove_cluster(each)
    return _results(session, chosen, places, runs), None


def _results(session: Session, chosen: Sequence[Rival], places: dict[str, Place], runs: Sequence[Measured]) -> Results:
    return Results(
        started=session.started.isoformat(timespec="seconds").replace("+00:00", "Z"),
        engine=session.options.engine,
        system=next(iter(places.values())).session.system,
        rivals=tuple(described(each, places[each.name].session.resolved.settings_hash) for each in chosen),
        runs=with_rest(runs),
    )


def _keep(session: Session, wanted: Wanted, results: Results, comparisons: Sequence[Comparison]) -> None:
    """Show the tables, and write JSON, Markdown and the plot. Raises `LaunchError`."""
    from tasks.benchmark.plot import plot
    from tasks.core.files import write_whole
    from tasks.core.paths import log_folder, run_name
    from tasks.view import bench as view
    from tasks.view.console import out, width_of

    out(["", *view.text(results, comparisons, width=width_of(sys.stdout)), ""])
    if wanted.out:
        folder = Path(wanted.out).expanduser().absolute()
    else:
        folder = log_folder(Path(session.settings.log_dir)) / "bench-results" / run_name("bench", session.started)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(results, folder / "bench.json")
        write_whole(folder / "bench.md", redact(view.markdown(results, comparisons)))
        drawn = plot(results, folder)
    except OSError as error:
        raise LaunchError(
            f"the results cannot be written to {folder}",
            why=error.strerror or str(error),
            fix="name another folder: --out FOLDER",
        ) from None
    told = [f"results {folder / name}" for name in ("bench.json", "bench.md", *drawn)]
    out(told if drawn else [*told, "no plot: it needs matplotlib, which `make bench` installs"])


def _recorded(wanted: Wanted, limit: float | None) -> int:
    from tasks.view import bench as view
    from tasks.view.console import out, width_of

    paths = [part for each in wanted.compare for part in each.split(",") if part]
    if len(paths) != 2:
        raise BadInput(
            f"--compare names {len(paths)} results",
            why="two are compared: those before, and those now",
            fix="--compare OLD.json --compare NEW.json",
        )
    before, now = (read(Path(each)) for each in paths)
    comparisons = between(before, now)
    out(view.text(now, comparisons, width=width_of(sys.stdout)))
    return _gate(comparisons, limit)


def _gate(comparisons: Sequence[Comparison], limit: float | None) -> int:
    """Raises `LaunchError` for what became slower by more than the limit."""
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


def _script(session: Session, wanted: Wanted, setting: Setting) -> int:
    from tasks.benchmark.commands import script
    from tasks.benchmark.rounds import look, staged
    from tasks.view.console import out

    if wanted.script not in ("sequential", "staged", "create"):
        raise BadInput(
            f"--script is '{wanted.script}'",
            why="a script can be shown of what is one: sequential, staged, create",
            fix="use one of them",
        )
    there = place(session, setting, wanted.cluster)
    rival = Rival(name=wanted.script, mode=wanted.script, setting=setting)
    out(script(staged(there, rival, look(there)), there.environ, together=wanted.script == "staged"))
    return OK


def _purge(places: dict[str, Place]) -> int:
    import shutil

    from tasks.benchmark.rounds import refuse_existing, remove_caches

    for each in places.values():
        refuse_existing(each)
        remove_caches(each)
        shutil.rmtree(each.folder, ignore_errors=True)
    return OK
