"""The places of a pool: by them a step may start, or waits.

A step that works takes one of the numbered slots, one that only waits counts among the waits, and either counts among
those of its kind. A guard counts among none but its kind: it waits beside the others, and no bound may starve it.
"""

from __future__ import annotations

import heapq

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
