"""How a run ends: its record is kept, its end told, and its exit code found."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import FAILED, INTERRUPTED, OK, LaunchError, attempt
from tasks.core.redact import redact
from tasks.engine import record
from tasks.engine.step import Result, State, Step
from tasks.view.console import err, marks, width_of
from tasks.view.failure import refusal
from tasks.view.figures import Ending

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.run.session import Session
    from tasks.view.steady import Steady


@dataclass(frozen=True, kw_only=True)
class End:
    """A run that is over."""

    steps: Sequence[Step]
    results: Sequence[Result]
    concurrency: int
    interrupted: bool
    acts: bool
    """Whether its record becomes latest.json."""


def conclude(session: Session, view: Steady, end: End, *, facts: Facts | None, launch: bool) -> int:
    """Keep the record, and tell the end; the exit code. `launch`: it goes into the benchmark log."""
    wall = time.monotonic() - session.now
    outcome = record.outcome_of(end.results, interrupted=end.interrupted)
    folder = session.settings.log_dir
    lost = attempt(
        f"the record of this run could not be written below {folder}",
        lambda: _keep(session, end, outcome, wall, agents=facts.shape.agents if launch and facts else None),
    )
    view.conclude(
        Ending(
            task=session.options.task,
            steps=end.steps,
            results=end.results,
            wall_s=wall,
            interrupted=end.interrupted,
            inspect=_inspect(facts),
            logs=session.log_dir,
            note=session.note,
        )
    )
    err(f"note: {each}" for each in lost)
    return _status(end, outcome)


def tell(error: LaunchError) -> None:
    """An expected error, on standard error."""
    err(refusal(error, width=width_of(sys.stderr), marks=marks(sys.stderr.encoding)))


def _keep(session: Session, end: End, outcome: str, wall: float, *, agents: int | None) -> None:
    """Write the record, and the benchmark log for a launch that went well: `agents` is what it brought up."""
    made = record.record(
        task=session.options.task,
        engine=session.options.engine,
        outcome=outcome,
        started=session.started,
        wall_s=wall,
        concurrency=end.concurrency,
        settings_hash=session.resolved.settings_hash,
        system=session.system,
        results=end.results,
        steps=end.steps,
        redact=redact,
    )
    folder = Path(session.settings.log_dir)
    record.write(made, folder, acts=end.acts, name=session.log_dir.name if session.log_dir is not None else None)
    if agents is not None and outcome == "ok":
        block = record.benchmark_block(made, agents=agents)
        record.append_benchmark(folder, f"{session.note}\n{block}" if session.note else block)


def _status(end: End, outcome: str) -> int:
    """That of the first failure; those that it took with it say nothing."""
    if end.interrupted:
        return INTERRUPTED
    if outcome == "ok":
        return OK
    failed = [result for result in end.results if result.state is State.FAILED]
    first = min(failed, key=lambda result: result.end_s or 0.0, default=None)
    return int(getattr(first.error, "status", FAILED)) if first is not None else FAILED


def _inspect(facts: Facts | None) -> str:
    if facts is None or not facts.paths.kubeconfig.exists():
        return ""
    return f"kubectl --kubeconfig {shlex.quote(str(facts.paths.kubeconfig))} get pods --all-namespaces"
