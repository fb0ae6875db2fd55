"""Images: those that the engine has, and those that rehearsed registries hold."""

from __future__ import annotations

import time
import zlib

from tasks.core.imageref import parse
from tasks.rehearsal import containers
from tasks.rehearsal.store import Store
from tasks.rehearsal.times import Times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.core.imageref import Reference
    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.folder import Folder

LOOPBACK = ("127.0.0.1:", "localhost:")
_SIZE = 20_000_000
"""Bytes of an image of which nothing is known."""
_REMOTE = "REGISTRY_PROXY_REMOTEURL="


def fake_digest(text: str) -> str:
    """64 digits for a name: the same each time, and no digest of anything (hashlib would cost 5 ms)."""
    return "".join(f"{zlib.crc32(f'{number}{text}'.encode()):08x}" for number in range(8))


def find(doc: Document, ref: str) -> str | None:
    """The id of an image by any of its names; None if the engine does not have it."""
    listed = parse(ref).listed
    for key, each in doc["images"].items():
        if listed in each["tags"] or listed in each["digests"] or key == ref:
            found: str = key
            return found
    return None


def add(doc: Document, ref: str, origin: str, at: float) -> dict[str, Any]:
    """The engine has an image now. `origin`: its name at its registry, from which its id is made up."""
    image, identity = parse(ref), f"sha256:{fake_digest(origin)}"
    made: dict[str, Any] = doc["images"].setdefault(
        identity, {"tags": [], "digests": [], "size": _SIZE + int(identity[7:13], 16), "created": at}
    )
    if not image.digest:
        tag(doc, identity, ref)
    digest = f"{image.name}@" + (image.digest or f"sha256:{fake_digest(f'digest {origin}')}")
    if digest not in made["digests"]:
        made["digests"].append(digest)
    return made


def tag(doc: Document, identity: str, ref: str) -> None:
    """Give an image a name, which no other one has then."""
    listed = parse(ref).listed
    for each in doc["images"].values():
        each["tags"] = [name for name in each["tags"] if name != listed]
    doc["images"][identity]["tags"].append(listed)


# -- registries -------------------------------------------------------------------------------------------


def upstream(registry: Container) -> str:
    """The registry that a cache serves; empty for a registry that is no cache."""
    label: str = registry["labels"].get("openframe.cache", "")
    if label and label != "push":
        return label
    remote = next((each.removeprefix(_REMOTE) for each in registry["env"] if each.startswith(_REMOTE)), "")
    return remote.removeprefix("https://").removeprefix("http://").replace("registry-1.docker.io", "docker.io")


def origin(ref: str, registry: str) -> str:
    """The name of an image that is pulled through a cache, at the registry that the cache serves."""
    return parse(ref)._replace(registry=registry).listed


def holds(registry: Container, ref: str) -> bool:
    """Whether a registry has an image already."""
    return parse(ref).full in registry.get("holds", ())


def hold(registry: Container, ref: str) -> None:
    """A registry has an image now."""
    if not holds(registry, ref):
        registry.setdefault("holds", []).append(parse(ref).full)


def pushed(folder: Folder, port: int, image: Reference) -> bool:
    """Whether the registry at a host port has what was pushed under that port's name."""
    doc = Store(folder.engine, containers.blank).read()
    registry = containers.port_owner(doc, port, time.time())
    names = (image._replace(registry=f"{host}{port}").full for host in LOOPBACK)
    return registry is not None and any(holds(registry, name) for name in names)


def fetch(folder: Folder, port: int, image: Reference) -> tuple[float | None, int]:
    """Have the cache at a host port fetch an image: scaled seconds, None if none runs there; and bytes."""
    times = Times(folder.read("times.json", {}))
    with Store(folder.engine, containers.blank).change() as doc:
        registry = containers.port_owner(doc, port, time.time())
        if registry is None:
            return None, 0
        if holds(registry, image.full):
            return 0.0, 0
        hold(registry, image.full)
    return times.seconds("fetch", image.full, image.listed), _SIZE
