"""Containers started, stopped and removed: what docker and k3d have in common."""

from __future__ import annotations

from tasks.rehearsal import cluster, containers, node, refs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasks.rehearsal.call import Call
    from tasks.rehearsal.containers import Container, Document

_SPACE = "no space left on device"


def image(doc: Document, ref: str) -> str | None:
    """The id of an image by any of its names; None if the engine does not have it."""
    wanted = refs.short(ref)
    for key, each in doc["images"].items():
        named = refs.name(ref) + "@" + ref.partition("@")[2] if "@" in ref else ""
        if wanted in each["tags"] or wanted in each["digests"] or named in each["digests"] or key == ref:
            found: str = key
            return found
    return None


def add_image(doc: Document, ref: str, origin: str, at: float) -> dict[str, object]:
    """The engine has an image now. `origin`: what it is at its registry, by which its id is made up."""
    identity = f"sha256:{refs.made_up(origin)}"
    digest = f"{refs.name(ref)}@" + (ref.partition("@")[2] or f"sha256:{refs.made_up(f'digest {origin}')}")
    found = doc["images"].setdefault(
        identity, {"tags": [], "digests": [], "size": 20_000_000 + int(identity[7:13], 16), "created": at}
    )
    if "@" not in ref:
        for each in doc["images"].values():
            each["tags"] = [tag for tag in each["tags"] if tag != refs.short(ref)]
        found["tags"].append(refs.short(ref))
    if digest not in found["digests"]:
        found["digests"].append(digest)
    made: dict[str, object] = found
    return made


def create_refused(call: Call, doc: Document, name: str, ref: str) -> str:
    """Why the engine makes no such container; empty if it does."""
    there = containers.find(doc, name)
    if there is not None and there["name"] == name:
        told = f'Conflict. The container name "/{name}" is already in use by container "{there["id"]}".'
        return f"{told} You have to remove (or rename) that container to be able to reuse that name."
    if image(doc, ref) is None:
        return f"No such image: {refs.short(ref)}"
    if call.faults.strike("disk-full", f"container {name}"):
        return f"mkdir /var/lib/docker/overlay2/{containers.identity()}-init: {_SPACE}"
    return ""


def start(call: Call, doc: Document, container: Container, at: float) -> str:
    """Start it; why it could not be started, or an empty text."""
    if containers.running(container, at):
        return ""
    networking = "failed to set up container networking: driver failed programming external connectivity on endpoint"
    endpoint = next(iter(container["networks"].values()), {"endpoint": "", "ip": ""})
    why = ""
    for inside, address, port in containers.published(container):
        at_address = address or "0.0.0.0"  # noqa: S104 - as Docker writes it
        if call.faults.strike("port-taken", f"{at_address}:{port}"):
            mapped = f"{at_address}:{port}:{endpoint['ip']}:{inside}"
            why = f"failed to bind host port for {mapped}: address already in use"
        elif containers.holder(doc, port, at, address) is not None:
            why = f"Bind for {at_address}:{port} failed: port is already allocated"
        if why:
            said = f"{networking} {container['name']} ({endpoint['endpoint']}): {why}"
            container["error"], container["exit"] = said, 128
            return said
    node.boot(doc, container, at, call)
    cluster.node_up(call, doc, container)
    return ""


def stop(call: Call, container: Container, at: float, code: int = 143) -> None:
    """End it on demand: it is not started again."""
    if containers.running(container, at) or containers.restarting(container, at):
        containers.end(container, at, code)
        cluster.node_down(call, container)


def remove(call: Call, doc: Document, container: Container, at: float) -> None:
    """Take it away."""
    containers.remove(doc, container, at)
    cluster.node_down(call, container)
    cluster.forget(call, doc, container)
