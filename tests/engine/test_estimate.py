"""The expected total: the scheduler's own rule on expected seconds."""

from typing import Any

import pytest

from tasks.core.errors import PlanError
from tasks.engine.estimate import Activity, Machine, Resource, Stage, estimate, median, shared, simulate
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


ENDLESS = Bounds(work=100, waits=100)


def cpu(name: str, amount: float, *needs: str, width: float = 1.0, pool: str | None = None) -> Activity:
    return Activity(name=name, needs=needs, stages=(Stage(Resource.CPU, amount, width),), pool=pool)


def test_seconds_that_only_pass_do_so_concurrently() -> None:
    found = [Activity(name=name, stages=(Stage(Resource.TIME, 3.0),)) for name in "abc"]
    assert simulate(found, Machine(cores=1), ENDLESS) == dict.fromkeys("abc", (0.0, 3.0))


def test_cores_are_shared_by_those_that_compute() -> None:
    spans = simulate([cpu("a", 1), cpu("b", 1), cpu("c", 2)], Machine(cores=2), ENDLESS)
    assert spans["a"][1] == pytest.approx(1.5)
    assert spans["c"][1] == pytest.approx(2.5)


def test_one_uses_no_more_cores_than_it_can() -> None:
    spans = simulate([cpu("narrow", 2), cpu("wide", 6, width=3)], Machine(cores=8), ENDLESS)
    assert (spans["narrow"][1], spans["wide"][1]) == (2.0, 2.0)


def test_stages_follow_one_another_and_needs_come_before() -> None:
    first = Activity(name="first", stages=(Stage(Resource.CPU, 1.0), Stage(Resource.TIME, 2.0)))
    spans = simulate([first, cpu("then", 1, "first")], Machine(cores=1), ENDLESS)
    assert spans["then"] == (3.0, 4.0)


@pytest.mark.parametrize(
    ("machine", "seconds"),
    [
        (Machine(cores=1, line=10.0), 20.0),
        (Machine(cores=1, connection=10.0), 5.0),
        (Machine(cores=1, line=15.0, connection=10.0), 40 / 3),
    ],
)
def test_a_line_is_shared_by_its_connections(machine: Machine, seconds: float) -> None:
    found = [Activity(name=name, stages=(Stage(Resource.LINE, 100.0, 2.0),)) for name in "ab"]
    assert simulate(found, machine, ENDLESS)["a"][1] == pytest.approx(seconds)


def test_without_a_limit_the_line_takes_no_time() -> None:
    found = [Activity(name="a", stages=(Stage(Resource.LINE, 1e9),))]
    assert simulate(found, Machine(cores=1), ENDLESS)["a"][1] == pytest.approx(0.0, abs=1e-5)


def test_of_those_that_wait_for_a_place_the_longest_path_goes_first() -> None:
    found = [
        Activity(name=name, stages=(Stage(Resource.TIME, 1.0),), rank=rank, pool="work")
        for name, rank in (("low", 1.0), ("high", 9.0), ("middle", 5.0))
    ]
    spans = simulate(found, Machine(cores=8), Bounds(work=1))
    assert sorted(spans, key=lambda name: spans[name]) == ["high", "middle", "low"]


def test_a_kind_of_work_has_a_bound_of_its_own() -> None:
    found = [
        Activity(name=f"{kind} {number}", stages=(Stage(Resource.TIME, 1.0),), pool="waits", kind=kind)
        for kind in ("download", "other")
        for number in range(4)
    ]
    spans = simulate(found, Machine(cores=8), Bounds(work=9, waits=9, kinds={"download": 2, "other": 4}))
    assert max(end for name, (_, end) in spans.items() if name.startswith("download")) == pytest.approx(2.0)
    assert max(end for name, (_, end) in spans.items() if name.startswith("other")) == pytest.approx(1.0)


def test_needs_that_are_never_met_are_told() -> None:
    with pytest.raises(ValueError, match="never ready: a, b"):
        simulate([cpu("a", 1, "b"), cpu("b", 1, "a")], Machine(cores=1), ENDLESS)


@pytest.mark.parametrize(
    ("options", "total", "got"),
    [
        ({"a": 1.0, "b": 1.0}, 4.0, {"a": 1.0, "b": 1.0}),
        ({"a": 1.0, "b": 9.0}, 4.0, {"a": 1.0, "b": 3.0}),
        ({"a": 5.0, "b": 9.0}, 4.0, {"a": 2.0, "b": 2.0}),
        ({}, 4.0, {}),
    ],
)
def test_what_one_leaves_goes_to_the_others(options: dict[str, float], total: float, got: dict[str, float]) -> None:
    assert shared(options, total) == got


@pytest.mark.parametrize(("values", "middle"), [([], 0.0), ([3], 3), ([3, 1, 2], 2), ([4, 1, 2, 3], 2.5)])
def test_median(values: list[float], middle: float) -> None:
    assert median(values) == middle
