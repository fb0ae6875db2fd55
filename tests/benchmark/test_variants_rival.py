"""Who is compared."""

from __future__ import annotations

import pytest

from tasks.benchmark.variants import Setting, rivals
from tasks.core.errors import BadInput

HERE, THERE = Setting(), Setting(profile="ci")


@pytest.mark.parametrize(
    ("modes", "state", "names"),
    [
        ("sequential,staged,graph", "warm", ["sequential", "staged", "graph"]),
        ("sequential,graph:noop", "warm", ["sequential", "graph:noop"]),
        ("sequential,graph", "noop", ["sequential", "graph:noop"]),
        ("graph,graph:second", "warm", ["graph", "graph:second"]),
        ("create, graph", "cold", ["create:cold", "graph:cold"]),
    ],
)
def test_modes_with_their_states(modes: str, state: str, names: list[str]) -> None:
    assert [each.name for each in rivals(modes, state, HERE)] == names


def test_two_settings_are_two_rivals() -> None:
    found = rivals("graph", "warm", HERE, THERE)
    assert [(each.name, each.setting) for each in found] == [("A graph", THERE), ("B graph", HERE)]
    assert HERE.stem != THERE.stem


@pytest.mark.parametrize(
    ("modes", "state", "told"),
    [
        ("graf", "warm", "'graf' is no mode"),
        ("graph:hot", "warm", "'hot' is no state"),
        ("graph,graph", "warm", "'graph' twice"),
        ("", "warm", "names nothing"),
    ],
)
def test_what_cannot_be_compared_is_refused(modes: str, state: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        rivals(modes, state, HERE)
