"""Medians, intervals and verdicts."""

import random

import pytest

from tasks.benchmark.statistics import Interval, alarming, median_interval, ratio, verdict


@pytest.mark.parametrize(
    ("count", "low", "high", "level"),
    [
        (1, 0, 0, 0.0),
        (5, 0, 4, 0.9375),
        (6, 0, 5, 0.96875),
        (8, 0, 7, 0.9921875),
        (9, 1, 7, 0.9609375),
        (20, 5, 14, 0.9586),
    ],
)
def test_the_interval_of_a_median_is_between_two_of_the_values(count: int, low: int, high: int, level: float) -> None:
    found = median_interval([float(value) for value in reversed(range(count))])
    assert (found.low, found.high) == (low, high)
    assert found.level == pytest.approx(level, abs=1e-4)
    assert found.count == count


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    draw = random.Random(7)
    samples = [[draw.expovariate(1.0) for _ in range(9)] for _ in range(2000)]
    held = sum(found.low <= 0.6931 <= found.high for found in map(median_interval, samples))
    assert held / 2000 == pytest.approx(0.961, abs=0.015)


def test_pairs_cancel_out_what_slows_a_whole_round() -> None:
    rounds = [10.0, 20.0, 14.0, 30.0, 12.0, 25.0]
    found = ratio(rounds, [each * 0.5 for each in rounds], paired=True)
    assert (found.mid, found.low, found.high) == (0.5, 0.5, 0.5)
    apart = ratio(rounds, [each * 0.5 for each in rounds], paired=False)
    assert apart.low < 0.5 < apart.high


def test_a_ratio_is_the_same_each_time() -> None:
    values = [1.0, 1.2, 0.9, 1.1, 1.3], [2.0, 2.2, 1.8, 2.5, 1.9]
    assert ratio(*values, paired=False) == ratio(*values, paired=False)


@pytest.mark.parametrize(("one", "other"), [([], [1.0]), ([1.0], []), ([1.0, 2.0], [1.0])])
def test_a_ratio_needs_values(one: list[float], other: list[float]) -> None:
    with pytest.raises(ValueError, match="needs values"):
        ratio(one, other, paired=True)


@pytest.mark.parametrize(
    ("mid", "low", "high", "count", "output", "alarm"),
    [
        (0.5, 0.4, 0.6, 5, "faster", False),
        (1.2, 1.05, 1.3, 5, "slower", True),
        (1.08, 1.05, 1.09, 5, "slower", False),
        (1.2, 0.95, 1.5, 9, "no difference seen", False),
        (1.5, 1.4, 1.6, 4, "too few runs", False),
    ],
)
def test_verdicts_of_intervals(mid: float, low: float, high: float, count: int, output: str, alarm: bool) -> None:
    found = Interval(mid=mid, low=low, high=high, level=0.95, count=count)
    assert (verdict(found), alarming(found, 0.1)) == (output, alarm)
