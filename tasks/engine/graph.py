"""The order of steps: errors of a graph before anything starts, its critical path, and the places of a pool.

A working step takes one of the numbered slots, a waiting step counts against the bound of waits, and either against
that of its kind. A guard counts only against its kind: it waits alongside the others, and no bound may starve it.
"""

import difflib
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from tasks.core.errors import PlanError
from tasks.engine.step import Bounds, Result, Step


def check(steps: Sequence[Step]) -> tuple[str, ...]:
    """Names in an order that satisfies every need; raises `PlanError` for a graph that cannot run."""
    names: set[str] = set()
    for step in steps:
        if step.name in names:
            raise PlanError(
                f"two steps are called '{step.name}'",
                why="results are identified by the step's name, so names must be unique in a plan",
                fix="rename one of them",
            )
        names.add(step.name)
    for step in steps:
        for need in (*step.needs, *step.until, *step.awaits):
            if need not in names:
                near = difflib.get_close_matches(need, names, n=1)
                raise PlanError(
                    f"the step '{step.name}' needs '{need}', which is not in the plan",
                    why="every need of a step must be a step of the same plan",
                    fix=f"did you mean '{near[0]}'?" if near else "add that step or drop the need",
                )
    try:
        return tuple(TopologicalSorter({s.name: (*s.needs, *s.awaits) for s in steps}).static_order())
    except CycleError as error:
        ring = " → ".join(error.args[1])
        raise PlanError(
            f"steps wait for each other: {ring}",
            why="a step starts when all its needs are met; in a cycle that never happens",
            fix="remove one of these needs (releases: their `needs`)",
        ) from None


def reduced(steps: Sequence[Step]) -> list[Step]:
    """The same graph without needs that follow from other needs. Raises `PlanError` as `check` does."""
    by_name = {step.name: step for step in steps}
    above: dict[str, frozenset[str]] = {}
    for name in check(steps):
        needs = by_name[name].needs
        above[name] = frozenset(needs).union(*(above[need] for need in needs))
    return [replace(step, needs=_direct(step, above)) for step in steps]


def fitted(steps: Sequence[Step]) -> list[Step]:
    """Drop needs that are not in this plan, and those that follow from others."""
    names = {step.name for step in steps}
    return reduced(
        [
            replace(
                step,
                needs=tuple(dict.fromkeys(need for need in step.needs if need in names and need != step.name)),
                until=tuple(name for name in step.until if name in names),
                awaits=tuple(name for name in step.awaits if name in names),
            )
            for step in steps
        ]
    )


def _direct(step: Step, above: Mapping[str, frozenset[str]]) -> tuple[str, ...]:
    implied = frozenset().union(*(above[need] for need in step.needs))
    return tuple(need for need in step.needs if need not in implied)


def remaining(steps: Sequence[Step], seconds: Mapping[str, float]) -> dict[str, float]:
    """For each step the longest path from its start to the end of the plan, in seconds."""
    followers: dict[str, list[str]] = {s.name: [] for s in steps}
    for step in steps:
        for need in step.needs:
            followers[need].append(step.name)
    longest: dict[str, float] = {}
    for name in reversed(check(steps)):
        longest[name] = seconds.get(name, 0.0) + max((longest[f] for f in followers[name]), default=0.0)
    return longest


def guessed(steps: Iterable[Step], history: Mapping[str, float]) -> dict[str, float]:
    """Expected seconds of each step: recorded by an earlier run, else the plan's guess."""
    return {s.name: 0.0 if s.skip is not None or s.until else history.get(s.name, s.expected or 1.0) for s in steps}


def longest_chain(steps: Sequence[Step], seconds: Mapping[str, float]) -> tuple[float, tuple[str, ...]]:
    """The longest chain of needs and its length in seconds: no bound can make the run shorter."""
    finish: dict[str, float] = {}
    before: dict[str, str | None] = {}
    by_name = {s.name: s for s in steps}
    for name in check(steps):
        needs = by_name[name].needs
        last = max(needs, key=lambda n: finish[n], default=None)
        before[name] = last
        finish[name] = seconds.get(name, 0.0) + (finish[last] if last is not None else 0.0)
    if not finish:
        return 0.0, ()
    end: str | None = max(finish, key=lambda n: finish[n])
    total = finish[end] if end is not None else 0.0
    chain: list[str] = []
    while end is not None:
        if seconds.get(end, 0.0) > 0:
            chain.append(end)
        end = before[end]
    return total, tuple(reversed(chain))


