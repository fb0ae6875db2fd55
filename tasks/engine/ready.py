"""Steps whose needs are met and that wait for a place, the longest remaining path first.

Those that need the same place stand in one queue, so that a choice looks at the heads of a few queues and never at
all that wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

from tasks.engine.step import Step

Door = tuple[str | None, str]
"""A step's kind, and what else it needs a place of: `work`, `waits` or nothing (a guard)."""


def door(step: Step) -> Door:
    """Which places a step needs."""
    return step.kind, "guard" if step.placeless else "waits" if step.wait else "work"


class Ready:
    """A set of steps by name, with the first that fits."""

    def __init__(self, rank: Mapping[str, float], order: Mapping[str, int]) -> None:
        self._rank, self._order = rank, order
        self._queues: dict[Door, list[tuple[float, int, str]]] = {}
        self._steps: dict[str, Step] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: Step) -> None:
        """It waits from now on."""
        if step.name not in self._steps:
            self._steps[step.name] = step
            entry = (-self._rank[step.name], self._order[step.name], step.name)
            heapq.heappush(self._queues.setdefault(door(step), []), entry)

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
