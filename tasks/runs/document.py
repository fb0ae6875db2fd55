"""A report as JSON, for programs. Times are seconds."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.engine.record import RunRecord, utc
from tasks.engine.step import Result, State
from tasks.runs.catalogue import Log
from tasks.runs.compare import Comparison, headline, verdict
from tasks.runs.history import Point

SCHEMA = 1
"""Increased when readers of earlier documents would misunderstand a new one."""


def document(run: RunRecord, logs: Mapping[str, Log], both: Comparison | None = None) -> dict[str, Any]:
    """A run's figures, its steps with their queueing, and differences to the other run."""
    made = {
        "schema": SCHEMA,
        **_totals(run),
        "first_step_s": round(run.first_s, 3),
        "queued_s": round(run.queued_s, 3),
        "busy_s": round(run.busy_s, 3),
        "steps": [_step(run, row, logs.get(row.name)) for row in run.results],
        "critical_path": [row.name for row in run.path],
    }
    return made if both is None else {**made, "against": _against(both)}


def history(points: Sequence[Point], expected: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """All runs with changes that started with them; by engine, the seconds that the scheduler expects of each step."""
    return {
        "schema": SCHEMA,
        "runs": [_point(point) for point in points],
        "expected_s": {
            engine: {name: round(took, 3) for name, took in sorted(steps.items())} for engine, steps in expected.items()
        },
    }


def _totals(run: RunRecord) -> dict[str, Any]:
    return {
        "run": run.name,
        "task": run.task,
        "engine": run.engine,
        "outcome": run.outcome,
        "started": utc(run.started),
        "settings_hash": run.settings_hash,
        "wall_s": run.wall_s,
        "floor_s": run.floor_s,
    }


def _step(run: RunRecord, row: Result, log: Log | None) -> dict[str, Any]:
    return {
        "name": row.name,
        "task": row.task,
        "state": row.state.value,
        "why": row.why,
        "seconds": round(row.seconds, 3) if row.acted else 0.0,
        "queued_s": round(row.queued_s, 3),
        "critical": row.name in run.critical_path,
        "guard": row.name in run.guards,
        "attempts": row.attempts,
        "exit_code": row.exit_code,
        "command": log.command if log is not None else "",
        "log": log.path if log is not None else "",
    }


def _against(both: Comparison) -> dict[str, Any]:
    return {
        **_totals(both.before),
        "difference_s": round(both.difference_s, 3),
        "verdict": f"{headline(both)} {verdict(both)}",
        "differs": [{"what": what, "before": old, "after": new} for what, old, new in both.differs],
        "steps": [
            {
                "name": pair.name,
                "change": pair.change.value,
                "before_s": _seconds(pair.before),
                "after_s": _seconds(pair.after),
                "difference_s": round(pair.difference_s, 3),
            }
            for pair in both.pairs
        ],
    }


def _seconds(row: Result | None) -> float | None:
    return round(row.seconds, 3) if row is not None and row.acted else None


def _point(point: Point) -> dict[str, Any]:
    shift = point.shift
    return {
        **_totals(point.run),
        "ran": point.run.count(State.RAN),
        "skipped": point.run.count(State.SKIPPED),
        "launch": point.run.mostly_ran,
        "settings_changed": point.settings_changed,
        "shift": None if shift is None else {"before_s": round(shift.before_s, 3), "after_s": round(shift.after_s, 3)},
    }
