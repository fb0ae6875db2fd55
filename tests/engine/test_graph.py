"""Errors of a graph, before anything starts, and the figures drawn from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.errors import PlanError
from tasks.engine.graph import check, critical_path, fitted, joined, longest_chain, reduced, remaining
from tasks.engine.step import Result, State, Step


def step(name: str, *needs: str) -> Step:
    return Step(name=name, task="t", needs=needs)


def test_an_order_satisfies_every_need() -> None:
    order = check([step("c", "a", "b"), step("b", "a"), step("a")])
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
        check(steps)


def test_remaining_and_the_longest_chain() -> None:
    steps = [step("a"), step("b", "a"), step("c", "a"), step("d", "c")]
    seconds = {"a": 1.0, "b": 2.0, "c": 1.0, "d": 3.0}
    assert remaining(steps, seconds) == {"a": 5.0, "b": 2.0, "c": 4.0, "d": 3.0}
    assert longest_chain(steps, seconds) == (5.0, ("a", "c", "d"))
    assert longest_chain([], {}) == (0.0, ())


def test_the_critical_path_follows_the_need_that_was_met_last() -> None:
    def result(name: str, start: float, end: float, *needs: str) -> Result:
        return Result(name=name, task="t", needs=needs, state=State.RAN, start_s=start, end_s=end)

    results = [result("a", 0, 1), result("b", 0, 3), result("c", 3, 4, "a", "b"), result("d", 1, 2, "a")]
    assert critical_path(results) == ("b", "c")


def test_needs_that_others_imply_are_left_out() -> None:
    steps = [step("d", "a", "b", "c", "x"), step("c", "a", "b"), step("b", "a"), step("a"), step("x")]
    found = {each.name: each.needs for each in reduced(steps)}
    assert found == {"a": (), "b": ("a",), "c": ("b",), "d": ("c", "x"), "x": ()}


def test_needs_of_other_plans_are_met_already() -> None:
    guard = replace(step("w"), until=("c", "x"))
    made = fitted([step("a", "gone"), step("b", "a", "a", "b", "gone"), step("c", "a", "b"), guard])
    assert {each.name: (each.needs, each.until) for each in made} == {
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

    steps, results = joined(
        plan(("api", (), 0.0, 4.0), ("create", (), 0.0, 10.0)), plan(("ready", ("api",), 11.0, 12.0))
    )
    assert critical_path(results) == ("create", "ready")
    assert longest_chain(steps, {each.name: each.seconds for each in results}) == (11.0, ("create", "ready"))
