"""What a plan is made from: settings, facts of engine and cluster, and the tools that its steps will use."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.core.errors import ClusterAbsent
from tasks.core.files import sha256
from tasks.core.paths import own_tasks
from tasks.kube.objects import Key, Resources, live

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tasks.clients.bundle import Bundle
    from tasks.clients.snapshots import Restore
    from tasks.core.paths import ClusterPaths
    from tasks.core.proxies import Proxy
    from tasks.facts.backend import Backend
    from tasks.facts.builds import BuildState
    from tasks.facts.cluster import ClusterState
    from tasks.facts.engine import Engine
    from tasks.k3d.lease import Leases
    from tasks.kube.client import Api
    from tasks.kube.components import Use
    from tasks.kube.releases import LiveRelease
    from tasks.kube.watch import Watched
    from tasks.process.programs import Programs
    from tasks.settings.schema import Release, Settings


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


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Host ports that were chosen; None: not published."""

    http: int | None
    https: int | None
    api: int
    early: int | None = None
    """server-0's own API port beside the load balancer's: it answers before that has started."""

    @property
    def first_api(self) -> int:
        """The port at which the API answers first."""
        return self.early or self.api


NETWORK_SETTINGS = ("network.proxy.http", "network.proxy.https", "network.proxy.no_proxy", "network.ca")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
AUTHORITIES = "/etc/ssl/certs/openframe-ca.pem"
"""In caches and nodes: the authorities that they trust beside those of their image."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """The proxies and authorities of caches and nodes; by default none."""

    http: Proxy | None = None
    https: Proxy | None = None
    direct: tuple[str, ...] = ()
    """What is reached without a proxy, beside what follows from the cluster."""
    authorities: str = field(default="", repr=False)
    """Certificates in PEM form, each once."""

    @property
    def proxied(self) -> bool:
        """Whether there is a proxy."""
        return self.http is not None or self.https is not None

    def environment(self, own: Iterable[str] = ()) -> dict[str, str]:
        """Variables of a container, with logins; `own`: what it reaches without a proxy. Empty without proxies."""
        if not self.proxied:
            return {}
        from tasks.core.proxies import LOOPBACK

        given = {"HTTP_PROXY": self.http, "HTTPS_PROXY": self.https}
        direct = "*" if "*" in self.direct else ",".join(dict.fromkeys([*LOOPBACK, *own, *self.direct]))
        return {**{name: each.url for name, each in given.items() if each is not None}, "NO_PROXY": direct}

    @property
    def described(self) -> dict[str, str]:
        """By setting what it is, for people, and without logins; only what there is.

        Of a login four digits of its hash: a change shows, and no guess can be confirmed by them.
        """
        found = {}
        for name, each in (("http", self.http), ("https", self.https)):
            if each is not None:
                login = f" (login {sha256(each.url)[:4]})" if each.user or each.password else ""
                found[f"network.proxy.{name}"] = f"{each.shown}{login}"
        if self.direct and self.proxied:
            found["network.proxy.no_proxy"] = ",".join(self.direct)
        if self.authorities:
            count = self.authorities.count("-----BEGIN CERTIFICATE-----")
            found["network.ca"] = f"{count} certificate{'' if count == 1 else 's'} {sha256(self.authorities)[:12]}"
        return found

    @property
    def mark(self) -> str:
        """A short text that changes with what is configured; empty if there is nothing."""
        return sha256(repr(sorted(self.described.items())))[:12] if self.described else ""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the machine and the settings make of a cluster."""

    image: str
    agents: int
    concurrency: int
    parallel_pulls: int | None = None
    """Image pulls at once in each node; None: as many as the kubelet likes."""
    registries: tuple[str, ...] = ()
    """Containers to connect to the cluster's network, as `name:port`."""
    registries_yaml: str = ""
    network: Network = Network()
    """Proxies and certificate authorities of caches and nodes."""
    cgroup_v1: bool = False
    """The engine puts nodes into groups of version 1."""
    owner: str = ""
    """Value of the label that says whose cluster it is."""
    subnets: tuple[str, ...] = ()
    """Networks from which the engine takes those of its clusters; empty: it does not say, so its usual ones."""


