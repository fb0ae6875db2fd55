"""Which ports of this machine a cluster gets: chosen from facts, again if the engine rejects one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tasks.facts.cluster import ClusterState, Presence
from tasks.facts.facts import Facts, Ports
from tasks.process.programs import Programs
from tasks.settings.derived import balanced
from tasks.settings.schema import Settings

if TYPE_CHECKING:
    from tasks.facts.engine import Engine
    from tasks.k3d.create import NextPorts

_LOOPBACK = "127.0.0.1"
"""Where the API is published, whatever the bind address."""
_LAST = 65535


@dataclass(frozen=True, kw_only=True)
class Choosers:
    """How ports are chosen: functions over facts of this machine, passed in so that plans stay pure."""

    next_ports: NextPorts
    free_port: Callable[[int | None], int]


def ports_for(
    programs: Programs, settings: Settings, cluster: ClusterState, host: Engine, published: frozenset[int] | None = None
) -> Ports:
    """Ports of the existing cluster, or, for a new one, the desired ports that are free, else others.

    `published`: ports that containers publish, if already known.
    """
    if cluster.presence.to_create:
        return choose_ports(programs, settings, frozenset(), host, own=held_by(cluster), published=published)
    api = cluster.port(6443) or settings.cluster.ports.api
    early = cluster.port(6443, first_server=True)
    return Ports(
        http=cluster.port(80), https=cluster.port(443), api=api, early=early if early and early != api else None
    )


def held_by(cluster: ClusterState) -> frozenset[int]:
    """Ports that a cluster's own nodes publish: they become free when it is removed."""
    return frozenset(host for node in cluster.nodes for _inside, _address, host in node.published)


def without_cluster(facts: Facts) -> Facts:
    """The same facts without the cluster: its ports are chosen again from the settings."""
    cluster = facts.cluster
    return replace(
        facts,
        cluster=replace(cluster, presence=Presence.ABSENT, nodes=()),
        ports=choose_ports(facts.programs, facts.settings, frozenset(), facts.host, own=held_by(cluster)),
        live=None,
    )


def choose_ports(
    programs: Programs,
    settings: Settings,
    refused: frozenset[int],
    host: Engine | None,
    *,
    own: frozenset[int] = frozenset(),
    published: frozenset[int] | None = None,
) -> Ports:
    """Each desired port, else its fallback, else any free port; no duplicates, and none that the engine has rejected.

    `own` are in use by nodes that are removed before the ports are needed.
    """
    from tasks.facts.ports import choose, low_port_start, published_ports, taken

    lowest = low_port_start() if host is not None and host.rootless else 0
    desired, address = settings.cluster.ports, settings.cluster.bind_address
    listed = published_ports(programs) if published is None else published
    used = set(refused)

    def pick(wish: int, fallback: int | None, where: str) -> int:
        def busy(port: int) -> bool:
            if port in used or port < lowest:
                return True
            return port not in own and (port in listed or taken(where, port))

        port = choose(wish, fallback, busy)
        used.add(port)
        return port

    http = pick(desired.http, desired.http_fallback, address) if desired.http is not None else None
    https = pick(desired.https, desired.https_fallback, address) if desired.https is not None else None
    api = pick(desired.api, desired.api_fallback, _LOOPBACK)
    early = pick(_beside(api), None, _LOOPBACK) if balanced(settings) else None
    return Ports(http=http, https=https, api=api, early=early)


def _beside(api: int) -> int:
    """The preferred host port for server-0's own API port."""
    return api + 1000 if api + 1000 <= _LAST else api - 1000


def choosers(facts: Facts) -> Choosers:
    """Port choices for plans."""
    from tasks.facts.ports import choose, published_ports, taken

    settings, programs = facts.settings, facts.programs
    given: set[int] = set()

    def again(ports: Ports, reported: int | None) -> Ports:
        """Choose again after the engine rejected one of these: the reported one, and any now seen to be in use."""
        tried = {port for port in (ports.http, ports.https, ports.api, ports.early) if port is not None}
        published = published_ports(programs)
        refused = frozenset(port for port in tried if port == reported or port in published or hidden(port))
        return choose_ports(programs, settings, refused, facts.host)

    def hidden(port: int) -> bool:
        return taken(settings.cluster.bind_address, port) or taken(_LOOPBACK, port)

    def free_port(wish: int | None) -> int:
        published = published_ports(programs)
        port = choose(
            wish or settings.registries.port + 1,
            None,
            lambda p: p in given or p in published or taken(_LOOPBACK, p),
        )
        given.add(port)
        return port

    return Choosers(next_ports=again, free_port=free_port)
