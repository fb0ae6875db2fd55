"""The record of a finished run: what ran, when, why, and how long it took; as a value, and as JSON in files.

The form of the JSON: docs/reference/record.schema.json. All times are seconds from the start of the run.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tasks.core.errors import BadInput
from tasks.core.files import append, write_whole
from tasks.core.paths import BENCHMARK_LOG, log_folder, run_name
from tasks.core.redact import clean
from tasks.engine.graph import critical_path, longest_chain
from tasks.engine.step import Result, State, Step
from tasks.engine.work import from_json as work_from_json

SCHEMA = 1
"""Increased when readers of earlier records would misunderstand a new one."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run of a plan."""

    task: str
    engine: str
    outcome: str
    """`ok`, `failed` or `interrupted`."""
    started: datetime
    wall_s: float
    floor_s: float
    """The longest chain of needs by measured seconds: a lower bound, whatever the size of the pool."""
    concurrency: int
    settings_hash: str
    system: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    results: tuple[Result, ...] = ()
    """Of all steps, in the order of the plan."""
    critical_path: tuple[str, ...] = ()
    """Names of the steps that determined the end of the run, first to last."""
    guards: frozenset[str] = frozenset()
    """Names of steps that lasted as long as the steps they guarded: no work, and not part of the critical path."""
    bounds: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """By step the bound that it queued for; empty for a run read from a file."""
    name: str = ""
    """`<time>-<task>`, the name of its files."""

    @classmethod
    def of(
        cls,
        steps: Sequence[Step],
        results: Sequence[Result],
        *,
        task: str,
        started: datetime,
        wall_s: float,
        engine: str = "",
        concurrency: int = 1,
        settings_hash: str = "",
        system: Mapping[str, Any] = MappingProxyType({}),
        interrupted: bool = False,
    ) -> RunRecord:
        """The record of a completed plan, from the results of its steps."""
        guards = frozenset(step.name for step in steps if step.until)
        good = all(result.state in (State.RAN, State.SKIPPED) for result in results)
        floor, _ = longest_chain(steps, {r.name: 0.0 if r.name in guards else r.seconds for r in results})
        return cls(
            task=task,
            engine=engine,
            outcome="interrupted" if interrupted else "ok" if good else "failed",
            started=started,
            wall_s=wall_s,
            floor_s=floor,
            concurrency=concurrency,
            settings_hash=settings_hash,
            system=system,
            results=tuple(results),
            critical_path=critical_path(results, guards),
            guards=guards,
            bounds={step.name: step.bound for step in steps},
        )

    @property
    def good(self) -> bool:
        """Whether every step ran or was skipped."""
        return self.outcome == "ok"

    @cached_property
    def acted(self) -> list[Result]:
        """Steps that did something, by start time; without guards."""
        found = (r for r in self.results if r.acted and r.name not in self.guards)
        return sorted(found, key=lambda r: (r.began, r.ended))

    @cached_property
    def path(self) -> list[Result]:
        """The critical path."""
        by_name = {r.name: r for r in self.results}
        return [by_name[name] for name in self.critical_path if name in by_name and name not in self.guards]

    @cached_property
    def guarding(self) -> list[Result]:
        """The guards."""
        return [r for r in self.results if r.name in self.guards]

    @property
    def skipped(self) -> list[Result]:
        """Steps that had nothing to do."""
        return [r for r in self.results if r.state is State.SKIPPED]

    @property
    def unstarted(self) -> list[Result]:
        """Steps that were not started before the run ended."""
        return [r for r in self.results if r.state is not State.SKIPPED and not r.acted]

    @property
    def failed(self) -> list[Result]:
        """Steps that failed, in the order in which they did."""
        return sorted((r for r in self.results if r.state is State.FAILED), key=lambda r: r.ended)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user from steps that succeeded, in the plan's order, without duplicates."""
        return tuple(dict.fromkeys(note for result in self.results for note in result.notes))

    @property
    def mostly_ran(self) -> bool:
        """Whether it is a launch to compare with others, not one that found nearly everything already done."""
        return self.good and sum(r.acted for r in self.results) * 2 >= len(self.results) > 0

    def count(self, state: State) -> int:
        """The number of steps that ended in this state."""
        return sum(r.state is state for r in self.results)

    @cached_property
    def busy(self) -> list[Result]:
        """Steps that took time, longest first; without guards."""
        return sorted(
            (r for r in self.results if r.name not in self.guards and r.seconds > 0), key=lambda r: -r.seconds
        )

    @property
    def busy_s(self) -> float:
        """The sum of all steps' seconds."""
        return sum(r.seconds for r in self.busy)

    @property
    def concurrently(self) -> float:
        """The average number of steps that ran concurrently."""
        return self.busy_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def queued_s(self) -> float:
        """Seconds that all steps together queued for a place."""
        return sum(r.queued_s for r in self.acted)

    def queued_by(self, results: Sequence[Result]) -> dict[str, float]:
        """Seconds that these steps queued, by bound."""
        queued: dict[str, float] = {}
        for result in results:
            if result.queued_s:
                bound = self.bounds.get(result.name, "waits" if result.waits else "work")
                queued[bound] = queued.get(bound, 0.0) + result.queued_s
        return queued

    @property
    def first_s(self) -> float:
        """When the first step was ready: before that facts were gathered."""
        return min((r.ready_s for r in self.results if r.ready_s is not None), default=0.0)

    @property
    def length_s(self) -> float:
        """The length of a time axis for the whole run; never 0."""
        return max(self.wall_s, 0.001, *(r.ended for r in self.results))

    @property
    def machine(self) -> dict[str, str]:
        """What is known about the machine and the programs, as texts."""
        return {key: clean(str(value)) for key, value in self.system.items() if value not in (None, "")}

    def as_json(self, redact: Callable[[str], str]) -> dict[str, Any]:
        """The record as a JSON object, each string in it passed through `redact`."""
        made: dict[str, Any] = _mask(
            {
                "schema": SCHEMA,
                "task": self.task,
                "engine": self.engine,
                "outcome": self.outcome,
                "started": utc(self.started),
                "wall_s": _ms(self.wall_s),
                "floor_s": _ms(self.floor_s),
                "concurrency": self.concurrency,
                "settings_hash": self.settings_hash,
                "system": dict(self.system),
                "steps": [_entry(result) for result in self.results],
                "critical_path": list(self.critical_path),
            },
            redact,
        )
        return made

    @classmethod
    def from_json(cls, document: Any, name: str) -> RunRecord:  # noqa: ANN401 - whatever a file holds
        """The run in a record, its strings cleaned: another process wrote them. Raises `BadInput`."""
        try:
            if document["schema"] != SCHEMA:
                raise BadInput(
                    f"the record {name} has the schema {document['schema']}",
                    why=f"this version reads schema {SCHEMA}",
                    fix="read it with the version that wrote it",
                )
            run = cls(
                name=clean(name),
                task=_text(document["task"]),
                engine=_text(document["engine"]),
                outcome=_text(document["outcome"]),
                started=datetime.fromisoformat(document["started"]).astimezone(UTC),
                wall_s=_number(document["wall_s"]),
                floor_s=_number(document["floor_s"]),
                concurrency=int(_number(document["concurrency"])),
                settings_hash=_text(document["settings_hash"]),
                system={
                    _text(key): clean(value) if isinstance(value, str) else value
                    for key, value in document["system"].items()
                },
                results=tuple(_result(step) for step in document["steps"]),
                critical_path=tuple(_text(step) for step in document["critical_path"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BadInput(
                f"{name} is not a record of a run",
                why=f"it does not match docs/reference/record.schema.json ({type(error).__name__}: {error})",
                fix="use a .json file of DEPLOY_LOG_DIR/runs",
            ) from None
        return replace(run, guards=frozenset(_guards(run)))


def utc(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, as in records."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(run: RunRecord, log_dir: Path, *, redact: Callable[[str], str], acts: bool, name: str | None = None) -> Path:
    """Write `runs/<UTC time>-<task>.json`, and `latest.json` if the task acts; returns the path of the first.

    `name` is that of the run's own folder, so that both are found together. Raises `BadInput` for a
    folder that cannot be used, OSError for a full disk.
    """
    runs = log_folder(log_folder(log_dir) / "runs")
    text = json.dumps(run.as_json(redact), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path = _claim(runs, name or run_name(run.task, run.started))
    write_whole(path, text)
    if acts:
        write_whole(log_dir / "latest.json", text)
    return path


def benchmark_block(run: RunRecord, *, agents: int) -> str:
    """The text that a launch appends to cluster_setup_benchmark.log."""
    minutes, seconds = divmod(round(run.wall_s), 60)
    memory = run.system.get("memory_gib")
    facts = {
        "CPU cores": run.system.get("cpus"),
        "Memory": None if memory is None else f"{memory:g} GB",
        "Agents": agents,
        "Concurrency level": run.concurrency,
        "Architecture": run.system.get("arch"),
        "OS": run.system.get("os"),
        "K3s image": run.system.get("k3s_image"),
    }
    lines = [f"  {name}: {'unknown' if value in (None, '') else value}" for name, value in facts.items()]
    return "\n".join([f"Cluster setup completed in {minutes}m{seconds}s", "System information:", *lines, "---", ""])


def append_benchmark(log_dir: Path, text: str) -> Path:
    """Append a block to the benchmark log in one write; returns its path. Raises `BadInput`, OSError."""
    path = log_folder(log_dir) / BENCHMARK_LOG
    append(path, text)
    return path


def _claim(runs: Path, stem: str) -> Path:
    """A unique name: two runs may start in the same millisecond."""
    count = 1
    while True:
        path = runs / (f"{stem}.json" if count == 1 else f"{stem}-{count}.json")
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            count += 1
            continue
        return path


def _entry(result: Result) -> dict[str, Any]:
    work = {} if result.work is None else {"work": result.work.as_json()}
    return {
        "name": result.name,
        "task": result.task,
        "needs": list(result.needs),
        "state": result.state.value,
        "why": result.why,
        "ready_s": _ms(result.ready_s),
        "start_s": _ms(result.start_s),
        "end_s": _ms(result.end_s),
        "slot": result.slot,
        "attempts": result.attempts,
        "exit_code": result.exit_code,
        **work,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _mask(value: Any, redact: Callable[[str], str]) -> Any:  # noqa: ANN401 - any part of a JSON document
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: _mask(part, redact) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_mask(part, redact) for part in value]
    return value


def _text(value: Any) -> str:  # noqa: ANN401 - any part of a JSON document
    return clean(str(value))


def _number(value: Any) -> float:  # noqa: ANN401 - any part of a JSON document
    """Seconds, or a count. Raises ValueError or TypeError for other values."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is not a number from 0 on")
    return float(value)


def _result(step: Mapping[str, Any]) -> Result:
    def maybe(key: str) -> float | None:
        return None if step[key] is None else _number(step[key])

    slot, code = step["slot"], step["exit_code"]
    return Result(
        name=_text(step["name"]),
        task=_text(step["task"]),
        needs=tuple(_text(need) for need in step["needs"]),
        state=State(step["state"]),
        why=_text(step["why"]),
        ready_s=maybe("ready_s"),
        start_s=maybe("start_s"),
        end_s=maybe("end_s"),
        slot=None if slot is None else int(_number(slot)),
        attempts=int(_number(step["attempts"])),
        exit_code=None if code is None else int(code),
        work=work_from_json(step.get("work")),
    )


def _guards(run: RunRecord) -> list[str]:
    """The guards, which a record does not name. The last step to end ends the critical path, unless it is a guard.

    So a step without a slot and dependents, which ended after that path without being on it, is one.
    """
    critical = frozenset(run.critical_path)
    over = max((r.ended for r in run.results if r.name in critical), default=0.0)
    needed = {need for r in run.results for need in r.needs}
    return [
        r.name
        for r in run.results
        if critical
        and r.acted
        and r.state is not State.FAILED
        and r.waits
        and r.name not in critical | needed
        and r.ended >= over
    ]
