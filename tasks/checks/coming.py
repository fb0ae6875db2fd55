"""What a launch will bring, against the room and the pulls that are left: said before, not when half of it is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.checks.capacity import EVICTION
from tasks.checks.facts import Facts
from tasks.checks.finding import Finding, Level
from tasks.checks.hub import HUB
from tasks.objects.images import parse

if TYPE_CHECKING:
    from tasks.settings.tree import Settings

_MIB = 1024**2
K3S, OTHER = 250 * _MIB, 60 * _MIB
"""Bytes on the engine's disk: the node image, and one of the small ones (registry, proxy, tools)."""
NODE = 300 * _MIB
"""k3s unpacks its own programs in each node (k3s: `/var/lib/rancher/k3s/data`)."""
SYSTEM = 900 * _MIB
"""Images of k3s's own pods in all nodes together, unpacked and packed, and in the caches."""
RELEASE = 500 * _MIB
"""Images of one chart: a few of some 60 MiB each, packed and unpacked, in a node and in a cache."""
SYSTEM_PULLS, RELEASE_PULLS = 8, 2
"""Pulls from Docker Hub: k3s's pods have rancher/… images; a chart may have some, or none."""


def room(facts: Facts) -> Iterator[Finding]:
    """Disk against the images to come."""
    if facts.missing is None or facts.disk is None or facts.engine is None:
        return
    need = _bytes(facts)
    left = facts.disk.free - need
    what = f"about {need / 1024**3:.1f} GiB: {_count(facts)}"
    if left < EVICTION * facts.disk.total:
        yield Finding(
            check="images",
            level=Level.WARNING,
            what=f"{what}; {facts.disk.free / 1024**3:.1f} GiB are free",
            why="the launch would leave less than 5 % of the disk, and k3s evicts pods there",
            fix="`docker system df` shows what takes the room, `docker image prune` removes images that nothing uses",
        )
    else:
        yield Finding(check="images", level=Level.OK, what=what)


def pulls(facts: Facts) -> Iterator[Finding]:
    """Docker Hub's remaining pulls against those to come."""
    found = facts.hub
    if found is None or facts.missing is None:
        return
    need = _pulls(facts)
    whole = f" of {found.limit}" if found.limit is not None else ""
    whose = "your account" if found.account else "this address"
    what = f"{found.remaining}{whole} pulls left for {whose}; this launch needs up to {need}"
    if found.remaining >= need:
        yield Finding(check="Docker Hub", level=Level.OK, what=what)
        return
    wait = f"; they are counted over {found.hours:g} hours" if found.hours else ""
    yield Finding(
        check="Docker Hub",
        level=Level.WARNING,
        what=what,
        why=f"Docker Hub answers 429 to all others{wait}. What a cache has already is not counted",
        fix="wait; or `docker login`, and for the cache username_env and password_env of registries.caches.docker\\.io",
    )


def _bytes(facts: Facts) -> int:
    assert facts.missing is not None
    need = sum(K3S if image == facts.missing[0] and "k3s" in image else OTHER for image in facts.missing)
    if facts.stands:
        return need
    return need + _nodes(facts) * NODE + SYSTEM + _releases(facts.settings) * RELEASE


def _pulls(facts: Facts) -> int:
    assert facts.missing is not None
    need = sum(parse(image).registry == HUB for image in facts.missing)
    return need if facts.stands else need + SYSTEM_PULLS + RELEASE_PULLS * _releases(facts.settings)


def _count(facts: Facts) -> str:
    assert facts.missing is not None
    pulled = f"{len(facts.missing)} image{'' if len(facts.missing) == 1 else 's'} to pull"
    if facts.stands:
        return f"{pulled}, and the cluster has its own"
    releases = _releases(facts.settings)
    return f"{pulled}, and those of {_nodes(facts)} nodes and {releases} release{'' if releases == 1 else 's'}"


def _nodes(facts: Facts) -> int:
    return facts.settings.cluster.servers + facts.agents


def _releases(settings: Settings) -> int:
    from tasks.settings.releases import wanted

    return len(wanted(settings))
