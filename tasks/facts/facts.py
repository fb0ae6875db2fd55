"""The inputs of a plan: settings, facts of engine and cluster, and the programs that its steps will use."""

from __future__ import annotations

import contextlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.core.errors import ClusterAbsent
from tasks.core.files import sha256
from tasks.core.paths import own_tasks
from tasks.kube.objects import Key, Resources, live
from tasks.settings.derived import context_name

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
    from tasks.k3d.registry_lease import Leases
    from tasks.kube.client import Api
    from tasks.kube.components import Use
    from tasks.kube.releases import LiveRelease
    from tasks.kube.watch import Watched
    from tasks.process.programs import Programs
    from tasks.settings.schema import Release, Settings


@contextlib.contextmanager
def concurrently(at_once: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that is awaited at the end, but not after an error or Ctrl-C.

    Otherwise a hanging engine would delay the end of the call for as long as the slowest query may take; the
    programs that still run are terminated with the call (`tasks.run.task.run_task`).
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
    """Facts of a running cluster, just read."""

    objects: Mapping[Key, Mapping[str, Any] | None]
    """Desired objects by key; None: missing."""
    releases: Mapping[tuple[str, str], LiveRelease]
    gone: Mapping[tuple[str, str], tuple[Key, ...]] = field(default_factory=dict)
    """Missing objects of a release's manifest."""
    edited: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Fields of a release's objects that were changed with kubectl since its installation."""
    unready: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Workloads of a release that are not ready, each with details."""
    nodes: tuple[str, ...] = ()
    """Ready nodes."""
    nodes_unready: tuple[str, ...] = ()
    nodes_hidden: bool = False
    """Whether this login may not list nodes."""
    node_blocks: tuple[str, ...] = ()
    """Source addresses of traffic from nodes, as derived by `tasks.kube.addresses`."""
    nodes_joining: tuple[str, ...] = ()
    """Nodes without their addresses for pods, since they have joined a moment ago."""
    failing: tuple[str, ...] = ()
    """Failing endpoints of the API."""
    system: Mapping[str, str] = field(default_factory=dict)
    """Workloads of kube-system, and jobs that install k3s's own charts; the text is empty for ready ones."""
    served: tuple[str, ...] = ()
    """Healthy endpoints."""
    use: Use | None = None
    """Use of optional components by the launch; read only if one of those is not ready."""

    def namespace_ends(self, name: str) -> bool:
        """Whether a namespace is being deleted, with everything in it."""
        there = self.objects.get(Key("v1", "Namespace", None, name))
        return there is not None and bool(there["metadata"].get("deletionTimestamp"))


def read_objects(api: Api, desired: Sequence[Key]) -> Live:
    """Only the desired objects."""
    return Live(objects=live(api, Resources(api), desired), releases={})


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The chosen host ports; None: not published."""

    http: int | None
    https: int | None
    api: int
    early: int | None = None
    """server-0's own API port besides the load balancer's: it answers before that has started."""

    @property
    def first_api(self) -> int:
        """The port at which the API answers first."""
        return self.early or self.api


NETWORK_SETTINGS = ("network.proxy.http", "network.proxy.https", "network.proxy.no_proxy", "network.ca")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
AUTHORITIES = "/etc/ssl/certs/openframe-ca.pem"
"""Path in caches and nodes of the authorities that they trust besides those of their image."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """The proxies and authorities of caches and nodes; none by default."""

    http: Proxy | None = None
    https: Proxy | None = None
    direct: tuple[str, ...] = ()
    """Hosts without a proxy, besides those that follow from the cluster."""
    authorities: str = field(default="", repr=False)
    """Certificates in PEM form, without duplicates."""

    @property
    def proxied(self) -> bool:
        """Whether there is a proxy."""
        return self.http is not None or self.https is not None

    def environment(self, own: Iterable[str] = ()) -> dict[str, str]:
        """Variables of a container, with logins; `own`: hosts without a proxy. Empty without proxies."""
        if not self.proxied:
            return {}
        from tasks.core.proxies import LOOPBACK

        given = {"HTTP_PROXY": self.http, "HTTPS_PROXY": self.https}
        direct = "*" if "*" in self.direct else ",".join(dict.fromkeys([*LOOPBACK, *own, *self.direct]))
        return {**{name: each.url for name, each in given.items() if each is not None}, "NO_PROXY": direct}

    @property
    def described(self) -> dict[str, str]:
        """Values for display by setting, without logins; only what is configured.

        For a login four digits of its hash: a change is visible, but a guess cannot be confirmed.
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
        """A short text that changes with the configuration; empty if there is none."""
        return sha256(repr(sorted(self.described.items())))[:12] if self.described else ""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Properties of a cluster that follow from the machine and the settings."""

    image: str
    agents: int
    concurrency: int
    parallel_pulls: int | None = None
    """Concurrent image pulls in each node; None: the kubelet's default."""
    registries: tuple[str, ...] = ()
    """Containers to connect to the cluster's network, as `name:port`."""
    registries_yaml: str = ""
    network: Network = Network()
    """Proxies and certificate authorities of caches and nodes."""
    cgroup_v1: bool = False
    """Whether the engine uses cgroup v1 for nodes."""
    owner: str = ""
    """Value of the owner label."""
    subnets: tuple[str, ...] = ()
    """Address pools of the engine for networks; empty: unknown, so the defaults."""


@dataclass(kw_only=True)
class Outputs:
    """Results that steps of one run pass on to later ones: the only state that changes while a plan runs."""

    ports: Ports | None = None
    """Current host ports: chosen again when the engine reports one as taken."""
    removing: bool = False
    """Set while nodes are removed on purpose: their end is no failure."""
    manifests: dict[str, str] = field(default_factory=dict, repr=False)
    """Manifests of releases that this run installed, by `namespace/name`: they may contain secrets."""
    charts: dict[str, str] = field(default_factory=dict)
    """Archives that this run downloaded, by chart and version."""
    registry_ports: dict[str, int] = field(default_factory=dict)
    """Host ports of registries that this run created or found, by container."""
    ended: dict[str, str] = field(default_factory=dict)
    """Nodes that ended while they were watched, with details; they may run again."""
    own: dict[tuple[str, ...], list[dict[str, Any]]] = field(default_factory=dict, repr=False)
    """The user's own objects, by their files: parsed once, since they may be large. They may contain secrets."""
    images: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Images that this run found, by the key of their inputs (`tasks.run.images`)."""
    registry_ids: dict[str, str] = field(default_factory=dict)
    """Ids of registry containers that this run created."""
    leases: Leases | None = None
    """This run's leases on the shared registries, recorded on the engine."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that plans are made from: settings, and the state observed once. Created by `tasks.run.gather`."""

    settings: Settings
    root: Path
    environ: Mapping[str, str] = field(repr=False)
    backend: Backend
    programs: Programs
    k3d_programs: Programs
    """With k3d's environment."""
    helm_programs: Programs
    """With Helm's folders redirected to this project's."""
    paths: ClusterPaths
    host: Engine | None = None
    """The Docker engine; None if none is queried."""
    cluster: ClusterState
    shape: Shape
    ports: Ports | None = None
    images: Mapping[str, bool] = field(default_factory=dict)
    """Images of the launch, and whether the engine has them for its own platform."""
    other_platforms: Mapping[str, str] = field(default_factory=dict)
    """Images that it has only for another platform, and for which."""
    registries: Mapping[str, Any] = field(default_factory=dict)
    """Registry containers that exist, by name."""
    live: Live | None = field(default=None, repr=False)
    """Objects in the cluster; None if its API does not answer."""
    releases: tuple[Release, ...] = ()
    helm_version: str = ""
    helm_major: int = 4
    secrets: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    secrets_left_out: tuple[tuple[str, str], ...] = ()
    """Name and reason of secrets without a value."""
    environment: str = ""
    """For a foreign cluster: the label value of objects that this project creates there."""
    restore: Restore | None = None
    """The snapshot that the cluster is created from; None: created empty, or existing."""
    clear_pending: bool = False
    """Whether to clear releases that another Helm has left pending, or is working on."""
    bundle: Bundle | None = None
    """The only source of downloads, if given."""
    rendered: Mapping[Path, str] = field(default_factory=dict, repr=False)
    """The user's kustomization folders, as rendered by kubectl: they may contain secrets."""
    builds: tuple[BuildState, ...] = ()
    """The user's own images; empty for parts that do not need them."""
    outputs: Outputs = field(default_factory=Outputs)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _api: list[Api] = field(default_factory=list)
    _watched: list[Watched] = field(default_factory=list)

    @property
    def owns_cluster(self) -> bool:
        """Whether this project creates and removes the cluster."""
        return self.backend.owns_cluster

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.settings.cluster.name

    @property
    def context(self) -> str:
        """The context of this cluster in the user's kubeconfig."""
        return context_name(self.name) if self.owns_cluster else self.cluster.name

    @property
    def platform(self) -> str:
        """The engine's own platform, such as `linux/amd64`; empty if unknown."""
        return self.host.platform if self.host is not None else ""

    @property
    def placeholders(self) -> dict[str, str]:
        """Values of `${NAME}` in values and manifests."""
        cluster = self.settings.cluster
        found = {"IP": cluster.bind_address, "DOMAIN": cluster.domain}
        for build in self.builds:
            found |= build.placeholders
        return found

    @property
    def has_own_steps(self) -> bool:
        """Whether the user has own steps, or a module that may define some."""
        return bool(self.settings.steps) or own_tasks(self.root) is not None

    def builds_image(self, image: str) -> bool:
        """Whether an image is one of the user's builds: it is pushed, and not available elsewhere."""
        return any(image.startswith(f"{each.repository}:") for each in self.builds)

    def installed(self, release: Release) -> LiveRelease | None:
        """A release in the cluster; None if it does not exist, or the cluster cannot be queried yet."""
        return None if self.live is None else self.live.releases.get((release.namespace, release.name))

    @property
    def lost_agents(self) -> list[str]:
        """Agents in Kubernetes whose containers have been removed: they never come back under that name.

        Not those with an id in their name (k3s: `--with-node-id`, eight digits), which no container shows.
        """
        first = self.cluster.first
        if self.live is None or first is None:
            return []
        there = {node.kubernetes_name for node in self.cluster.of("server", "agent")}
        agent = re.compile(re.escape(first.kubernetes_name.partition("-server-")[0]) + r"-agent-\d+(-\d{1,2})?")
        names = (*self.live.nodes, *self.live.nodes_unready)
        return [name for name in names if name not in there and agent.fullmatch(name)]

    def namespace_ends(self, namespace: str | None) -> bool:
        """Whether a namespace is known to be being deleted."""
        return bool(namespace) and self.live is not None and self.live.namespace_ends(namespace or "")

    def api(self) -> Api:
        """The cluster's API with the private kubeconfig, once that exists."""
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
        """The API for waits: answered from watches, if these need no process and the cluster belongs to this project.

        In a foreign cluster only what is needed is read: it may be large, and permissions may be limited.
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
        """Close the watches of the cluster (the next wait opens them again), and this run's leases on the engine."""
        if self.outputs.leases is not None:
            self.outputs.leases.close()
        with self._lock:
            for each in self._watched:
                each.close()
            self._watched.clear()
