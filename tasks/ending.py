"""How a run ends: its record is kept, its end told, and its exit code found."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.engine import record
from tasks.engine.step import Result, State, Step
from tasks.errors import FAILED, INTERRUPTED, OK, BadInput, LaunchError
from tasks.tools.secret import redact
from tasks.view.ending import Ending
from tasks.view.failure import refusal
from tasks.view.line import marks
from tasks.view.output import err, width_of

if TYPE_CHECKING:
    from tasks.session import Session
    from tasks.situation import Situation
    from tasks.view.view import View


@dataclass(frozen=True, kw_only=True)
class End:
    """A run that is over."""

    steps: Sequence[Step]
    results: Sequence[Result]
    concurrency: int
    interrupted: bool
    acts: bool
    """Whether its record becomes latest.json."""


def conclude(session: Session, view: View, end: End, *, situation: Situation | None, launch: bool) -> int:
    """Keep the record, and tell the end; the exit code. `launch`: it goes into the benchmark log."""
    wall = time.monotonic() - session.now
    outcome = record.outcome_of(end.results, interrupted=end.interrupted)
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
    block = None
    if launch and outcome == "ok" and situation is not None:
        block = record.benchmark_block(made, agents=situation.shape.agents)
        if session.note:
            block = f"{session.note}\n{block}"
    lost = _keep(session, made, block, acts=end.acts)
    view.conclude(
        Ending(
            task=session.options.task,
            steps=end.steps,
            results=end.results,
            wall_s=wall,
            interrupted=end.interrupted,
            inspect=_inspect(situation),
            logs=session.log_dir,
            note=session.note,
        )
    )
    if lost is not None:
        tell(lost)
    return _status(end, outcome)


def tell(error: LaunchError) -> None:
    """An expected error, on standard error."""
    err(refusal(error, width=width_of(sys.stderr), marks=marks(sys.stderr.encoding)))


def _keep(session: Session, made: Mapping[str, Any], block: str | None, *, acts: bool) -> LaunchError | None:
    """Write the record. Where that fails (a full disk may be what ended the run), the end is told all the same."""
    folder = Path(session.settings.log_dir)
    try:
        record.write(made, folder, acts=acts, name=session.log_dir.name if session.log_dir is not None else None)
        if block is not None:
            record.append_benchmark(folder, block)
    except OSError as error:
        return LaunchError(
            f"the record of this run could not be written below {folder}",
            why=error.strerror or str(error),
            fix="make room there, or name another folder in DEPLOY_LOG_DIR",
        )
    except BadInput as error:
        return error
    return None


def _status(end: End, outcome: str) -> int:
    """That of the first failure; those that it took with it say nothing."""
    if end.interrupted:
        return INTERRUPTED
    if outcome == "ok":
        return OK
    failed = [result for result in end.results if result.state is State.FAILED]
    first = min(failed, key=lambda result: result.end_s or 0.0, default=None)
    return int(getattr(first.error, "status", FAILED)) if first is not None else FAILED


def _inspect(situation: Situation | None) -> str:
    if situation is None or not situation.folders.kubeconfig.exists():
        return ""
    return f"kubectl --kubeconfig {shlex.quote(str(situation.folders.kubeconfig))} get pods --all-namespaces"
