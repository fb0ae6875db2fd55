"""The record of a run: what ran, when, why, and where the time went, as JSON.

Its form is told by docs/reference/record.schema.json. The engine knows no secrets, so whoever makes a
record gives the function that masks them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.core.files import append, write_whole
from tasks.core.paths import BENCHMARK_LOG, log_folder, run_name
from tasks.engine.graph import critical_path, longest_chain
from tasks.engine.step import Result, Step

SCHEMA = 1
"""Grows when a reader of earlier records would misunderstand a new one."""


def record(
    *,
    task: str,
    engine: str,
    outcome: str,
    started: datetime,
    wall_s: float,
    concurrency: int,
    settings_hash: str,
    system: Mapping[str, Any],
    results: Sequence[Result],
    steps: Sequence[Step],
    redact: Callable[[str], str],
) -> dict[str, Any]:
    """The record of one run; `outcome` is ok, failed or interrupted. All times are seconds."""
    guards = guard_names(steps)
    floor, _ = floor_of(steps, results)
    made: dict[str, Any] = _mask(
        {
            "schema": SCHEMA,
            "task": task,
            "engine": engine,
            "outcome": outcome,
            "started": started.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "wall_s": _ms(wall_s),
            "floor_s": _ms(floor),
            "concurrency": concurrency,
            "settings_hash": settings_hash,
            "system": dict(system),
            "steps": [_entry(result) for result in results],
            "critical_path": list(critical_path(results, guards)),
        },
        redact,
    )
    return made


def guard_names(steps: Sequence[Step]) -> frozenset[str]:
    """Guards last as long as what they guard: they are no work, and part of no path."""
    return frozenset(step.name for step in steps if step.until)


def floor_of(steps: Sequence[Step], results: Sequence[Result]) -> tuple[float, tuple[str, ...]]:
    """The longest chain of needs by measured seconds: its length, and its steps."""
    guards = guard_names(steps)
    return longest_chain(steps, {r.name: 0.0 if r.name in guards else r.seconds for r in results})


def outcome_of(results: Sequence[Result], *, interrupted: bool) -> str:
    """How a run went, as its record says it."""
    if interrupted:
        return "interrupted"
    return "ok" if all(result.state.value in ("ran", "skipped") for result in results) else "failed"


def write(made: Mapping[str, Any], log_dir: Path, *, acts: bool, name: str | None = None) -> Path:
    """Write `runs/<UTC time>-<task>.json`, and `latest.json` if the task acts; the first one's path.

    `name` is that of the run's own folder, so that both are found together. Raises `BadInput` for a
    folder that cannot be used, OSError for a full disk.
    """
    runs = log_folder(log_folder(log_dir) / "runs")
    stem = name or run_name(str(made["task"]), datetime.fromisoformat(str(made["started"])))
    text = json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path = _claim(runs, stem)
    write_whole(path, text)
    if acts:
        write_whole(log_dir / "latest.json", text)
    return path


def benchmark_block(made: Mapping[str, Any], *, agents: int) -> str:
    """The block that a launch adds to cluster_setup_benchmark.log."""
    minutes, seconds = divmod(round(float(made["wall_s"])), 60)
    system: Mapping[str, Any] = made["system"]
    memory = system.get("memory_gib")
    facts = {
        "CPU cores": system.get("cpus"),
        "Memory": None if memory is None else f"{memory:g} GB",
        "Agents": agents,
        "Concurrency level": made["concurrency"],
        "Architecture": system.get("arch"),
        "OS": system.get("os"),
        "K3s image": system.get("k3s_image"),
    }
    lines = [f"  {name}: {'unknown' if value in (None, '') else value}" for name, value in facts.items()]
    return "\n".join([f"Cluster setup completed in {minutes}m{seconds}s", "System information:", *lines, "---", ""])


def append_benchmark(log_dir: Path, text: str) -> Path:
    """Add a block to the benchmark log, by one write; its path. Raises `BadInput`, OSError."""
    path = log_folder(log_dir) / BENCHMARK_LOG
    append(path, text)
    return path


def _claim(runs: Path, stem: str) -> Path:
    """A name that no other run has: two runs may begin in the same millisecond."""
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
