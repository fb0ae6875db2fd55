"""What rehearsed registries keep: names of images, by the container; they go with it."""

from __future__ import annotations

import time

from tasks.rehearsal import containers, refs
from tasks.rehearsal.store import Store
from tasks.rehearsal.times import Times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasks.core.imageref import Reference
    from tasks.rehearsal.containers import Container
    from tasks.rehearsal.place import Place

_SIZE = 20_000_000
"""Bytes of an image of which nothing is known."""
_REMOTE = "REGISTRY_PROXY_REMOTEURL="


def upstream(container: Container) -> str:
    """The registry that a cache stands before; empty for one that stands before none."""
    label: str = container["labels"].get("openframe.cache", "")
    if label and label != "push":
        return label
    remote = next((each.removeprefix(_REMOTE) for each in container["env"] if each.startswith(_REMOTE)), "")
    return remote.removeprefix("https://").removeprefix("http://").replace("registry-1.docker.io", "docker.io")


def holds(container: Container, ref: str) -> bool:
    """Whether a registry has an image already."""
    return refs.full(ref) in container.get("holds", ())


def keep(place: Place, port: int, image: Reference) -> tuple[float | None, int]:
    """Have the registry at a host port keep an image: scaled seconds, None if no registry runs there; and bytes."""
    tail = f"@{image.digest}" if image.digest else f":{image.tag}"
    ref = refs.full(f"{image.registry}/{image.repository}{tail}")
    times = Times(place.read("times.json", {}))
    with Store(place.engine, containers.blank).change() as doc:
        found = containers.holder(doc, port, time.time())
        if found is None:
            return None, 0
        if holds(found, ref):
            return 0.0, 0
        found.setdefault("holds", []).append(ref)
    return times.seconds("fetch", ref, refs.short(ref)), _SIZE
