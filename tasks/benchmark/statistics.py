"""Statistics for a few launches: medians, their intervals, and ratios with or without a verdict."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

LEVEL = 0.95
"""Desired confidence; few launches give less, which is reported then."""
FEWEST = 5
"""Minimum number of launches for a verdict: of four the widest interval contains the median in only 87 % of cases."""
_RESAMPLES = 4000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate, its range, and the confidence of that."""

    mid: float
    low: float
    high: float
    level: float
    count: int

    @property
    def spread(self) -> float:
        """Half of its width, relative to the estimate."""
        return (self.high - self.low) / 2 / self.mid if self.mid else 0.0


def median_interval(values: Sequence[float]) -> Interval:
    """The median, and the exact interval between two of the sorted values that contains it in `LEVEL` of all cases.

    Independent of the distribution: each value is above the median with probability 1/2 (David and Nagaraja,
    Order Statistics, 7.1). For few values it is from the smallest to the largest, with the confidence in `level`.
    """
    ranked, count = sorted(values), len(values)
    best = 0
    for rank in range((count - 1) // 2 + 1):
        if _coverage(count, rank) >= LEVEL:
            best = rank
    return Interval(
        mid=median(ranked),
        low=ranked[best],
        high=ranked[count - 1 - best],
        level=max(0.0, _coverage(count, best)),
        count=count,
    )


def _coverage(count: int, rank: int) -> float:
    """The confidence that a median is between the values of that rank from below and from above, counted from 0."""
    return 1 - 2 * sum(comb(count, k) for k in range(rank + 1)) / float(2**count)


def ratio(one: Sequence[float], other: Sequence[float], *, paired: bool) -> Interval:
    """Median of `other` over median of `one`, by a bootstrap.

    `paired`: values at the same position are of the same round, and drawn together, so that a slow round
    cancels out. A bootstrap of a handful is too narrow: then the interval also spans the ratios of the rounds, as in
    their median's interval. Deterministic.
    """
    if not one or not other or (paired and len(one) != len(other)):
        raise ValueError("a ratio needs values on both sides, and equally many for pairs")
    draw = random.Random(20_261_124)  # noqa: S311 - a reproducible draw, nothing secret
    first, second = range(len(one)), range(len(other))
    found = []
    for _ in range(_RESAMPLES):
        mine = draw.choices(first, k=len(one))
        theirs = mine if paired else draw.choices(second, k=len(other))
        found.append(median([other[i] for i in theirs]) / median([one[i] for i in mine]))
    found.sort()
    tail = (1 - LEVEL) / 2
    low, high = found[int(tail * _RESAMPLES)], found[int((1 - tail) * _RESAMPLES) - 1]
    if paired:
        rounds = median_interval([b / a for a, b in zip(one, other, strict=True)])
        low, high = min(low, rounds.low), max(high, rounds.high)
    count = min(len(one), len(other))
    return Interval(mid=median(other) / median(one), low=low, high=high, level=LEVEL, count=count)


def verdict(found: Interval) -> str:
    """The verdict on a ratio: faster, slower, no difference seen, or too few launches."""
    if found.count < FEWEST:
        return "too few runs"
    if found.high < 1:
        return "faster"
    if found.low > 1:
        return "slower"
    return "no difference seen"


def alarming(found: Interval, limit: float) -> bool:
    """Whether it is slower by more than `limit` (0.1: a tenth), and significantly slower at all."""
    return verdict(found) == "slower" and found.mid > 1 + limit
