"""What nodes mount: volumes, and files of the state folder, without which no node starts and `docker cp` fails."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.files import write_whole
from tasks.core.units import KIB
from tasks.settings.derived import DATA, IDENTITY

if TYPE_CHECKING:
    from tasks.facts.cluster import ClusterState, Node
    from tasks.settings.schema import Settings

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


def data_is_mounted(cluster: ClusterState) -> bool:
    """Whether a node's data is a mount: in a cluster from a snapshot, or by `cluster.volumes`.

    k3d gives a new agent the mounts of another node (k3d: `NodeAddToCluster`): two k3s would write to the same data.
    """
    binds = [bind for node in cluster.of("server", "agent") for bind in node.binds]
    return cluster.presence.complete and any(_mount(bind)[1] in (DATA, IDENTITY) for bind in binds)


def agents(settings: Settings, cluster: ClusterState, fitting: int) -> int:
    """The number of agents; `fitting`: as many as the machine allows."""
    if settings.cluster.agents is not None:
        return settings.cluster.agents
    return len(cluster.of("agent")) if data_is_mounted(cluster) else fitting


def _mount(text: str) -> tuple[Path, str]:
    source, _, rest = text.partition(":")
    return Path(source), rest.partition(":")[0]
