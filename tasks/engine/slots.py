"""The places of a pool: by them a step may start, or waits.

A step that works takes one of the numbered slots, one that only waits counts among the waits, and either counts among
those of its kind. A guard counts among none but its kind: it waits beside the others, and no bound may starve it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

from tasks.engine.step import Bounds, Step


class Places:
    """Which places are taken."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._slots = list(range(bounds.work))
        self._waits = 0
        self._kinds: dict[str, int] = {}

    def fit(self, step: Step) -> bool:
        """Whether there is a place for this step now."""
        if step.kind is not None:
            most = self._bounds.kinds.get(step.kind, self._bounds.work)
            if self._kinds.get(step.kind, 0) >= most:
                return False
        if step.placeless:
            return True
        return self._waits < self._bounds.waits if step.wait else bool(self._slots)

    def take(self, step: Step) -> int | None:
        """Its place, which must be there; the lowest free slot if it needs one."""
        if step.kind is not None:
            self._kinds[step.kind] = self._kinds.get(step.kind, 0) + 1
        if step.placeless:
            return None
        if step.wait:
            self._waits += 1
            return None
        return heapq.heappop(self._slots)

    def give_back(self, step: Step, slot: int | None) -> None:
        """What `take` gave it."""
        if step.kind is not None:
            self._kinds[step.kind] -= 1
        if slot is not None:
            heapq.heappush(self._slots, slot)
        elif not step.placeless:
            self._waits -= 1


Claim = tuple[str | None, str]
"""A step's kind, and what else it needs a place of: `work`, `waits` or nothing (a guard)."""


def claim(step: Step) -> Claim:
    """Which places a step needs."""
    return step.kind, "guard" if step.placeless else "waits" if step.wait else "work"


class Ready:
    """A set of steps by name, with the first that fits."""

    def __init__(self, rank: Mapping[str, float], order: Mapping[str, int]) -> None:
        self._rank, self._order = rank, order
        self._queues: dict[Claim, list[tuple[float, int, str]]] = {}
        self._steps: dict[str, Step] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: Step) -> None:
        """It waits from now on."""
        if step.name not in self._steps:
            self._steps[step.name] = step
            entry = (-self._rank[step.name], self._order[step.name], step.name)
            heapq.heappush(self._queues.setdefault(claim(step), []), entry)

    def discard(self, name: str) -> None:
        """It waits no more; its entry is passed over when it comes to the head."""
        self._steps.pop(name, None)

    def pop(self, fits: Callable[[Step], bool]) -> Step | None:
        """Take out the first of those that fit; None if none does. Of one queue all fit, or none."""
        best: list[tuple[float, int, str]] | None = None
        for queue in self._queues.values():
            while queue and queue[0][2] not in self._steps:
                heapq.heappop(queue)
            if queue and (best is None or queue[0] < best[0]) and fits(self._steps[queue[0][2]]):
                best = queue
        if best is None:
            return None
        return self._steps.pop(heapq.heappop(best)[2])
