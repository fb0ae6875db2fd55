"""Files of the state folder that nodes mount. Without them no node starts again, and `docker cp` fails."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.files import write_whole
from tasks.core.units import KIB

if TYPE_CHECKING:
    from tasks.facts.cluster import Node

MEMINFO = "/proc/meminfo"
EDAC = "/sys/devices/system/edac"
"""Where Linux reports ECC memory; cAdvisor prefers it to /proc/meminfo."""


def meminfo(memory: int) -> str:
    """The contents of `/proc/meminfo` for a node with this memory, in bytes."""
    return f"MemTotal: {memory // KIB} kB\nSwapTotal: 0 kB\n"


def restored(nodes: Sequence[Node]) -> bool:
    """Whether files that follow from the nodes themselves were missing, and are there again.

    Somebody has deleted the state folder. Docker may have created folders in place of files since.
    """
    found = False
    with contextlib.suppress(OSError):
        for node in nodes:
            for source, target in (_mount(text) for text in node.binds):
                if target == MEMINFO and not source.is_file() and node.memory:
                    source.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    with contextlib.suppress(FileNotFoundError):
                        source.rmdir()
                    write_whole(source, meminfo(node.memory), mode=0o644)
                    found = True
                elif target == EDAC and not source.exists():
                    source.mkdir(mode=0o700, parents=True)
                    found = True
    return found


def _mount(text: str) -> tuple[Path, str]:
    source, _, rest = text.partition(":")
    return Path(source), rest.partition(":")[0]
