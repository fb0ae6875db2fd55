"""Comparisons, and the gate for CI."""

import pytest

from tasks.benchmark.compare import between, exceeding, inside, share
from tasks.core.errors import BadInput
from tests.benchmark.measured import PATH, launches, results


def test_twenty_comparisons_of_a_thing_with_itself_raise_no_alarm() -> None:
    alarms = [
        exceeding(between(results(launches("graph", seed)), results(launches("graph", 1000 + seed))), 0.1)
        for seed in range(20)
    ]
    assert alarms == [()] * 20


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("step", ["cluster: create", "helm: app-a ready"])
def test_a_step_that_makes_the_total_grow_by_more_is_named(step: str, seed: int) -> None:
    grown = 1 + 0.18 * sum(PATH.values()) / PATH[step]
    before, now = results(launches("graph", seed)), results(launches("graph", 500 + seed, slow={step: grown}))
    [found] = between(before, now)
    assert exceeding([found], 0.1) == (found,)
    assert [name for name, _, _ in found.slower] == [step]


def test_a_median_total_that_grew_by_fifteen_percent_fails() -> None:
    step = "cluster: create"
    before = results(launches("graph", 3))
    now = results(launches("graph", 3, slow={step: 1 + 0.15 * sum(PATH.values()) / PATH[step]}))
    [found] = between(before, now)
    assert found.wall.mid == pytest.approx(1.15, abs=0.01)
    assert exceeding([found], 0.1) == (found,)
    assert found.slower[0][0] == step


def test_the_gate_looks_at_graph_where_that_was_compared() -> None:
    slow = {"cluster: create": 2.0}
    before = results(launches("sequential", 1), launches("graph", 2))
    now = results(launches("sequential", 3, slow=slow), launches("graph", 4))
    found = between(before, now)
    assert [each.verdict for each in found if each.one.startswith("sequential")] == ["slower"]
    assert exceeding(found, 0.1) == ()


def test_each_is_compared_with_those_before_it() -> None:
    found = inside(results(launches("sequential", 1), launches("staged", 2), launches("graph", 3)))
    assert [(each.one, each.other) for each in found] == [
        ("sequential", "staged"),
        ("sequential", "graph"),
        ("staged", "graph"),
    ]


def test_of_two_settings_only_the_same_modes_are_compared() -> None:
    names = ("A graph", "B graph", "A staged", "B staged")
    found = inside(results(*(launches(name, seed) for seed, name in enumerate(names))))
    assert [(each.one, each.other) for each in found] == [("A graph", "B graph"), ("A staged", "B staged")]


def test_results_without_anything_in_common_are_refused() -> None:
    one = results(launches("graph", 1), launches("staged", 2))
    with pytest.raises(BadInput, match="nothing in common"):
        between(one, results(launches("create", 1), launches("sequential", 2)))


@pytest.mark.parametrize(("text", "value"), [("10%", 0.1), ("0.1", 0.1), (" 5 %", 0.05), ("0%", 0.0)])
def test_a_limit_is_a_part(text: str, value: float) -> None:
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ten", "-5%", "nan"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--fail-over"):
        share(text)
