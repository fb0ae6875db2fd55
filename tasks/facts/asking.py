"""Questions asked side by side; when one of them ends the call, nobody waits for the others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


@contextlib.contextmanager
def side_by_side(at_once: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that is waited for at the end, but not after an error or Ctrl-C.

    An engine that hangs would otherwise keep its asker for as long as the slowest question may take; the
    programs that still run are ended with the call (`tasks.run.session.guarded`).
    """
    pool = ThreadPoolExecutor(max_workers=at_once)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
