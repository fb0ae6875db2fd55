"""What follows from settings alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.settings.schema import Settings

KUBELET_DROP_IN = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/50-openframe.conf"
"""Read by kubelets of k3s 1.32 and later (docs: k3s, kubelet configuration files)."""
EDAC = "/sys/devices/system/edac"
"""Where Linux reports memory with error correction; to cAdvisor it wins over /proc/meminfo."""


def balanced(settings: Settings) -> bool:
    """Whether k3d's load balancer is in front of the servers."""
    desired = settings.cluster.loadbalancer
    return settings.cluster.servers > 1 if desired is None else desired


def docker_memory(text: str) -> str:
    """A size in whole MiB: one spelling for the same size, so that 2G and 2048M are no change."""
    from tasks.settings.words import memory_bytes

    return f"{memory_bytes(text) // 1024**2}m"
