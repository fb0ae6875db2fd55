"""Existing registry containers: the push registry and the caches, and foreign ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tasks.clients import docker
from tasks.core.errors import Diagnosis
from tasks.core.imageref import parse
from tasks.facts.cluster import ContainerState, container_state, last_words
from tasks.process.programs import Programs
from tasks.settings.derived import cache_container, upstream_url

if TYPE_CHECKING:
    from tasks.facts.facts import Facts

_MAY_BE_CACHE = (
    "remote-busy",
    "network-timeout",
    "network-lost",
    "connection-refused",
    "dns",
    "image-pull",
    "registry-plain",
)
"""Causes of a failed pull for which a cache may be responsible: the node then tries the registry itself."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """An existing registry container."""

    name: str
    id: str
    upstream: str
    """The registry that it mirrors, or `push`."""
    state: ContainerState = ContainerState.RUNNING
    port: int | None
    networks: tuple[str, ...]
    ours: bool = True
    """Created by this project; a foreign one of the same name is used, but never removed."""
    last: str = ""
    """For one in a crash loop, the line of its log with the reason."""
    owner: str = ""
    """Its owner label."""
    network: str = ""
    """The mark of its proxies and certificate authorities; empty: none."""
    loaded: bool = False
    """Whether it is a cache filled from a bundle, without an upstream."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Its variables, which may contain logins of proxies."""

    @property
    def running(self) -> bool:
        """Whether it serves requests."""
        return self.state is ContainerState.RUNNING

    @property
    def started(self) -> bool:
        """Whether it has run before: one that has not may lack its login, or its port is in use."""
        return self.state is not ContainerState.CREATED

    @property
    def condition(self) -> str:
        """Its state in words."""
        return f"{self.state.value}: {self.last}" if self.last else self.state.value

    @property
    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters whose network it is connected to."""
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
            upstream=labels.get(docker.CACHE_LABEL, docker.PUSH),
            state=container_state(each),
            port=int(port) if port.isdigit() else None,
            networks=tuple(sorted(each["NetworkSettings"].get("Networks") or ())),
            ours=docker.CACHE_LABEL in labels,
            owner=labels.get(docker.OWNER, ""),
            network=labels.get(docker.NETWORK_LABEL, ""),
            loaded=docker.BUNDLE_LABEL in labels,
            environment=dict(row.partition("=")[::2] for row in each["Config"].get("Env") or ()),
        )
    return found


def registries(programs: Programs) -> dict[str, Registry]:
    """Query the engine; also the logs of those in a crash loop."""
    ids = programs.run(docker.containers("k3d.role=registry")).out.split()
    found = read(docker.inspected(programs.run(docker.inspect(ids)).out)) if ids else {}
    for name, each in found.items():
        if each.state is ContainerState.LOOPING:
            found[name] = replace(each, last=last_words(programs, name))
    return found


def cache_of(facts: Facts, image: str) -> str | None:
    """The cache for an image; None: there is none, or it is the cache's own image."""
    settings = facts.settings
    reference = parse(image)
    cache = next((each for each in settings.registries.caches if each.upstream == reference.registry), None)
    if cache is None:
        return None
    name = cache_container(cache)
    there = facts.registries.get(name)
    running = there is not None and there.running
    return name if running or image != settings.registries.image else None


def port_of(facts: Facts, name: str) -> int | None:
    """The port of a registry on this machine."""
    there = facts.registries.get(name)
    return facts.outputs.registry_ports.get(name) or (there.port if there is not None else None)


def explain_pull(facts: Facts, diagnosis: Diagnosis) -> Diagnosis:
    """Explains a persistent pull failure in a node by its cache, which makes it permanent; else unchanged.

    `diagnosis`: that of the pod.
    """
    image = diagnosis.details.get("image", "")
    if not image or diagnosis.cause not in _MAY_BE_CACHE:
        return diagnosis
    reference, name = parse(image), cache_of(facts, image)
    port = port_of(facts, name) if name is not None else None
    if port is None:
        return diagnosis
    there = facts.registries.get(name or "")
    if there is not None and there.loaded and facts.bundle is None:
        if facts.backend.digest(port, reference) != "":
            return diagnosis
        return replace(
            diagnosis,
            cause="cache-fault",
            why=f"the cache {name} was filled from a bundle, which does not have it, and has no upstream; the nodes "
            "cannot reach its registry without it",
            fix="`invoke registry` reconnects the caches to their upstreams with their content; or use a fuller bundle",
            transient=False,
        )
    cache = next(each for each in facts.settings.registries.caches if each.upstream == reference.registry)
    fault = facts.backend.cache_fault(port, reference)
    if not fault and facts.backend.digest(port, reference) != "":
        return diagnosis
    missing = f"its upstream does not have it, or not for this login: {upstream_url(cache)}"
    login = "registries.caches: username_env, password_env"
    return replace(
        diagnosis,
        cause="cache-fault" if fault else "image-missing",
        why=f"it comes through the cache {name}, and {f'{fault}: {upstream_url(cache)}' if fault else missing}",
        fix="check this address (it is registries.caches: url, or the registry itself), that the cache has "
        f"the right login ({login}), and `docker logs {name}`; then run it again: partial downloads are kept"
        if fault
        else f"correct the name, the tag or the digest in the chart's values; a private one needs a login ({login})",
        transient=False,
    )
