"""The trace: valid by the rules of its format, and covering the run."""

import json
from collections import defaultdict
from typing import Any

import pytest

from tasks.engine.record import RunRecord
from tasks.runs.trace import trace, trace_text
from tests.runs.records import FAILED_LOGS, every_run, failed, run


def events(result: RunRecord, phase: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        e for e in json.loads(trace_text(result, FAILED_LOGS))["traceEvents"] if e["ph"] == phase
    ]
    return found


@every_run
def test_every_event_has_what_its_phase_asks_for(result: RunRecord) -> None:
    document = json.loads(trace_text(result, FAILED_LOGS))
    assert document == trace(result, FAILED_LOGS)
    assert document["displayTimeUnit"] in ("ms", "ns")
    required = {
        "X": {"ts", "dur", "cat", "args"},
        "M": {"args"},
        "s": {"ts", "id", "cat"},
        "f": {"ts", "id", "cat", "bp"},
    }
    for event in document["traceEvents"]:
        assert set(event) == {"ph", "name", "pid", "tid"} | required[event["ph"]], event
        assert all(
            isinstance(event[key], int) and event[key] >= 0 for key in event if key in ("ts", "dur", "pid", "tid")
        )
        if event["ph"] == "M":
            keys = {"process_name": ["name"], "thread_name": ["name"]}
            assert list(event["args"]) == keys.get(event["name"], ["sort_index"])


@every_run
def test_slices_of_a_thread_nest_or_lie_apart(result: RunRecord) -> None:
    threads = defaultdict(list)
    for event in events(result, "X"):
        threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for slices in threads.values():
        ends: list[int] = []
        for begin, end in sorted(slices, key=lambda each: (each[0], -each[1])):
            while ends and ends[-1] <= begin:
                ends.pop()
            assert not ends or end <= ends[-1], (begin, end, ends)
            ends.append(end)


@every_run
def test_it_covers_the_wall_time_within_a_hundredth(result: RunRecord) -> None:
    slices = events(result, "X")
    begin, end = min(e["ts"] for e in slices), max(e["ts"] + e["dur"] for e in slices)
    assert begin == 0
    assert (end - begin) / 1e6 == pytest.approx(result.length_s, rel=0.01)


@every_run
def test_each_thread_is_named_once(result: RunRecord) -> None:
    used = {(e["pid"], e["tid"]) for e in events(result, "X")}
    named = [(e["pid"], e["tid"]) for e in events(result, "M") if e["name"] == "thread_name"]
    assert used <= set(named)
    assert len(named) == len(set(named))
    assert {pid for pid, _ in used} <= {e["pid"] for e in events(result, "M") if e["name"] == "process_name"}


@every_run
def test_arrows_leave_and_reach_slices_that_are_open(result: RunRecord) -> None:
    slices = defaultdict(list)
    for event in events(result, "X"):
        slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    arrows = [*events(result, "s"), *events(result, "f")]
    assert len(events(result, "s")) == len(events(result, "f")) == len({e["id"] for e in arrows})
    for event in arrows:
        assert any(b <= event["ts"] <= e for b, e in slices[event["pid"], event["tid"]]), event


def test_steps_stand_where_they_were() -> None:
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in events(run(), "M") if e["name"] == "thread_name"}
    found = {(e["name"], e["cat"]): (threads[e["pid"], e["tid"]], e["ts"], e["dur"]) for e in events(run(), "X")}
    assert found["up", "run"] == ("whole run", 0, 10_400_000)
    assert found["before the first step", "run"] == ("whole run", 0, 100_000)
    assert found["helm: two", "work,critical path"] == ("slot 0", 5_200_000, 800_000)
    assert found["helm: two", "queue"] == ("queue 0", 4_200_000, 1_000_000)
    assert found["helm: two", "critical path"] == ("critical path", 5_200_000, 800_000)
    assert found["cluster: create", "wait"][0].startswith("wait ")
    assert found["cluster: watch the nodes", "guard"][0] == "guard 0"
    assert not any(name == "prepull: k3s" for name, _ in found), "a step that was skipped took no time"


def test_a_slice_tells_command_attempts_and_end() -> None:
    (args,) = [e["args"] for e in events(failed(), "X") if e["name"] == "helm: one" and e["cat"] == "work"]
    assert args == {
        "task": "helm",
        "state": "failed",
        "why": "the chart does not exist",
        "queued_s": 0.0,
        "attempts": 3,
        "exit_code": 1,
        "command": "helm pull repo/one",
    }
