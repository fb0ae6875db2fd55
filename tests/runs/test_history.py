"""Where a change in the totals began."""

import random
from typing import Any

import pytest

from tasks.runs.history import shifts, trend
from tests.runs.records import run, skipped

CALM = [16.3, 16.6, 16.5, 17.0, 17.4, 16.1, 16.2, 16.7]


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ([], []),
        ([16.0], []),
        (CALM, []),
        (CALM * 3, []),
        (CALM + [v - 4 for v in CALM], [8]),
        (CALM + [v + 4 for v in CALM] + CALM, [8, 16]),
        ([*CALM, *CALM, 40.0, *CALM], []),
        (CALM * 2 + [v - 0.5 for v in CALM], []),
        ([*CALM, 9.0, 9.0, 9.0], []),
        ([5.0] * 30, []),
        ([0.0] * 10 + [1.0] * 10, [10]),
    ],
    ids=[
        "none", "one", "calm", "calm for long", "a drop", "up and down again", "one slow run", "too small to matter",
        "too few after it", "all the same", "from nothing",
    ],
)  # fmt: skip
def test_a_change_is_found_where_it_began(values: list[float], where: list[int]) -> None:
    assert [shift.index for shift in shifts(values)] == where


def test_a_change_tells_both_levels() -> None:
    (shift,) = shifts(CALM + [v - 4 for v in CALM])
    assert shift.before_s == pytest.approx(16.55)
    assert shift.after_s == pytest.approx(12.55)


def test_chance_rarely_passes_for_a_change() -> None:
    source = random.Random(7)
    series = [[source.gauss(16, 2) for _ in range(30)] for _ in range(200)]
    assert sum(bool(shifts(values)) for values in series) <= 20


def at(minute: int, **more: Any) -> Any:
    return run(name=f"run-{minute}", started=f"2026-11-25T04:{minute:02d}:00.000Z", **more)


def test_runs_are_told_from_the_oldest_on_with_where_settings_changed() -> None:
    points = trend([at(3, settings_hash="b"), at(1), at(2), at(4, settings_hash="b"), at(0, task="down")])
    assert [(point.run.name, point.settings_changed) for point in points] == [
        ("run-0", False),
        ("run-1", False),
        ("run-2", False),
        ("run-3", True),
        ("run-4", False),
    ]


def test_only_launches_of_one_task_and_engine_are_held_against_each_other() -> None:
    slow = [at(2 * n, wall_s=CALM[n]) for n in range(8)]
    quick = [at(2 * n + 1, wall_s=0.4, steps=[skipped("a")]) for n in range(8)]
    other = [at(16 + n, wall_s=1.0, task="down") for n in range(8)]
    elsewhere = [at(24 + n, wall_s=9.0, engine="rehearsal") for n in range(8)]
    failed = [at(32 + n, wall_s=2.0, outcome="failed") for n in range(8)]
    assert [p.run.name for p in trend([*slow, *quick, *other, *elsewhere, *failed]) if p.shift] == []
    assert [p.run.name for p in trend([*slow, *(at(40 + n, wall_s=9.0) for n in range(8))]) if p.shift] == ["run-40"]
