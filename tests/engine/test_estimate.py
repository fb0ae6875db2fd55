"""The expected total: the scheduler's own rule on expected seconds."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.core.errors import PlanError
from tasks.engine.estimate import estimate
from tasks.engine.step import Bounds, Step


def step(name: str, *needs: str, **more: Any) -> Step:
    return Step(name=name, task="t", needs=needs, **more)


def test_a_bound_makes_it_longer_and_the_floor_stays() -> None:
    steps = [step(f"s{i}") for i in range(4)]
    seconds = {f"s{i}": 2.0 for i in range(4)}
    assert estimate(steps, seconds, Bounds(work=4)).total_s == 2.0
    assert estimate(steps, seconds, Bounds(work=2)).total_s == 4.0
    assert estimate(steps, seconds, Bounds(work=1)).total_s == 8.0
    assert estimate(steps, seconds, Bounds(work=1)).floor_s == 2.0


def test_the_longest_remaining_path_goes_first() -> None:
    steps = [step("short"), step("long"), step("after", "long")]
    expected = estimate(steps, {"short": 1, "long": 1, "after": 5}, Bounds(work=1))
    assert expected.times["long"] == (0.0, 1.0)
    assert expected.times["after"] == (1.0, 6.0)
    assert expected.total_s == 7.0


def test_waits_and_kinds_have_bounds_of_their_own() -> None:
    waits = [step(f"w{i}", wait=True) for i in range(4)]
    seconds = {f"w{i}": 3.0 for i in range(4)} | {f"p{i}": 1.0 for i in range(4)}
    assert estimate(waits, seconds, Bounds(work=1, waits=4)).total_s == 3.0
    assert estimate(waits, seconds, Bounds(work=1, waits=2)).total_s == 6.0
    pulls = [step(f"p{i}", kind="download") for i in range(4)]
    assert estimate(pulls, seconds, Bounds(work=4, kinds={"download": 1})).total_s == 4.0


def test_skipped_steps_take_no_time_and_no_place() -> None:
    steps = [step("a", skip="is there"), step("b", "a", skip="is there"), step("c", "b")]
    expected = estimate(steps, {"a": 9, "b": 9, "c": 1}, Bounds(work=1))
    assert expected.total_s == 1.0
    assert expected.critical_path == ("c",)


def test_a_guard_lasts_as_long_as_what_it_guards() -> None:
    steps = [step("g", until=("a",), wait=True), step("a"), step("b", "g"), step("late", "b", until=("a",))]
    expected = estimate(steps, {"a": 4, "b": 1, "g": 60}, Bounds(work=1, waits=1))
    assert expected.times["g"] == (0.0, 4.0)
    assert expected.times["late"] == (4.0, 4.0)
    assert expected.total_s == 5.0
    assert estimate(steps[:2], {"a": 4}, Bounds(work=1)).critical_path == ("a",)


def test_a_plan_without_figures_is_not_trusted() -> None:
    steps = [step("a"), step("b"), step("c", expected=2.0)]
    assert estimate(steps, {}, Bounds(work=1)).unknown == 2
    assert not estimate(steps, {}, Bounds(work=1)).trusted
    assert estimate(steps, {"a": 1.0}, Bounds(work=1)).trusted


def test_an_empty_plan_and_a_wrong_one() -> None:
    assert estimate([], {}, Bounds(work=1)).total_s == 0.0
    with pytest.raises(PlanError):
        estimate([step("a", "a")], {}, Bounds(work=1))
