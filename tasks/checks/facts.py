"""All facts for checks. A fact that was not queried is None, and its checks find nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasks.core.errors import BadInput, LaunchError, NoEngine
from tasks.facts.engine import Engine
from tasks.facts.host import Disk, Inotify, Rights
from tasks.facts.programs import Versions
from tasks.settings.derived import push_container

if TYPE_CHECKING:
    from tasks.facts.trust import Trust
    from tasks.settings.schema import Settings


@dataclass(frozen=True, kw_only=True)
class Context:
    """An existing cluster, as reached by kubectl."""

    name: str
    version: str | None
    """Version of its API server; None: it was not reached."""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """The state of the machine, the engine and the programs at one moment."""

    settings: Settings
    environ: Mapping[str, str] = field(default_factory=dict)
    engine: Engine | None = None
    no_engine: NoEngine | None = None
    startable: bool = False
    """Whether systemd could start an engine that does not run."""
    versions: Versions | None = None
    minimum: Mapping[str, str | None] = field(default_factory=dict)
    """The oldest supported version of each program; None, or no entry: any."""
    fetched: bool = False
    """Whether missing programs have been downloaded already: remaining faults are permanent."""
    kubernetes: int | None = None
    """Minor version of the cluster's Kubernetes; None: not visible in the image's name."""
    agents: int = 0
    disk: Disk | None = None
    inotify: Inotify | None = None
    unpigz: bool | None = None
    """The program that Docker unpacks images with, if it is installed; None: unknown."""
    low_port_start: int = 1024
    """The first port that a rootless engine may publish."""
    chosen: tuple[int, ...] | None = None
    """Ports that the cluster will get."""
    bindable: bool | None = None
    """Whether ports can be published at the configured address."""
    taken: Mapping[int, str] | None = None
    """Ports among the configured ones and their fallbacks that are in use, and by what."""
    own: frozenset[int] = frozenset()
    """Ports in use by this cluster and the shared registries."""
    unresolved: Mapping[str, str] | None = None
    """Hosts whose names did not resolve, with the resolver's message."""
    trusted: Trust | LaunchError | None = None
    """Certificate authorities of downloads, or why they cannot be read."""
    rights: Rights | None = None
    folders: BadInput | None = None
    """The state or the cache folder cannot be used."""
    unwritable: str | None = None
    """Why the user's kubeconfig cannot be written; empty if it can, None if it is not to be changed."""
    missing: tuple[str, ...] | None = None
    """Images of a launch that the engine does not have, the most important first."""
    other_owner: str = ""
    """The foreign owner of the cluster of this name; empty if there is none, as far as its nodes show."""
    cluster_exists: bool = False
    """Whether its nodes have their images."""
    context: Context | None = None
    """With the engine `existing` only."""


PortChoice = tuple[str, int, int | None]
"""The purpose, the port, and its fallback."""


def port_choices(settings: Settings) -> tuple[PortChoice, ...]:
    """Ports that are published on the host, as configured."""
    ports, registries = settings.cluster.ports, settings.registries
    found: list[PortChoice] = []
    if ports.http is not None:
        found.append(("http", ports.http, ports.http_fallback))
    if ports.https is not None:
        found.append(("https", ports.https, ports.https_fallback))
    found.append(("API", ports.api, ports.api_fallback))
    if registries.push:
        found.append(("registry", registries.port, None))
    return tuple(found)


def hosts(settings: Settings) -> tuple[str, ...]:
    """Upstream registries, and the chart repositories that a release uses.

    Without the push registry, whose name only containers can resolve.
    """
    urls = [cache.url or f"https://{cache.upstream}" for cache in settings.registries.caches]
    used = {release.chart.split("/", 1)[0] for release in settings.helm.releases if release.enabled}
    if settings.ingress.controller == "ingress-nginx":
        used.add("ingress-nginx")
    urls += [url for name, url in settings.helm.repositories.items() if name in used]
    urls += [each.chart for each in settings.helm.releases if each.enabled and each.chart.startswith("oci://")]
    found = (urlsplit(url).hostname for url in urls)
    own = push_container(settings)
    return tuple(dict.fromkeys(name for name in found if name and name != own))
