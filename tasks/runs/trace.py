"""A run as a trace in Chrome's trace event format, which Perfetto's UI opens.

The format: "Trace Event Format", docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU. Complete
events of one thread must nest or not overlap, so what overlaps (waits, queueing) is distributed over as many threads
as necessary.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tasks.engine.record import RunRecord
from tasks.engine.step import Result
from tasks.runs.catalogue import Log
from tasks.runs.figures import counts, lanes, when

Event = dict[str, Any]
Place = tuple[int, int]
"""Process and thread."""
_RUN, _SLOTS, _WAITS, _QUEUE, _GUARDS = 1, 2, 3, 4, 5
_PATH_TID = 2


def trace(run: RunRecord, logs: Mapping[str, Log]) -> dict[str, Any]:
    """The trace as a JSON object; times are microseconds from the start of the run."""
    return {
        "traceEvents": [*_names(run), *_events(run, logs)],
        "displayTimeUnit": "ms",
        "otherData": {
            "run": run.name,
            "outcome": run.outcome,
            "started": when(run),
            "steps": counts(run),
            "settings_hash": run.settings_hash,
            **run.machine,
        },
    }


def trace_text(run: RunRecord, logs: Mapping[str, Log]) -> str:
    """The trace as a file's text: one event per line."""
    made = trace(run, logs)
    events = ",\n".join(json.dumps(event, ensure_ascii=False) for event in made.pop("traceEvents"))
    rest = json.dumps(made, ensure_ascii=False)[1:]
    return f'{{"traceEvents": [\n{events}\n], {rest}\n'


def _names(run: RunRecord) -> Iterator[Event]:
    processes = {
        _RUN: f"{run.task} on {run.engine}",
        _SLOTS: f"steps at work ({run.concurrency} slots)",
        _WAITS: "steps that wait (no slot)",
        _QUEUE: "queueing for a place",
        _GUARDS: "guards",
    }
    for pid, name in processes.items():
        yield _meta("process_name", pid, 0, name=name)
        yield _meta("process_sort_index", pid, 0, sort_index=pid)
    yield _meta("thread_name", _RUN, 1, name="whole run")
    yield _meta("thread_name", _RUN, _PATH_TID, name="critical path")
    for (pid, tid), name in _threads(run).items():
        yield _meta("thread_name", pid, tid, name=name)
        yield _meta("thread_sort_index", pid, tid, sort_index=tid)


def _events(run: RunRecord, logs: Mapping[str, Log]) -> Iterator[Event]:
    whole = {"outcome": run.outcome, "longest_chain_s": run.floor_s, "steps": counts(run)}
    yield _slice(run.task, "run", (_RUN, 1), 0.0, run.length_s, whole)
    if run.first_s > 0:
        yield _slice("before the first step", "run", (_RUN, 1), 0.0, run.first_s, {})
    for row in run.path:
        if row.acted:
            yield _slice(row.name, "critical path", (_RUN, _PATH_TID), row.began, row.ended, {})
    places = _places(run)
    for row in [*run.acted, *run.guarding]:
        kind = "guard" if row.name in run.guards else "wait" if row.waits else "work"
        category = f"{kind},critical path" if row.name in run.critical_path else kind
        yield _slice(row.name, category, places[row.name], row.began, row.ended, _args(row, logs.get(row.name)))
    for number, lane in enumerate(_queues(run)):
        for row in lane:
            yield _slice(row.name, "queue", (_QUEUE, number + 1), row.began, row.ended, {})
    yield from _flows(run, places)


def _flows(run: RunRecord, places: dict[str, Place]) -> Iterator[Event]:
    """An arrow to each step from the need that was met last."""
    by_name = {row.name: row for row in run.acted}
    for number, row in enumerate(run.acted):
        needs = [by_name[need] for need in row.needs if need in by_name]
        if not needs:
            continue
        last = max(needs, key=lambda need: need.ended)
        end = _us(last.ended)
        # an arrow belongs to the slice that is open at its time; a slice is no longer open at its end
        leaves = max(_us(last.began), end - 1)
        shared = {"name": "need", "cat": "need", "id": number + 1}
        yield {"ph": "s", **shared, "ts": leaves, "pid": places[last.name][0], "tid": places[last.name][1]}
        arrives = {"ts": max(leaves, _us(row.began)), "pid": places[row.name][0], "tid": places[row.name][1]}
        yield {"ph": "f", "bp": "e", **shared, **arrives}


def _places(run: RunRecord) -> dict[str, Place]:
    found = {row.name: (_SLOTS, 1 + row.slot) for row in run.acted if row.slot is not None}
    groups = ((_WAITS, [row for row in run.acted if row.waits]), (_GUARDS, run.guarding))
    for pid, rows in groups:
        for number, lane in enumerate(lanes(rows)):
            found |= {row.name: (pid, number + 1) for row in lane}
    return found


def _threads(run: RunRecord) -> dict[Place, str]:
    named = {place: _NAMES[place[0]].format(place[1] - 1) for place in sorted(set(_places(run).values()))}
    return named | {(_QUEUE, i + 1): _NAMES[_QUEUE].format(i) for i in range(len(_queues(run)))}


_NAMES = {_SLOTS: "slot {}", _WAITS: "wait {}", _QUEUE: "queue {}", _GUARDS: "guard {}"}


def _queues(run: RunRecord) -> list[Any]:
    """Lanes of queueing steps, each a row that ends when its step starts."""
    queued = [row for row in run.acted if row.queued_s > 0]
    return lanes(replace(row, start_s=row.ready_s, end_s=row.start_s) for row in queued)


def _args(row: Result, log: Log | None) -> dict[str, Any]:
    found = {
        "task": row.task,
        "state": row.state.value,
        "why": row.why,
        "queued_s": round(row.queued_s, 3),
        "attempts": row.attempts,
        "exit_code": row.exit_code,
        "command": log.command if log is not None else "",
        "needs": ", ".join(row.needs),
    }
    return {key: value for key, value in found.items() if value not in ("", None)}


def _slice(name: str, category: str, place: Place, begin: float, end: float, args: dict[str, Any]) -> Event:
    ts = _us(begin)
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "ts": ts,
        "dur": max(0, _us(end) - ts),
        "pid": place[0],
        "tid": place[1],
        "args": args,
    }


def _meta(kind: str, pid: int, tid: int, **args: Any) -> Event:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": args}


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)
