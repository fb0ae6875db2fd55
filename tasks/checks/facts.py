"""Everything that checks may look at. A fact that was not asked for is None, and its checks find nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.core.errors import BadInput, LaunchError, NoEngine
from tasks.facts.engine import Engine
from tasks.facts.programs import Versions

if TYPE_CHECKING:
    from tasks.host.programs import Pins
    from tasks.host.trust import Trust
    from tasks.settings.schema import Settings

_MINOR = re.compile(r":v?1\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The file system that holds the engine's data, in bytes."""

    total: int
    free: int
    """For an ordinary user."""


@dataclass(frozen=True, kw_only=True)
class Inotify:
    """Limits of one user (man 7 inotify)."""

    instances: int
    watches: int


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What this user may do without being asked."""

    root: bool
    sudo: bool | None
    """Without a password; None: there is no sudo."""

    @property
    def enough(self) -> bool:
        """Whether something can be run as root."""
        return self.root or bool(self.sudo)


@dataclass(frozen=True, kw_only=True)
class Hub:
    """What Docker Hub tells of its limit on pulls."""

    limit: int | None
    remaining: int
    hours: float | None
    """Over how many it counts."""
    account: bool
    """Of an account; else of this machine's address."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """A cluster that exists, as kubectl reached it."""

    name: str
    version: str | None
    """Of its API server; None: it was not reached."""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """A moment of the machine, the engine and the programs."""

    settings: Settings
    environ: Mapping[str, str] = field(default_factory=dict)
    engine: Engine | None = None
    no_engine: NoEngine | None = None
    startable: bool = False
    """An engine that does not run could be started by systemd."""
    versions: Versions | None = None
    pins: Pins | None = None
    fetched: bool = False
    """Missing programs have been fetched already: what is wrong with them now stays wrong."""
    kubernetes: int | None = None
    """Minor version of the cluster's Kubernetes; None: it does not show in the image's name."""
    agents: int = 0
    disk: Disk | None = None
    inotify: Inotify | None = None
    unpigz: bool | None = None
    """The program that Docker unpacks images with, if it is installed; None: that does not show from here."""
    low_port_start: int = 1024
    """The first port that a rootless engine may publish."""
    chosen: tuple[int, ...] | None = None
    """Ports that the cluster will be given."""
    bindable: bool | None = None
    """Ports can be published at the configured address."""
    taken: Mapping[int, str] | None = None
    """Ports among the wishes and their fallbacks that somebody holds, and who."""
    own: frozenset[int] = frozenset()
    """Ports that this cluster and the shared registries hold."""
    unresolved: Mapping[str, str] | None = None
    """Hosts whose names did not resolve, and what the resolver said."""
    trusted: Trust | LaunchError | None = None
    """Certificate authorities of downloads, or why they cannot be read."""
    rights: Rights | None = None
    folders: BadInput | None = None
    """The state or the cache folder cannot be used."""
    unwritable: str | None = None
    """Why the user's kubeconfig cannot be written; empty if it can, None if nothing is to be put there."""
    missing: tuple[str, ...] | None = None
    """Images of a launch that the engine does not have, the most important first."""
    other_owner: str = ""
    """Who owns the cluster of this name, if it is somebody else; empty: nobody else, as far as its nodes tell."""
    stands: bool = False
    """The cluster is there: its nodes have their images."""
    hub: Hub | None = None
    """None: it was not asked, or does not tell."""
    context: Context | None = None
    """With the engine `existing` only."""


def kubernetes_minor(image: str) -> int | None:
    """32 of rancher/k3s:v1.32.3-k3s1; None for a tag that does not say (latest, a digest)."""
    match = _MINOR.search(image)
    return int(match[1]) if match else None
