"""Registry containers that exist: the push registry and the caches, and those of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.tools import docker

PUSH = "push"
"""What stands before no upstream."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """One registry container that exists."""

    name: str
    id: str
    upstream: str
    """The registry it stands before, or `push`."""
    running: bool
    """Its process stands: not between two starts of one that keeps ending."""
    port: int | None
    networks: tuple[str, ...]
    ours: bool = True
    """This project made it; another one may stand here by its name, and is used, but never removed."""
    started: bool = True
    """It has run before: one that never did may lack its login, or want a port that is taken."""
    loops: bool = False
    """It has ended, and the engine is about to start it again, as it has after each end."""
    network: str = ""
    """The mark of the proxies and certificate authorities that it was made with; empty: of none."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Its variables: logins of proxies may be in them."""

    @property
    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters whose network it is in."""
        return tuple(n.removeprefix("k3d-") for n in self.networks if n.startswith("k3d-"))


def read(inspected: Sequence[Mapping[str, Any]]) -> dict[str, Registry]:
    """Registries by container name."""
    found = {}
    for each in inspected:
        labels = each["Config"].get("Labels") or {}
        name = each["Name"].lstrip("/")
        bound = (each["HostConfig"].get("PortBindings") or {}).get("5000/tcp") or [{}]
        loops = bool(each["State"].get("Restarting"))
        port = str(bound[0].get("HostPort") or labels.get("k3s.registry.port.external", ""))
        found[name] = Registry(
            name=name,
            id=str(each.get("Id", "")),
            upstream=labels.get(docker.CACHE_LABEL, PUSH),
            running=bool(each["State"].get("Running")) and not loops,
            loops=loops,
            port=int(port) if port.isdigit() else None,
            networks=tuple(sorted(each["NetworkSettings"].get("Networks") or ())),
            ours=docker.CACHE_LABEL in labels,
            started=each["State"].get("Status") != "created",
            network=labels.get(docker.NETWORK_LABEL, ""),
            environment=dict(row.partition("=")[::2] for row in each["Config"].get("Env") or ()),
        )
    return found
