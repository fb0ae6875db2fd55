"""How long steps took in earlier runs: what the scheduler's order and every expected time come from.

A hint, never a truth: a file that is missing, broken or locked is no history, and no error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tasks.core.files import write_whole
from tasks.core.lock import locked
from tasks.core.paths import state_folder
from tasks.engine.step import Result, State, Step
from tasks.engine.work import BuildImage, PushImage, RunOwn

_KEPT = 5
"""Runs a step is remembered for: enough for a median, few enough to follow a change of the machine."""
_NAMES = 2000
_PATIENCE = 2.0
"""Seconds that another process may hold the file; it needs milliseconds."""


def history_file(environ: Mapping[str, str]) -> Path:
    """`durations.json` in the user's state folder."""
    return state_folder(environ) / "durations.json"


def load(path: Path, engine: str) -> dict[str, float]:
    """For each step that ran on this engine the median of its last seconds."""
    prefix = f"{engine}/"
    return {key.removeprefix(prefix): _median(past) for key, past in _read(path).items() if key.startswith(prefix)}


def expecting(steps: Sequence[Step], seconds: Mapping[str, float]) -> list[Step]:
    """The same, those that only the user knows with the seconds that they took before: no model knows of them."""
    return [
        replace(step, expected=seconds.get(step.name, step.expected))
        if isinstance(step.work, RunOwn | BuildImage | PushImage)
        else step
        for step in steps
    ]


def remember(path: Path, engine: str, results: Sequence[Result]) -> None:
    """Add what ran; not those that were skipped, failed or ended early, whose time means nothing.

    Raises OSError.
    """
    ran = [(f"{engine}/{r.name}", r.seconds) for r in results if r.state is State.RAN and r.end_s is not None]
    if not ran:
        return
    lock = path.with_name(f"{path.name}.lock")  # the data file is replaced as a whole, and a lock on it with it
    with locked(lock, _PATIENCE):
        known = _read(path)
        for key, seconds in ran:
            # taken out and put back at the end: the order of names is that of their last use
            known[key] = [*known.pop(key, []), round(seconds, 3)][-_KEPT:]
        newest = dict(list(known.items())[-_NAMES:])
        write_whole(path, json.dumps({"schema": 1, "seconds": newest}, indent=0, ensure_ascii=False) + "\n")


def _read(path: Path) -> dict[str, list[float]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    entries = document.get("seconds") if isinstance(document, dict) and document.get("schema") == 1 else None
    if not isinstance(entries, dict):
        return {}
    found = {key: [float(s) for s in past if _sane(s)] for key, past in entries.items() if isinstance(past, list)}
    return {key: past for key, past in found.items() if past}


def _sane(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= 86400 and math.isfinite(value)


def _median(values: Sequence[float]) -> float:
    """As statistics.median, whose import alone costs more than reading the file."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