def critical_path(results: Sequence[Result], guards: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The chain that determined the end of this run: from the last end back through the need that was met last."""
    by_name = {r.name: r for r in results}
    ended = [r for r in results if r.end_s is not None and r.start_s is not None and r.name not in guards]
    if not ended:
        return ()
    current: Result | None = max(ended, key=lambda r: r.end_s or 0.0)
    chain: list[str] = []
    while current is not None:
        if current.seconds > 0:
            chain.append(current.name)
        needs = [by_name[n] for n in current.needs if by_name[n].end_s is not None]
        current = max(needs, key=lambda r: r.end_s or 0.0, default=None)
    return tuple(reversed(chain))


def joined(
    earlier: tuple[Sequence[Step], Sequence[Result]], later: tuple[Sequence[Step], Sequence[Result]]
) -> tuple[list[Step], list[Result]]:
    """Two plans of one run: the later one started when all of the earlier one had ended, even independent steps."""
    guards = {step.name for step in earlier[0] if step.until}
    last = max((each for each in earlier[1] if each.name not in guards), key=lambda each: each.ended, default=None)
    acted = {each.name for each in later[1] if each.acted}

    def after(needs: tuple[str, ...]) -> tuple[str, ...]:
        return needs if last is None or last.name in needs or acted.intersection(needs) else (*needs, last.name)

    return (
        [*earlier[0], *(replace(each, needs=after(each.needs)) for each in later[0])],
        [*earlier[1], *(replace(each, needs=after(each.needs)) for each in later[1])],
    )


class Places:
    """The occupied places of a pool."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._slots = list(range(bounds.work))
        self._waits = 0
        self._kinds: dict[str, int] = {}

    def fit(self, step: Step) -> bool:
        """Whether a place is free for this step."""
        if step.kind is not None:
            most = self._bounds.kinds.get(step.kind, self._bounds.work)
            if self._kinds.get(step.kind, 0) >= most:
                return False
        if step.placeless:
            return True
        return self._waits < self._bounds.waits if step.wait else bool(self._slots)

    def take(self, step: Step) -> int | None:
        """Take a place, which must be free; returns the lowest free slot if the step needs one."""
        if step.kind is not None:
            self._kinds[step.kind] = self._kinds.get(step.kind, 0) + 1
        if step.placeless:
            return None
        if step.wait:
            self._waits += 1
            return None
        return heapq.heappop(self._slots)

    def free_slot(self, step: Step, slot: int | None) -> None:
        """Release what `take` has taken."""
        if step.kind is not None:
            self._kinds[step.kind] -= 1
        if slot is not None:
            heapq.heappush(self._slots, slot)
        elif not step.placeless:
            self._waits -= 1


Claim = tuple[str | None, str]
"""A step's kind, and the other bound that it counts against: `work`, `waits` or none (a guard)."""


def claim(step: Step) -> Claim:
    """The places that a step needs."""
    return step.kind, "guard" if step.placeless else "waits" if step.wait else "work"


class Ready:
    """A set of steps by name; returns the first that fits."""

    def __init__(self, rank: Mapping[str, float], order: Mapping[str, int]) -> None:
        self._rank, self._order = rank, order
        self._queues: dict[Claim, list[tuple[float, int, str]]] = {}
        self._steps: dict[str, Step] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: Step) -> None:
        """Add a step that waits for its place."""
        if step.name not in self._steps:
            self._steps[step.name] = step
            entry = (-self._rank[step.name], self._order[step.name], step.name)
            heapq.heappush(self._queues.setdefault(claim(step), []), entry)

    def discard(self, name: str) -> None:
        """Remove a step; its entry is skipped when it reaches the head of the queue."""
        self._steps.pop(name, None)

    def pop(self, fits: Callable[[Step], bool]) -> Step | None:
        """Remove and return the first step that fits; None if none does. In one queue all steps fit, or none."""
        best: list[tuple[float, int, str]] | None = None
        for waiting in self._queues.values():
            while waiting and waiting[0][2] not in self._steps:
                heapq.heappop(waiting)
            if waiting and (best is None or waiting[0] < best[0]) and fits(self._steps[waiting[0][2]]):
                best = waiting
        if best is None:
            return None
        return self._steps.pop(heapq.heappop(best)[2])
