"""Two measured variants, or two recorded results, compared; and the gate for CI."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tasks.benchmark.results import Measured, Results
from tasks.benchmark.statistics import Interval, alarming, ratio, verdict
from tasks.core.errors import BadInput

_SHARE = 0.25
"""A step is named if it accounts for that share of the slowdown."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`other` compared with `one`: ratios of medians."""

    one: str
    other: str
    wall: Interval
    cpu: Interval | None
    """None if no CPU time was measured."""
    slower: tuple[tuple[str, float, float], ...] = ()
    """Slower steps of the other's critical path: name, seconds before and now."""

    @property
    def verdict(self) -> str:
        """From the wall time."""
        return verdict(self.wall)


def inside(results: Results) -> tuple[Comparison, ...]:
    """Each with each before it; for two settings A and B only those of one mode."""
    names = results.names
    pairs = [(one, other) for at, other in enumerate(names) for one in names[:at]]
    if any(name.startswith("A ") for name in names):
        pairs = [(one, other) for one, other in pairs if one == f"A {other[2:]}" and other.startswith("B ")]
    return tuple(
        _compare(one, other, *_of_same_rounds(results.of(one), results.of(other)), paired=True) for one, other in pairs
    )


def between(before: Results, now: Results) -> tuple[Comparison, ...]:
    """The same variants of two recorded results; without a common name, the only one of each. Raises `BadInput`."""
    common = [name for name in now.names if name in before.names]
    pairs = [(name, name) for name in common]
    if not pairs and len(before.names) == len(now.names) == 1:
        pairs = [(before.names[0], now.names[0])]
    if not pairs:
        raise BadInput(
            "the two results have nothing in common",
            why=f"one has {', '.join(before.names) or 'none'}, the other {', '.join(now.names) or 'none'}",
            fix="measure the same modes",
        )
    return tuple(
        _compare(f"{one}, before", f"{other}, now", before.of(one), now.of(other), paired=False) for one, other in pairs
    )


def exceeding(comparisons: Sequence[Comparison], limit: float) -> tuple[Comparison, ...]:
    """Comparisons that are slower by more than the limit: of `graph`, if that was compared, else of all."""
    graph = [each for each in comparisons if "graph" in each.other.split(",")[0].split()[-1]]
    return tuple(each for each in graph or comparisons if alarming(each.wall, limit))


def share(text: str) -> float:
    """0.1 for `10%` or `0.1`. Raises `BadInput`."""
    try:
        found = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        found = -1.0
    if not 0 <= found < 100:
        raise BadInput(f"--fail-over is '{text}'", why="it is a share of the time before", fix="write it as 10%")
    return found


def _of_same_rounds(one: Sequence[Measured], other: Sequence[Measured]) -> tuple[list[Measured], list[Measured]]:
    both = {run.round for run in one} & {run.round for run in other}
    return [run for run in one if run.round in both], [run for run in other if run.round in both]


def _compare(
    one: str, other: str, first: Sequence[Measured], second: Sequence[Measured], *, paired: bool
) -> Comparison:
    wall = ratio([run.wall_s for run in first], [run.wall_s for run in second], paired=paired)
    spent = [run.cpu_s for run in first], [run.cpu_s for run in second]
    cpu = ratio(*spent, paired=paired) if min(*spent[0], *spent[1]) > 0 else None
    return Comparison(one=one, other=other, wall=wall, cpu=cpu, slower=slower(first, second))


def slower(first: Sequence[Measured], second: Sequence[Measured]) -> tuple[tuple[str, float, float], ...]:
    """Steps of the critical path that account for the slowdown of the second, the worst first."""
    grown = median(run.wall_s for run in second) - median(run.wall_s for run in first)
    often = [name for run in second for name in run.critical_path]
    path = [name for name in dict.fromkeys(often) if 2 * often.count(name) >= len(second)]
    rows = []
    for name in path:
        before, now = _seconds(first, name), _seconds(second, name)
        if before is not None and now is not None and now - before >= _SHARE * grown > 0:
            rows.append((name, before, now))
    return tuple(sorted(rows, key=lambda row: row[1] - row[2]))


def _seconds(runs: Sequence[Measured], name: str) -> float | None:
    took = [run.steps[name][1] - run.steps[name][0] for run in runs if name in run.steps]
    return median(took) if took else None
