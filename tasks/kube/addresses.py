"""Source addresses of traffic from nodes to pods: what a network policy must allow.

The API server calls webhooks from a node. For a pod on another node, flannel gives that traffic the address of its
own interface, the first of the node's pod range (10.42.0.0); for a pod on the same node it has the bridge's,
the second (10.42.0.1). The node's own address appears where neither is involved. The whole pod range
would allow every pod of every namespace, so only those two addresses of each node are listed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks.core.proxies import Network
from tasks.kube.readiness import node_ready
from tasks.settings import k3s_arguments as k3s

if TYPE_CHECKING:
    from tasks.settings.schema import Settings


DOCKER_NETWORKS = ("172.16.0.0/12", "192.168.0.0/16")
"""Docker's default subnets for networks (docs: dockerd, default-address-pools)."""
_AT_LEAST = 16
"""Nodes provided for: ranges are assigned in the order of registration, and those of removed nodes are reused late."""


def assumed(settings: Settings) -> tuple[str, ...]:
    """CIDR blocks for a k3d cluster that does not exist yet."""
    cluster = settings.cluster
    count = max(_AT_LEAST, 2 * (cluster.servers + (6 if cluster.agents is None else cluster.agents)))
    ranges = _networks(",".join(k3s.pod_ranges(cluster)))
    outside = _networks(cluster.subnet or "") or _networks(",".join(DOCKER_NETWORKS))
    found = [each for each in outside if not any(_overlap(each, pods) for pods in ranges)]
    return _texts(
        [
            *found,
            *(block for pods in ranges for block in _first_two(pods, count, k3s.node_prefix(cluster, pods.version))),
        ]
    )


def of_nodes(nodes: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """CIDR blocks for the nodes of an existing cluster, as the API returns them."""
    found: list[Network] = []
    for node in nodes:
        addresses = (node.get("status") or {}).get("addresses") or ()
        found += [net for each in addresses if each["type"] == "InternalIP" for net in _networks(each["address"])]
        spec = node.get("spec") or {}
        ranges = spec.get("podCIDRs") or [spec.get("podCIDR") or ""]
        found += [_pair(net.network_address, net.prefixlen) for text in ranges for net in _networks(text)]
    return _texts(found)


def joining(nodes: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of nodes that have joined a moment ago: they will have a pod range.

    Empty if a ready node has none, since the cluster's network plugin then assigns addresses without ranges.
    """
    late = [node for node in nodes if not (node.get("spec") or {}).get("podCIDR")]
    return () if any(map(node_ready, late)) else tuple(str(node["metadata"]["name"]) for node in late)


def _networks(text: str) -> list[Network]:
    """The networks of a comma-separated list; other values, such as k3d's `auto`, are skipped."""
    found: list[Network] = []
    for part in text.split(","):
        try:
            found.append(ipaddress.ip_network(part.strip(), strict=False))
        except ValueError:
            continue
    return found


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _first_two(pods: Network, count: int, prefix: int) -> Iterator[Network]:
    """The first two addresses of each node's part of a pod range."""
    prefix = max(prefix, pods.prefixlen)
    size = 1 << (pods.max_prefixlen - prefix)
    for number in range(min(count, 1 << (prefix - pods.prefixlen))):
        yield _pair(pods.network_address + number * size, prefix)


def _pair(first: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int) -> Network:
    return ipaddress.ip_network((first, max(prefix, first.max_prefixlen - 1)))


def _texts(networks: Sequence[Network]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(each) for each in networks))
