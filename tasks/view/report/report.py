"""The page of a run, alone or beside another."""

from __future__ import annotations

from tasks.view.report.beside import beside
from tasks.view.report.compare import Comparison
from tasks.view.report.heading import failures, heading, system
from tasks.view.report.page import page
from tasks.view.report.pool import breadth, pool
from tasks.view.report.recorded import Run
from tasks.view.report.scale import Scale
from tasks.view.report.timeline import rest, row_ids, timeline


def html(run: Run, both: Comparison | None = None) -> str:
    """One file that needs nothing else. `both` holds this run against another."""
    runs = [run] if both is None else [run, both.before]
    scale, ids = Scale(length_s=run.length_s), row_ids(run)
    return page(
        f"{run.task} {run.started:%Y-%m-%d %H:%M:%S}",
        heading(run),
        failures(run),
        beside(both, ids) if both is not None else None,
        pool(run, scale, ids),
        timeline(run, scale, ids),
        rest(run),
        system(run),
        class_=breadth(row.short for each in runs for row in each.acted),
    )
