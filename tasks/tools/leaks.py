"""What this process and its programs never leave to others: core dumps, and files that all may change."""

from __future__ import annotations

import contextlib
import os

_WRITABLE = 0o022
"""Rights of group and others that nothing of ours is made with; what is private gets its own mode besides."""


def close() -> None:
    """No core dump from here on: one would hold every secret that was read. And no files that others could write."""
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    # 1 and not 0: a limit of 0 does not keep Linux from handing the dump to a program, 1 does (fs/coredump.c)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (min(1, hard) if hard != resource.RLIM_INFINITY else 1, hard))
    os.umask(os.umask(_WRITABLE) | _WRITABLE)
