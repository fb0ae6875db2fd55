from __future__ import annotations

import json

import pytest

from tasks.engine.step import Step
from tasks.rehearsal.what_if import Answer, Change
from tasks.view.plan import predicted_json, predicted_text

STEPS = [
    Step(name="prepull: an image", task="prepull"),
    Step(name="cluster: create", task="cluster", wait=True),
    Step(name="registry: push", task="registry", skip="it runs"),
    Step(name="cluster: watch the nodes", task="cluster", until=("cluster: create",)),
]


def an_answer(*changes: Change) -> Answer:
    return Answer(
        total_s=12.3,
        floor_s=9.9,
        path=(("looking around", 0.5), ("k3s starts", 2.7), ("hardly anything", 0.01)),
        times={"prepull: an image": (0.5, 2.0), "cluster: create": (2.0, 11.0)},
        changes=changes,
        rests_on="the time profile 'default': 9 launches on 2 cores; computed, not measured: other cores",
    )


def test_it_tells_total_floor_path_what_helps_and_what_it_rests_on() -> None:
    found = an_answer(Change(what="4 cores instead of 2", total_s=8.0), Change(what="no agents", total_s=10.0))
    lines = predicted_text(found, STEPS, None)
    assert "expected total  12.3 s" in lines
    assert "floor           9.9 s: with endless cores, places and line" in lines
    assert "critical path   looking around 0.5 s → k3s starts 2.7 s" in lines
    assert "helps most      4 cores instead of 2: 8.0 s" in lines
    assert "                no agents: 10.0 s" in lines
    assert lines[-1].startswith("this rests on   the time profile 'default'")


def test_each_step_has_its_row_but_guards_have_none() -> None:
    lines = predicted_text(an_answer(), STEPS, None)
    assert lines[2].split() == ["run", "0.5", "s", "1.5", "s", "prepull:", "an", "image"]
    assert lines[4].split() == ["skip", "registry:", "push"]
    assert not any("watch" in each for each in lines)


def test_where_nothing_helps_that_is_said() -> None:
    assert "helps most      nothing that was tried gains more than 2 %" in predicted_text(an_answer(), STEPS, None)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_it_fits_the_terminal(width: int) -> None:
    changes = [Change(what="caches that have the images", total_s=8.0), Change(what="no agents at all", total_s=9.0)]
    assert max(map(len, predicted_text(an_answer(*changes), STEPS, width))) <= width


def test_the_same_as_json() -> None:
    found = json.loads("\n".join(predicted_json(an_answer(Change(what="4 cores", total_s=8.0)), STEPS, 80)))
    assert (found["expected_s"], found["floor_s"]) == (12.3, 9.9)
    assert found["changes"] == [{"what": "4 cores", "expected_s": 8.0}]
    assert [each["name"] for each in found["steps"]] == ["prepull: an image", "cluster: create"]
    assert found["critical_path"][1] == {"what": "k3s starts", "seconds": 2.7}
