"""How much the processors of this machine have worked."""

from __future__ import annotations

import time


def busy() -> float:
    """Seconds of all processors since the machine started, less those in which they were idle or waited for a disk.

    Time of guests is part of the user time already (Linux: proc(5), /proc/stat).
    """
    import psutil

    told = psutil.cpu_times()._asdict()
    working = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(told.get(name, 0.0) for name in working))


def at_rest(seconds: float) -> float:
    """Processors that are busy while nothing is launched; measured for so many seconds."""
    if seconds <= 0:
        return 0.0
    begin, first = time.monotonic(), busy()
    time.sleep(seconds)
    return (busy() - first) / (time.monotonic() - begin)