@dataclass(kw_only=True)
class Outputs:
    """What steps of one run leave for later ones: the only state that changes while a plan runs."""

    ports: Ports | None = None
    """Host ports in force: chosen again when the engine reports one as taken."""
    removing: bool = False
    """Nodes are being removed on purpose: their end is no failure."""
    manifests: dict[str, str] = field(default_factory=dict, repr=False)
    """Manifests of releases that this run installed, by `namespace/name`: secrets may be in them."""
    charts: dict[str, str] = field(default_factory=dict)
    """Archives that this run downloaded, by chart and version."""
    registry_ports: dict[str, int] = field(default_factory=dict)
    """Host ports of registries that this run made or found, by container."""
    ended: dict[str, str] = field(default_factory=dict)
    """Nodes that have ended while they were watched, and what is known of it; they may run again."""
    own: dict[tuple[str, ...], list[dict[str, Any]]] = field(default_factory=dict, repr=False)
    """The user's own objects, by their files: read once, since they may be large. Secrets may be among them."""
    images: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Images that this run found, by what they depend on (`tasks.run.images`)."""
    registry_ids: dict[str, str] = field(default_factory=dict)
    """Ids of registry containers that this run made."""
    leases: Leases | None = None
    """That this run is about to use the shared registries, written on the engine."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that plans are made from: settings, and what was observed once. Made by `tasks.run.gather`."""

    settings: Settings
    root: Path
    environ: Mapping[str, str] = field(repr=False)
    backend: Backend
    programs: Programs
    k3d_programs: Programs
    """With the environment that k3d may see."""
    helm_programs: Programs
    """With Helm's folders in those of this project."""
    paths: ClusterPaths
    host: Engine | None = None
    """The Docker engine; None where none is queried."""
    cluster: ClusterState
    shape: Shape
    ports: Ports | None = None
    images: Mapping[str, bool] = field(default_factory=dict)
    """Images of the launch, and whether the engine has them for its own platform."""
    other_platforms: Mapping[str, str] = field(default_factory=dict)
    """Images that it has for another platform alone, and for which."""
    registries: Mapping[str, Any] = field(default_factory=dict)
    """Registry containers that exist, by name."""
    live: Live | None = field(default=None, repr=False)
    """What is in the cluster; None where its API does not answer."""
    releases: tuple[Release, ...] = ()
    helm_version: str = ""
    helm_major: int = 4
    secrets: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    secrets_left_out: tuple[tuple[str, str], ...] = ()
    """Name and reason of secrets without a value."""
    environment: str = ""
    """In a foreign cluster: what its objects are labelled with when they are created."""
    restore: Restore | None = None
    """The snapshot that the cluster is made from; None: it is made empty, or is there."""
    clear_pending: bool = False
    """Whether releases that another Helm has left pending, or is at work on, are cleared."""
    bundle: Bundle | None = None
    """What has everything that would be downloaded: nothing else is asked for it."""
    rendered: Mapping[Path, str] = field(default_factory=dict, repr=False)
    """The user's folders of manifests that have a kustomization, as kubectl renders them: secrets may be in them."""
    builds: tuple[BuildState, ...] = ()
    """The user's own images; none for parts that need not know them."""
    outputs: Outputs = field(default_factory=Outputs)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _api: list[Api] = field(default_factory=list)
    _watched: list[Watched] = field(default_factory=list)

    @property
    def owns_cluster(self) -> bool:
        """Whether this project makes and removes the cluster."""
        return self.backend.owns_cluster

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.settings.cluster.name

    @property
    def platform(self) -> str:
        """The engine's own platform, such as `linux/amd64`; empty where it is not known."""
        return self.host.platform if self.host is not None else ""

    @property
    def placeholders(self) -> dict[str, str]:
        """What `${NAME}` stands for in values and manifests."""
        cluster = self.settings.cluster
        found = {"IP": cluster.bind_address, "DOMAIN": cluster.domain}
        for build in self.builds:
            found |= build.placeholders
        return found

    @property
    def has_own_steps(self) -> bool:
        """Whether there are steps of the user's own, or a module that may have some."""
        return bool(self.settings.steps) or own_tasks(self.root) is not None

    def builds_image(self, image: str) -> bool:
        """Whether an image is one of the user's builds: it is pushed, and nobody else has it."""
        return any(image.startswith(f"{each.repository}:") for each in self.builds)

    def installed(self, release: Release) -> LiveRelease | None:
        """A release as it is in the cluster; None where it is not there, or the cluster cannot be asked yet."""
        return None if self.live is None else self.live.releases.get((release.namespace, release.name))

    def namespace_ends(self, namespace: str | None) -> bool:
        """Whether a namespace is known to be being deleted."""
        return bool(namespace) and self.live is not None and self.live.namespace_ends(namespace or "")

    def api(self) -> Api:
        """The cluster's API by the private kubeconfig, once that has been written."""
        with self._lock:
            if not self._api:
                if not self.paths.kubeconfig.exists():
                    raise ClusterAbsent(
                        f"there is no kubeconfig of the cluster '{self.name}'",
                        why=f"{self.paths.kubeconfig} is written when the cluster's API answers",
                        fix="invoke cluster",
                    )
                self._api.append(self.backend.api(self.paths.kubeconfig, self.programs))
            return self._api[0]

    def watched(self) -> Api:
        """The API for waits: answered from watches, where these need no process and the cluster is this project's.

        In a foreign cluster only what is needed is read: it may be large, and rights may be few.
        """
        from tasks.kube.client import Direct
        from tasks.kube.watch import Watched

        direct = self.api()
        if not self.owns_cluster or not isinstance(direct, Direct):
            return direct
        with self._lock:
            if not self._watched:
                self._watched.append(Watched(direct))
            return self._watched[0]

    def forget_api(self) -> None:
        """The next `api()` reads the private kubeconfig again."""
        self.close()
        with self._lock:
            self._api.clear()

    def close(self) -> None:
        """End what watches the cluster (it begins again with the next wait), and what this run holds on the engine."""
        if self.outputs.leases is not None:
            self.outputs.leases.close()
        with self._lock:
            for each in self._watched:
                each.close()
            self._watched.clear()
