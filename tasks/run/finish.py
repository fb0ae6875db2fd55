"""The end of a run: its record, its summary, its exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import FAILED, INTERRUPTED, OK, LaunchError, attempt
from tasks.core.redact import redact
from tasks.engine import record
from tasks.view.console import err, marks, width_of
from tasks.view.failure import refusal

if TYPE_CHECKING:
    from tasks.run.session import Session
    from tasks.view.figures import Ending
    from tasks.view.steady import Steady


def finish(session: Session, view: Steady, ending: Ending, *, concurrency: int, acts: bool, agents: int | None) -> int:
    """Write the record, show the summary; the exit code.

    `acts`: the record becomes latest.json too. `agents`: of a launch, which goes into the benchmark log where it went
    well; None for other runs.
    """
    lost = attempt(
        f"the record of this run could not be written below {session.settings.log_dir}",
        lambda: _write(session, ending, concurrency=concurrency, acts=acts, agents=agents),
    )
    view.conclude(ending)
    err(f"note: {each}" for each in lost)
    return _status(ending)


def show_error(error: LaunchError) -> None:
    """An expected error, on standard error."""
    err(refusal(error, width=width_of(sys.stderr), marks=marks(sys.stderr.encoding)))


def _write(session: Session, ending: Ending, *, concurrency: int, acts: bool, agents: int | None) -> None:
    outcome = record.outcome_of(ending.results, interrupted=ending.interrupted)
    made = record.record(
        task=session.options.task,
        engine=session.options.engine,
        outcome=outcome,
        started=session.started,
        wall_s=ending.wall_s,
        concurrency=concurrency,
        settings_hash=session.resolved.settings_hash,
        system=session.system,
        results=ending.results,
        steps=ending.steps,
        redact=redact,
    )
    folder = Path(session.settings.log_dir)
    record.write(made, folder, acts=acts, name=session.log_dir.name if session.log_dir is not None else None)
    if agents is not None and outcome == "ok":
        block = record.benchmark_block(made, agents=agents)
        record.append_benchmark(folder, f"{session.note}\n{block}" if session.note else block)


def _status(ending: Ending) -> int:
    """That of the first failure; steps that it took with it have none."""
    if ending.interrupted:
        return INTERRUPTED
    if ending.good:
        return OK
    failed = ending.failed
    return int(getattr(failed[0].error, "status", FAILED)) if failed else FAILED
