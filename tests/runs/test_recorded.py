"""Records, as they are read: checked, cleaned, and with what follows from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.runs.recorded import parse
from tests.engine.schema import problems
from tests.view.report.records import HOSTILE, PATH, failed, record, run, skipped, step

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/record.schema.json").read_text())


def test_these_tests_use_records_as_the_engine_writes_them() -> None:
    assert problems(record(), SCHEMA) == []


def test_queueing_is_apart_from_running() -> None:
    rows = {row.name: row for row in run().rows}
    assert rows["helm: two"].queued_s == pytest.approx(1.0)
    assert rows["helm: two"].seconds == pytest.approx(0.8)
    assert run().queued_s == pytest.approx(1.0)
    assert rows["prepull: k3s"].seconds == rows["prepull: k3s"].queued_s == 0.0


def test_the_time_that_a_thread_needs_to_start_is_no_queueing() -> None:
    assert run([step("a", at=(1.0, 1.049, 2.0))]).queued_s == 0.0
    assert run([step("a", at=(1.0, 1.051, 2.0))]).queued_s == pytest.approx(0.051)


def test_the_guard_is_told_from_the_steps_that_it_watched() -> None:
    made = run()
    assert [row.name for row in made.guards] == ["cluster: watch the nodes"]
    assert "cluster: watch the nodes" not in [row.name for row in made.acted]
    assert [row.name for row in made.path] == PATH
    assert made.busy_s == pytest.approx(8.7 + 3.7 + 0.2 + 1.0 + 0.8 + 4.2)


@pytest.mark.parametrize(
    "change",
    [{"slot": 1}, {"end_s": 10.1}, {"state": "failed"}],
    ids=["it held a slot", "the path outlasted it", "it failed"],
)
def test_what_is_no_guard_counts(change: dict[str, Any]) -> None:
    steps = record()["steps"]
    steps[-1] |= change
    assert run(steps, critical_path=PATH).guards == []


def test_a_step_that_others_need_is_no_guard() -> None:
    steps = [*record()["steps"], step("last", "cluster: watch the nodes", at=(10.3, 10.3, 10.3))]
    assert run(steps, critical_path=PATH).guards == []


def test_what_failed_and_what_never_began() -> None:
    made = failed()
    assert [row.name for row in made.failed] == ["helm: one"]
    assert [row.name for row in made.unstarted] == ["helm: three"]
    assert [row.name for row in made.acted] == ["cluster: create", "helm: one", "helm: two"]
    assert not made.mostly_ran


@pytest.mark.parametrize(
    ("steps", "mostly"),
    [
        ([step("a"), skipped("b")], True),
        ([step("a"), skipped("b"), skipped("c")], False),
        ([skipped("a")], False),
        ([], False),
    ],
)
def test_a_launch_is_what_did_most_of_its_plan(steps: list[dict[str, Any]], mostly: bool) -> None:
    assert run(steps).mostly_ran is mostly


def test_texts_are_one_line_without_control_characters() -> None:
    made = run([step(HOSTILE, why="a\nb\x1b[2J\u202e")], system={"os": "x\x00y"}, task="up\x07")
    assert "\x1b" not in made.rows[0].name
    assert "\u202e" not in made.rows[0].name
    assert made.rows[0].why == "a b "
    assert made.system == {"os": "x y"}
    assert made.task == "up "


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {},
        record(schema=2),
        record(wall_s="1"),
        record(wall_s=float("nan")),
        record(wall_s=-1),
        record(started="yesterday"),
        record(steps=[{}]),
        record(steps=[step("a", state="well")]),
        record(steps=[step("a", at=(0.0, float("inf"), 1.0))]),
        {**record(), "steps": 7},
        record(system=None),
        record(concurrency=True),
    ],
    ids=repr,
)
def test_what_is_no_record_is_bad_input(document: Any) -> None:
    with pytest.raises(BadInput) as caught:
        parse(document, "x.json")
    assert "x.json" in caught.value.what
    assert caught.value.fix


def test_an_axis_is_never_of_no_length() -> None:
    assert run([], wall_s=0).length_s > 0
    assert run([step("late", at=(0.0, 0.0, 11.0))]).length_s == 11.0
