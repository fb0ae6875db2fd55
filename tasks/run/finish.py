"""The end of a run: its record, its summary, its exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import FAILED, INTERRUPTED, OK, LaunchError, attempt
from tasks.core.redact import redact
from tasks.engine import record
from tasks.view.console import err, marks, width_of
from tasks.view.ending import refusal

if TYPE_CHECKING:
    from tasks.engine.record import RunRecord
    from tasks.run.session import Session
    from tasks.view.choose import Steady
    from tasks.view.ending import Ending


def finish(session: Session, view: Steady, ending: Ending, *, acts: bool, agents: int | None) -> int:
    """Write the record, show the summary; the exit code.

    `acts`: the record becomes latest.json too. `agents`: of a launch, which goes into the benchmark log where it went
    well; None for other runs.
    """
    lost = attempt(
        f"the record of this run could not be written below {session.settings.log_dir}",
        lambda: _write(session, ending.run, acts=acts, agents=agents),
    )
    view.conclude(ending)
    err(f"note: {each}" for each in lost)
    return _status(ending.run)


def show_error(error: LaunchError) -> None:
    """An expected error, on standard error."""
    err(refusal(error, width=width_of(sys.stderr), marks=marks(sys.stderr.encoding)))


def _write(session: Session, run: RunRecord, *, acts: bool, agents: int | None) -> None:
    folder = Path(session.settings.log_dir)
    name = session.log_dir.name if session.log_dir is not None else None
    record.write(run, folder, redact=redact, acts=acts, name=name)
    if agents is not None and run.good:
        block = redact(record.benchmark_block(run, agents=agents))
        record.append_benchmark(folder, f"{session.note}\n{block}" if session.note else block)


def _status(run: RunRecord) -> int:
    """That of the first failure; steps that it took with it have none."""
    if run.outcome == "interrupted":
        return INTERRUPTED
    if run.good:
        return OK
    return int(getattr(run.failed[0].error, "status", FAILED)) if run.failed else FAILED
