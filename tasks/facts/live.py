"""What is in a running cluster: the objects that a launch would put there, and what `tasks.facts.running` adds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.kube.objects import Key, Resources, live

if TYPE_CHECKING:
    from tasks.kube.client import Api
    from tasks.kube.components import Use
    from tasks.kube.releases import LiveRelease


@contextlib.contextmanager
def concurrently(at_once: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that is waited for at the end, but not after an error or Ctrl-C.

    An engine that hangs would otherwise delay the end of the call for as long as the slowest query may take; the
    programs that still run are ended with the call (`tasks.run.task.run_task`).
    """
    pool = ThreadPoolExecutor(max_workers=at_once)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


@dataclass(frozen=True, kw_only=True)
class Live:
    """Facts of a running cluster, read a moment ago."""

    objects: Mapping[Key, Mapping[str, Any] | None]
    """Desired objects by key; None: not there."""
    releases: Mapping[tuple[str, str], LiveRelease]
    gone: Mapping[tuple[str, str], tuple[Key, ...]] = field(default_factory=dict)
    """Objects that a release's manifest names and that are not there."""
    edited: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Fields of a release's objects that somebody has set otherwise by kubectl since it was installed."""
    unready: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Workloads of a release that are not ready, each with what is known."""
    nodes: tuple[str, ...] = ()
    """Nodes that are ready."""
    nodes_unready: tuple[str, ...] = ()
    node_blocks: tuple[str, ...] = ()
    """Addresses that traffic from nodes has, as `tasks.kube.addresses` derives them."""
    failing: tuple[str, ...] = ()
    """Endpoints of the API that fail."""
    system: Mapping[str, str] = field(default_factory=dict)
    """Workloads of kube-system, and jobs that install k3s's own charts; the text is empty for those that are ready."""
    served: tuple[str, ...] = ()
    """Endpoints that answer."""
    use: Use | None = None
    """What of the launch uses optional components; read only where one of those is not ready."""

    def namespace_ends(self, name: str) -> bool:
        """Whether a namespace is being deleted: what is still in it goes with it."""
        there = self.objects.get(Key("v1", "Namespace", None, name))
        return there is not None and bool(there["metadata"].get("deletionTimestamp"))


def read_objects(api: Api, desired: Sequence[Key]) -> Live:
    """The desired objects alone."""
    return Live(objects=live(api, Resources(api), desired), releases={})
