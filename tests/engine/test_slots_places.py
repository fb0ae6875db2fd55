"""Places of a pool: by slot, among the waits, and of a kind."""

from __future__ import annotations

import pytest

from tasks.engine.slots import Places
from tasks.engine.step import Bounds, Step


def a_step(name: str, **more: object) -> Step:
    return Step(name=name, task="t", **more)  # type: ignore[arg-type]


WORK, WAIT, GUARD = a_step("work"), a_step("wait", wait=True), a_step("guard", until=("work",))
HELM = a_step("helm", kind="helm", wait=True)


def test_slots_are_numbered_and_the_lowest_free_one_is_taken() -> None:
    places = Places(Bounds(work=2))
    assert [places.take(WORK), places.take(WORK)] == [0, 1]
    assert not places.fit(WORK)
    places.give_back(WORK, 0)
    assert places.fit(WORK)
    assert places.take(WORK) == 0


def test_waits_take_no_slot_and_have_a_bound_of_their_own() -> None:
    places = Places(Bounds(work=1, waits=1))
    assert places.take(WAIT) is None
    assert (places.fit(WAIT), places.fit(WORK)) == (False, True)
    places.give_back(WAIT, None)
    assert places.fit(WAIT)


def test_a_guard_always_has_a_place() -> None:
    places = Places(Bounds(work=1, waits=1))
    places.take(WORK)
    places.take(WAIT)
    assert places.fit(GUARD)
    assert places.take(GUARD) is None
    places.give_back(GUARD, None)
    assert not places.fit(WAIT), "it was never among the waits"


@pytest.mark.parametrize(("kinds", "most"), [({"helm": 1}, 1), ({}, 3), ({"other": 1}, 3)])
def test_a_kind_has_its_bound_or_that_of_all_work(kinds: dict[str, int], most: int) -> None:
    places = Places(Bounds(work=3, waits=9, kinds=kinds))
    taken = 0
    while places.fit(HELM):
        places.take(HELM)
        taken += 1
    assert taken == most
    assert places.fit(WORK)
    places.give_back(HELM, None)
    assert places.fit(HELM)
