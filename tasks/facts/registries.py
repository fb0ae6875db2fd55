"""Registry containers that exist: the push registry and the caches, and those of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tasks.clients import docker
from tasks.facts.cluster import ContainerState, container_state, last_words
from tasks.process.command import Programs

PUSH = "push"
"""What stands before no upstream."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """One registry container that exists."""

    name: str
    id: str
    upstream: str
    """The registry it stands before, or `push`."""
    state: ContainerState = ContainerState.RUNNING
    port: int | None
    networks: tuple[str, ...]
    ours: bool = True
    """This project made it; another one may stand here by its name, and is used, but never removed."""
    last: str = ""
    """Of one that keeps ending, the line of its log that says why."""
    owner: str = ""
    """Label of who made it."""
    network: str = ""
    """The mark of the proxies and certificate authorities that it was made with; empty: of none."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Its variables: logins of proxies may be in them."""

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self.state is ContainerState.RUNNING

    @property
    def started(self) -> bool:
        """Whether it has run before: one that never did may lack its login, or want a port that is taken."""
        return self.state is not ContainerState.CREATED

    @property
    def condition(self) -> str:
        """What it does, in words."""
        return f"{self.state.value}: {self.last}" if self.last else self.state.value

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
        port = str(bound[0].get("HostPort") or labels.get("k3s.registry.port.external", ""))
        found[name] = Registry(
            name=name,
            id=str(each.get("Id", "")),
            upstream=labels.get(docker.CACHE_LABEL, PUSH),
            state=container_state(each),
            port=int(port) if port.isdigit() else None,
            networks=tuple(sorted(each["NetworkSettings"].get("Networks") or ())),
            ours=docker.CACHE_LABEL in labels,
            owner=labels.get(docker.OWNER, ""),
            network=labels.get(docker.NETWORK_LABEL, ""),
            environment=dict(row.partition("=")[::2] for row in each["Config"].get("Env") or ()),
        )
    return found


def registries(programs: Programs) -> dict[str, Registry]:
    """Ask the engine; of those that keep ending their logs, too."""
    ids = programs.run(docker.containers("k3d.role=registry")).out.split()
    found = read(docker.inspected(programs.run(docker.inspect(ids)).out)) if ids else {}
    for name, each in found.items():
        if each.state is ContainerState.LOOPING:
            found[name] = replace(each, last=last_words(programs, name))
    return found
