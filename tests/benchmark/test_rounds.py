"""The order of launches, and how long is left."""

from __future__ import annotations

from collections import Counter

from tasks.benchmark.rounds import Clock, Rounds
from tasks.benchmark.variants import Setting, rivals


def _rounds(modes: str, runs: int = 5) -> Rounds:
    return Rounds(rivals=rivals(modes, "warm", Setting()), places={}, runs=runs, warmups=1)


def test_the_order_turns_from_round_to_round() -> None:
    turns = list(_rounds("sequential,staged,graph").turns())
    rounds = {number: [turn.rival.mode for turn in turns if turn.round == number] for number in range(-1, 3)}
    assert rounds == {
        -1: ["sequential", "staged", "graph"],
        0: ["staged", "graph", "sequential"],
        1: ["graph", "sequential", "staged"],
        2: ["sequential", "staged", "graph"],
    }


def test_every_rival_is_launched_as_often() -> None:
    turns = list(_rounds("sequential,graph").turns())
    assert Counter(turn.rival.mode for turn in turns if turn.round >= 0) == {"sequential": 5, "graph": 5}
    assert [turn.number for turn in turns] == list(range(1, 13))


def test_the_time_left_goes_by_what_each_took() -> None:
    turns = list(_rounds("sequential,graph", runs=1).turns())
    clock = Clock()
    assert clock.left(turns) is None
    clock.add("sequential", 40.0)
    assert clock.left(turns[1:]) == 120.0  # nothing is known of the other yet
    clock.add("graph", 10.0)
    assert clock.left(turns[2:]) == 50.0


def test_what_a_cold_launch_has_removed_is_filled_again() -> None:
    rounds = _rounds("graph:cold,graph:second,graph")
    cold, second, warm = rounds.rivals
    rounds.filled = {second.name, warm.name}
    rounds._forget(second)
    assert rounds.filled == {second.name}
    rounds._forget(cold)
    assert rounds.filled == set()
