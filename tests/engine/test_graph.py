"""Errors of a graph before anything starts, the figures drawn from it, and places of the pool."""

from dataclasses import replace

import pytest

from tasks.core.errors import PlanError
from tasks.engine import graph
from tasks.engine.step import Bounds, Result, State, Step


def step(name: str, *needs: str) -> Step:
    return Step(name=name, task="t", needs=needs)


def test_an_order_satisfies_every_need() -> None:
    order = graph.check([step("c", "a", "b"), step("b", "a"), step("a")])
    assert order.index("a") < order.index("b") < order.index("c")


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([step("a"), step("a")], "two steps are called 'a'"),
        ([step("namespaces"), step("b", "namespace")], "did you mean 'namespaces'"),
        ([step("a", "b"), step("b", "a")], "→"),
        ([replace(step("a"), awaits=("b",)), step("b", "a")], "→"),
        ([replace(step("a"), awaits=("b",))], "which is not in the plan"),
    ],
)
def test_a_graph_that_cannot_run_is_refused(steps: list[Step], text: str) -> None:
    with pytest.raises(PlanError, match=text):
        graph.check(steps)


def test_remaining_and_the_longest_chain() -> None:
    steps = [step("a"), step("b", "a"), step("c", "a"), step("d", "c")]
    seconds = {"a": 1.0, "b": 2.0, "c": 1.0, "d": 3.0}
    assert graph.remaining(steps, seconds) == {"a": 5.0, "b": 2.0, "c": 4.0, "d": 3.0}
    assert graph.longest_chain(steps, seconds) == (5.0, ("a", "c", "d"))
    assert graph.longest_chain([], {}) == (0.0, ())


def test_the_critical_path_follows_the_need_that_was_met_last() -> None:
    def result(name: str, start: float, end: float, *needs: str) -> Result:
        return Result(name=name, task="t", needs=needs, state=State.RAN, start_s=start, end_s=end)

    results = [result("a", 0, 1), result("b", 0, 3), result("c", 3, 4, "a", "b"), result("d", 1, 2, "a")]
    assert graph.critical_path(results) == ("b", "c")


def test_needs_that_others_imply_are_left_out() -> None:
    steps = [step("d", "a", "b", "c", "x"), step("c", "a", "b"), step("b", "a"), step("a"), step("x")]
    found = {each.name: each.needs for each in graph.reduced(steps)}
    assert found == {"a": (), "b": ("a",), "c": ("b",), "d": ("c", "x"), "x": ()}


def test_needs_of_other_plans_are_met_already() -> None:
    guard = replace(step("w"), until=("c", "x"))
    created = graph.fitted([step("a", "gone"), step("b", "a", "a", "b", "gone"), step("c", "a", "b"), guard])
    assert {each.name: (each.needs, each.until) for each in created} == {
        "a": ((), ()),
        "b": (("a",), ()),
        "c": (("b",), ()),  # a follows from b
        "w": ((), ("c",)),
    }


def test_a_later_plan_of_a_run_comes_after_all_of_the_earlier_one() -> None:
    """A restored or resumed cluster: its nodes first, then what is in it."""

    def plan(*rows: tuple[str, tuple[str, ...], float, float]) -> tuple[list[Step], list[Result]]:
        return [Step(name=name, task="t", needs=needs) for name, needs, _, _ in rows], [
            Result(name=name, task="t", needs=needs, state=State.RAN, start_s=start, end_s=end)
            for name, needs, start, end in rows
        ]

    steps, results = graph.joined(
        plan(("api", (), 0.0, 4.0), ("create", (), 0.0, 10.0)), plan(("ready", ("api",), 11.0, 12.0))
    )
    assert graph.critical_path(results) == ("create", "ready")
    assert graph.longest_chain(steps, {each.name: each.seconds for each in results}) == (11.0, ("create", "ready"))


def a_step(name: str, **more: object) -> Step:
    return Step(name=name, task="t", **more)  # type: ignore[arg-type]


WORK, WAIT, GUARD = a_step("work"), a_step("wait", wait=True), a_step("guard", until=("work",))
HELM = a_step("helm", kind="helm", wait=True)


def test_slots_are_numbered_and_the_lowest_free_one_is_taken() -> None:
    places = graph.Places(Bounds(work=2))
    assert [places.take(WORK), places.take(WORK)] == [0, 1]
    assert not places.fit(WORK)
    places.free_slot(WORK, 0)
    assert places.fit(WORK)
    assert places.take(WORK) == 0


def test_waits_take_no_slot_and_have_a_bound_of_their_own() -> None:
    places = graph.Places(Bounds(work=1, waits=1))
    assert places.take(WAIT) is None
    assert (places.fit(WAIT), places.fit(WORK)) == (False, True)
    places.free_slot(WAIT, None)
    assert places.fit(WAIT)


def test_a_guard_always_has_a_place() -> None:
    places = graph.Places(Bounds(work=1, waits=1))
    places.take(WORK)
    places.take(WAIT)
    assert places.fit(GUARD)
    assert places.take(GUARD) is None
    places.free_slot(GUARD, None)
    assert not places.fit(WAIT), "it was never among the waits"


@pytest.mark.parametrize(("kinds", "most"), [({"helm": 1}, 1), ({}, 3), ({"other": 1}, 3)])
def test_a_kind_has_its_bound_or_that_of_all_work(kinds: dict[str, int], most: int) -> None:
    places = graph.Places(Bounds(work=3, waits=9, kinds=kinds))
    occupied = 0
    while places.fit(HELM):
        places.take(HELM)
        occupied += 1
    assert occupied == most
    assert places.fit(WORK)
    places.free_slot(HELM, None)
    assert places.fit(HELM)


def waiting(*steps: Step, rank: dict[str, float] | None = None) -> graph.Ready:
    ready = graph.Ready(rank or {step.name: 0.0 for step in steps}, {step.name: n for n, step in enumerate(steps)})
    for step in steps:
        ready.add(step)
    return ready


def all_of(ready: graph.Ready) -> list[str]:
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
    ("step", "expected"),
    [
        (a_step("a"), (None, "work")),
        (a_step("a", wait=True, kind="download"), ("download", "waits")),
        (a_step("a", until=("b",)), (None, "guard")),
    ],
)
def test_steps_queue_for_the_places_that_they_need(step: Step, expected: tuple[str | None, str]) -> None:
    assert graph.claim(step) == expected
