"""How many agents, and how many commands at once, a machine can bear."""

from __future__ import annotations

from dataclasses import dataclass

MOST_AGENTS = 6
LEAST_CONCURRENCY = 2
_GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Sized:
    """What the machine's size makes of a launch where nothing else is configured."""

    agents: int
    concurrency: int


def size(cpus: int, memory_bytes: int) -> Sized:
    """Half the CPUs or half the GiB of memory, whichever is less, each rounded down.

    Whole GiB count: a machine sold with 16 GiB reports some 15.6, which are 15, hence 7.
    """
    bearable = min(cpus // 2, memory_bytes // _GIB // 2)
    return Sized(agents=max(1, min(bearable, MOST_AGENTS)), concurrency=max(bearable, LEAST_CONCURRENCY))
