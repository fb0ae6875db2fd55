"""The sizing rule, as the specification words it."""

from __future__ import annotations

import pytest

from tasks.facts.machine import Sized, size

GIB = 1024**3


@pytest.mark.parametrize(
    ("cpus", "memory", "agents", "concurrency"),
    [
        (1, 1 * GIB, 1, 2),
        (2, 2 * GIB, 1, 2),
        (4, 8 * GIB, 2, 2),
        (8, 16 * GIB, 4, 4),
        (8, 16 * GIB - 1, 4, 4),
        (16, 16 * GIB - 1, 6, 7),
        (16, 64 * GIB, 6, 8),
        (64, 256 * GIB, 6, 32),
        (64, 4 * GIB, 2, 2),
        (7, 64 * GIB, 3, 3),
        (0, 0, 1, 2),
    ],
)
def test_half_of_what_is_scarcer(cpus: int, memory: int, agents: int, concurrency: int) -> None:
    assert size(cpus, memory) == Sized(agents=agents, concurrency=concurrency)
