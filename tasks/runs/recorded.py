"""A recorded run as its views read it. Another process wrote what its record says: it is checked, and cleaned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from tasks.core.errors import BadInput
from tasks.engine.record import SCHEMA
from tasks.engine.step import State
from tasks.view.console import clean

_JITTER = 0.05
"""A step that waited less for its place did not queue: that is the time a thread needs to start."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """What a step's log says; long ones without their middle."""

    path: str
    command: str = ""
    """The first command, in its pasteable form; empty for a step that started none."""
    lines: tuple[str, ...] = ()
    left_out: int = 0
    """Bytes of the middle that are not among the lines."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One step of a recorded run. Seconds count from the start of the run; None: it never came to that."""

    name: str
    task: str
    needs: tuple[str, ...] = ()
    state: State
    why: str = ""
    ready_s: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    slot: int | None = None
    attempts: int = 0
    exit_code: int | None = None
    critical: bool = False
    guard: bool = False
    """It lasted as long as what it guarded: no work, and part of no path."""

    @property
    def short(self) -> str:
        """Its name without its task, where the name begins with that."""
        return self.name.removeprefix(f"{self.task}: ")

    @property
    def waits(self) -> bool:
        """It mostly waited, and held no slot of the pool."""
        return self.slot is None

    @property
    def began(self) -> float:
        """When it started; 0 for one that never did."""
        return self.start_s or 0.0

    @property
    def seconds(self) -> float:
        """Between start and end."""
        return max(0.0, (self.end_s or 0.0) - self.began) if self.acted else 0.0

    @property
    def queued_s(self) -> float:
        """Between the last need's end and the start, for want of a place; 0 for what is only a thread's start."""
        if not self.acted or self.ready_s is None:
            return 0.0
        queued = self.began - self.ready_s
        return queued if queued >= _JITTER else 0.0

    @property
    def acted(self) -> bool:
        """It started, and was not skipped."""
        return self.state is not State.SKIPPED and self.start_s is not None and self.end_s is not None


@dataclass(frozen=True, kw_only=True)
class Run:
    """A recorded run."""

    name: str
    """`<time>-<task>`, as its files are called."""
    task: str
    engine: str
    outcome: str
    started: datetime
    wall_s: float
    floor_s: float
    concurrency: int
    settings_hash: str
    system: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rows: tuple[Row, ...] = ()
    """All steps, in the order of the plan."""
    path: tuple[Row, ...] = ()
    """The critical path."""
    logs: Mapping[str, Log] = field(default_factory=lambda: MappingProxyType({}))
    """By step; only steps that wrote something have one."""

    @property
    def acted(self) -> list[Row]:
        """Steps that did something, by their start; guards are none of them."""
        return sorted((r for r in self.rows if r.acted and not r.guard), key=lambda r: (r.began, r.end_s or 0.0))

    @property
    def guards(self) -> list[Row]:
        """Steps that only watched over others, and saw nothing."""
        return [r for r in self.rows if r.guard]

    @property
    def skipped(self) -> list[Row]:
        """Steps that had nothing to do."""
        return [r for r in self.rows if r.state is State.SKIPPED]

    @property
    def unstarted(self) -> list[Row]:
        """Steps that the run's end came before."""
        return [r for r in self.rows if r.state is not State.SKIPPED and not r.acted]

    @property
    def failed(self) -> list[Row]:
        """Steps that failed, in the order in which they did."""
        return sorted((r for r in self.rows if r.state is State.FAILED), key=lambda r: r.end_s or 0.0)

    @property
    def first_s(self) -> float:
        """When the first step was ready: until then facts were asked for."""
        return min((r.ready_s for r in self.rows if r.ready_s is not None), default=0.0)

    @property
    def queued_s(self) -> float:
        """Seconds that all steps together queued."""
        return sum(r.queued_s for r in self.acted)

    @property
    def busy_s(self) -> float:
        """The sum of all steps' seconds."""
        return sum(r.seconds for r in self.acted)

    @property
    def length_s(self) -> float:
        """How long a time axis must be to hold all of it; never 0."""
        return max(self.wall_s, *(r.end_s or 0.0 for r in self.rows), 0.001) if self.rows else max(self.wall_s, 0.001)

    @property
    def mostly_ran(self) -> bool:
        """Whether it is a launch to compare with others, not one that found nearly everything there already."""
        return self.outcome == "ok" and sum(r.acted for r in self.rows) * 2 >= len(self.rows) > 0


def parse(document: Any, name: str) -> Run:  # noqa: ANN401 - whatever a file holds
    """The run that a record tells of. Raises `BadInput` for what is no record of a form that is known here."""
    try:
        if document["schema"] != SCHEMA:
            raise BadInput(
                f"the record {name} has the schema {document['schema']}",
                why=f"this version reads schema {SCHEMA}",
                fix="read it with the version that wrote it",
            )
        rows = tuple(_row(step) for step in document["steps"])
        path = [text(step) for step in document["critical_path"]]
        system = {text(key): text(value) for key, value in document["system"].items() if value not in (None, "")}
        run = Run(
            name=clean(name),
            task=text(document["task"]),
            engine=text(document["engine"]),
            outcome=text(document["outcome"]),
            started=datetime.fromisoformat(document["started"]).astimezone(UTC),
            wall_s=number(document["wall_s"]),
            floor_s=number(document["floor_s"]),
            concurrency=int(number(document["concurrency"])),
            settings_hash=text(document["settings_hash"]),
            system=MappingProxyType(system),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadInput(
            f"{name} is no record of a run",
            why=f"it does not have the form of docs/reference/record.schema.json ({type(error).__name__}: {error})",
            fix="name a file of DEPLOY_LOG_DIR/runs that ends with .json",
        ) from None
    return _marked(run, rows, path)


def text(value: Any) -> str:  # noqa: ANN401 - any part of a JSON document
    """One line that is safe to show."""
    return clean(str(value))


def number(value: Any) -> float:  # noqa: ANN401 - any part of a JSON document
    """Seconds, or a count. Raises ValueError, TypeError for what cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is not a number from 0 on")
    return float(value)


def _row(step: Mapping[str, Any]) -> Row:
    def maybe(key: str) -> float | None:
        return None if step[key] is None else number(step[key])

    slot, code = step["slot"], step["exit_code"]
    return Row(
        name=text(step["name"]),
        task=text(step["task"]),
        needs=tuple(text(need) for need in step["needs"]),
        state=State(step["state"]),
        why=text(step["why"]),
        ready_s=maybe("ready_s"),
        start_s=maybe("start_s"),
        end_s=maybe("end_s"),
        slot=None if slot is None else int(number(slot)),
        attempts=int(number(step["attempts"])),
        exit_code=None if code is None else int(code),
    )


def _marked(run: Run, rows: Sequence[Row], path: Sequence[str]) -> Run:
    """With the critical path and the guards told.

    A record does not name its guards. But the last step to end ends the critical path, unless it is a guard: so what
    held no slot, nobody needed, and ended after that path without being of it, is one.
    """
    critical = frozenset(path)
    over = max((row.end_s or 0.0 for row in rows if row.name in critical), default=0.0)
    needed = {need for row in rows for need in row.needs}
    marked = [
        replace(
            row,
            critical=row.name in critical,
            guard=bool(critical)
            and row.acted
            and row.state is not State.FAILED
            and row.waits
            and row.name not in critical | needed
            and (row.end_s or 0.0) >= over,
        )
        for row in rows
    ]
    by_name = {row.name: row for row in marked}
    return replace(run, rows=tuple(marked), path=tuple(by_name[name] for name in path if name in by_name))
