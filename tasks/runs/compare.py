"""Two runs, step by step: what got slower, what got faster, and how significant that is."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from tasks.core.units import count
from tasks.engine.record import RunRecord
from tasks.engine.step import Result
from tasks.runs.figures import fine, signed, signed_percent
from tasks.view.console import seconds

_LEAST = 0.2
"""Minimum difference of a step in seconds: starting a program varies by that on a busy machine."""
_PART = 0.1
"""Minimum difference as a share of its earlier seconds."""
_ENOUGH = 4
"""Minimum number of runs for a range of totals."""


class Change(Enum):
    """How a step of one run compares with that of the same name in another."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "about the same"
    NEW = "ran only now"
    GONE = "ran only before"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One step in both runs; None if it is not in the plan. At least one of them acted."""

    name: str
    before: Result | None
    after: Result | None
    critical: bool = False
    """Whether it was on the critical path of either."""

    @property
    def before_s(self) -> float:
        """Earlier seconds; 0 if it did not run."""
        return self.before.seconds if self.before is not None else 0.0

    @property
    def after_s(self) -> float:
        """Current seconds; 0 if it did not run."""
        return self.after.seconds if self.after is not None else 0.0

    @property
    def difference_s(self) -> float:
        """Positive: it takes longer now."""
        return self.after_s - self.before_s

    @property
    def change(self) -> Change:
        """How it changed."""
        if self.before is None or not self.before.acted:
            return Change.NEW
        if self.after is None or not self.after.acted:
            return Change.GONE
        if abs(self.difference_s) < max(_LEAST, self.before_s * _PART):
            return Change.SAME
        return Change.SLOWER if self.difference_s > 0 else Change.FASTER


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Totals of other runs of the same task, engine, settings and steps, in seconds."""

    runs: int
    low_s: float
    high_s: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`after` is the run that is shown, `before` the one that it is compared with."""

    before: RunRecord
    after: RunRecord
    pairs: tuple[Pair, ...]
    """In the order in which the steps started now; then those that ran only before."""
    spread: Spread | None = None
    """Totals of runs like `before`; None if there are none."""

    def of(self, *changes: Change) -> list[Pair]:
        """Pairs with these changes, the largest difference first."""
        return sorted((p for p in self.pairs if p.change in changes), key=lambda p: -abs(p.difference_s))

    @property
    def difference_s(self) -> float:
        """Difference of the totals; positive: slower now."""
        return self.after.wall_s - self.before.wall_s

    @property
    def differs(self) -> list[tuple[str, str, str]]:
        """Other differences between both: what, before, after."""
        before, after = self.before, self.after
        pairs = [
            ("task", before.task, after.task),
            ("engine", before.engine, after.engine),
            ("outcome", before.outcome, after.outcome),
            ("settings", before.settings_hash, after.settings_hash),
            ("concurrency", str(before.concurrency), str(after.concurrency)),
        ]
        old, new = before.machine, after.machine
        pairs += [(key.replace("_", " "), old.get(key, "unknown"), new.get(key, "unknown")) for key in {**old, **new}]
        return [pair for pair in pairs if pair[1] != pair[2]]


def compare(before: RunRecord, after: RunRecord, others: Iterable[RunRecord] = ()) -> Comparison:
    """Compare a run with an earlier one. `others`: further runs; those like `before` give the range of totals."""
    old = {row.name: row for row in before.results if row.name not in before.guards}
    new = {row.name: row for row in after.results if row.name not in after.guards}
    order = [row.name for row in after.acted]
    order += [row.name for row in before.acted if row.name not in set(order)]
    critical = {*before.critical_path, *after.critical_path}
    pairs = tuple(
        Pair(name=name, before=old.get(name), after=new.get(name), critical=name in critical) for name in order
    )
    kind, known = _kind(before), (before.name, after.name)
    totals = [run.wall_s for run in others if run.name not in known and run.good and _kind(run) == kind]
    spread = Spread(runs=len(totals), low_s=min(totals), high_s=max(totals)) if totals else None
    return Comparison(before=before, after=after, pairs=pairs, spread=spread)


def _kind(run: RunRecord) -> tuple[object, ...]:
    """Identifies runs with comparable totals: of the same settings, and with the same steps to run."""
    return run.task, run.engine, run.settings_hash, frozenset(row.name for row in run.acted)


def pair_cells(pair: Pair, path: str = "◆", none: str = "–") -> list[str]:
    """A row of a table: name, earlier, now, difference. `path` marks the critical path, `none` is no step."""

    def took(row: Result | None) -> str:
        return none if row is None else fine(row.seconds) if row.acted else row.state.value

    name = f"{pair.name} {path}" if pair.critical else pair.name
    return [name, took(pair.before), took(pair.after), signed(pair.difference_s)]


def headline(both: Comparison) -> str:
    """`1.3 s faster: 11.8 s against 13.1 s (-10 %)`."""
    now, then, difference = both.after.wall_s, both.before.wall_s, both.difference_s
    percent = f" ({signed_percent(now, then)})" if then > 0 else ""
    if abs(difference) < 0.05:
        return f"The same total: {seconds(now)}."
    word = "slower" if difference > 0 else "faster"
    return f"{signed(abs(difference))[1:]} {word}: {seconds(now)} against {seconds(then)}{percent}."


def verdict(both: Comparison) -> str:
    """The significance of the difference, limited to what the available runs can show."""
    if not (both.before.good and both.after.good):
        return "Not both runs succeeded: their totals are not for the same work."
    alone = len(both.of(Change.NEW, Change.GONE))
    if alone * 4 > len(both.pairs):
        of_all = f"{count(alone, 'step')} of {len(both.pairs)}"
        return f"{of_all} ran in only one of them: these are not two runs of one plan."
    spread = both.spread
    if spread is None or spread.runs < _ENOUGH:
        return "One run each: such a difference may be chance. invoke bench repeats both to find out."
    took = f"{seconds(spread.low_s)} to {seconds(spread.high_s)}"
    known = f"{spread.runs} other runs of the earlier one's steps and settings took {took}"
    if spread.low_s <= both.after.wall_s <= spread.high_s:
        return f"{known}: this one is within that range."
    side = "below" if both.after.wall_s < spread.low_s else "above"
    return f"{known}: this one is {side} all of them. invoke bench shows whether that is reproducible."
