from __future__ import annotations

import pytest

from tasks.engine.slots import Ready, door
from tasks.engine.step import Step


def a_step(name: str, **more: object) -> Step:
    return Step(name=name, task="t", **more)  # type: ignore[arg-type]


def waiting(*steps: Step, rank: dict[str, float] | None = None) -> Ready:
    ready = Ready(rank or {step.name: 0.0 for step in steps}, {step.name: n for n, step in enumerate(steps)})
    for step in steps:
        ready.add(step)
    return ready


def all_of(ready: Ready) -> list[str]:
    found = []
    while (step := ready.pop(lambda _step: True)) is not None:
        found.append(step.name)
    return found


def test_the_longest_path_goes_first_and_equals_in_the_plans_order() -> None:
    steps = [a_step(name) for name in "abcd"]
    assert all_of(waiting(*steps, rank={"a": 1.0, "b": 3.0, "c": 1.0, "d": 2.0})) == ["b", "d", "a", "c"]


def test_order_holds_across_kinds_of_places() -> None:
    steps = [a_step("a"), a_step("b", wait=True), a_step("c", kind="helm"), a_step("d", kind="helm", wait=True)]
    assert all_of(waiting(*steps, rank={"a": 1.0, "b": 4.0, "c": 3.0, "d": 2.0})) == ["b", "c", "d", "a"]


def test_a_head_that_does_not_fit_holds_up_its_own_queue_alone() -> None:
    ready = waiting(a_step("download", kind="download"), a_step("other"), rank={"download": 9.0, "other": 1.0})
    found = ready.pop(lambda step: step.kind is None)
    assert found is not None
    assert found.name == "other"
    assert ready.pop(lambda step: step.kind is None) is None
    assert len(ready) == 1


def test_what_was_taken_back_does_not_come_and_may_wait_again() -> None:
    one, other = a_step("one"), a_step("other")
    ready = waiting(one, other)
    ready.discard("one")
    ready.discard("never there")
    assert len(ready) == 1
    ready.add(one)
    ready.add(one)
    assert all_of(ready) == ["one", "other"]
    assert len(ready) == 0


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (a_step("a"), (None, "work")),
        (a_step("a", wait=True, kind="download"), ("download", "waits")),
        (a_step("a", until=("b",)), (None, "guard")),
    ],
)
def test_steps_queue_for_the_places_that_they_need(step: Step, wanted: tuple[str | None, str]) -> None:
    assert door(step) == wanted
