"""The stand-in for docker: images, networks and volumes."""

from __future__ import annotations

from tasks.core.imageref import parse
from tasks.rehearsal import containers, images, volumes
from tasks.rehearsal.docker import daemon_error, found, matches, show
from tasks.rehearsal.flags import render
from tasks.rehearsal.program import Exit
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.flags import Parsed
    from tasks.rehearsal.program import Call

_LIMITED = (
    "toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
)


# -- images -----------------------------------------------------------------------------------------------


def pull(call: Call, ref: str, *, shown: bool = True, platform: str = "") -> None:
    """Pull an image, as `docker pull` does. Raises `Exit`."""
    say = call.say if shown else call.warn
    image = parse(ref)
    origin, cached = _origin(call, ref)
    if call.faults.strike("pull-rate-limited", origin, ref):
        raise daemon_error(_LIMITED)
    if call.faults.strike("image-missing", origin, ref):
        raise daemon_error(f"manifest for {image.listed} not found: manifest unknown: manifest unknown")
    say(f"{image.version}: Pulling from {image.repository}")
    call.checkpoint()
    if call.faults.strike("pull-stalls", origin, ref):
        say(f"{images.fake_digest(origin)[:12]}: Pulling fs layer")
        call.times.wait(3600.0)
    call.wait("pull cached" if cached else "pull", parse(origin).listed, parse(origin).full, ref)
    if call.faults.strike("disk-full", origin, ref):
        raise Exit(1, "failed to register layer: write /usr/bin/k3s: no space left on device")
    with call.engine.change() as doc:
        had = images.find(doc, ref) is not None
        made = images.add(doc, ref, parse(origin).listed, call.now())
        made["architecture"] = platform.partition("/")[2].partition("/")[0]
        registry = _registry(call, doc, ref)
        if registry is not None and images.upstream(registry):  # what came through a cache is in it
            images.hold(registry, origin)
    say(f"Digest: {made['digests'][-1].partition('@')[2]}")
    say(f"Status: {'Image is up to date' if had else 'Downloaded newer image'} for {image.listed}")
    say(image.full)


def _registry(call: Call, doc: Document, ref: str) -> Container | None:
    """The container that serves the registry of an image, where that is a port of this machine."""
    host = parse(ref).registry
    if not host.startswith(images.LOOPBACK):
        return None
    return containers.port_owner(doc, int(host.partition(":")[2]), call.now())


def _origin(call: Call, ref: str) -> tuple[str, bool]:
    """An image's name at its own registry, and whether a cache in between has it. Raises `Exit`."""
    host, doc = parse(ref).registry, call.engine.read()
    registry = _registry(call, doc, ref)
    if registry is not None:
        cached_for = images.upstream(registry)
        origin = images.origin(ref, cached_for) if cached_for else ref
        return origin, images.holds(registry, origin)
    port = host.partition(":")[2]
    if host.startswith(images.LOOPBACK) and port.isdigit():
        known = (number for each in doc["containers"].values() for _, _, number in containers.published(each))
        if int(port) in known:  # its container does not run; a registry that is not rehearsed has every image
            raise daemon_error(f'Get "http://{host}/v2/": dial tcp {host}: connect: connection refused')
    return ref, False


def _pull(call: Call, given: Parsed) -> None:
    pull(call, given.args[0], platform=given.get("platform") or call.environ.get("DOCKER_DEFAULT_PLATFORM", ""))


def _build(call: Call, given: Parsed) -> None:
    """Nothing is built: only the image is there afterwards."""
    name = next((row.partition("=")[2] for row in given.all("label") if row.startswith("openframe.build=")), "")
    call.checkpoint()
    call.wait("build", name)
    with call.engine.change() as doc:
        for ref in given.all("tag"):
            images.add(doc, ref, parse(ref).full, call.now())["build"] = name
    call.warn("#1 naming to " + " ".join(given.all("tag")))


def _push(call: Call, given: Parsed) -> None:
    ref = given.args[0]
    doc = call.engine.read()
    identity = images.find(doc, ref)
    if identity is None:
        raise Exit(1, f"An image does not exist locally with the tag: {parse(ref).name}")
    call.wait("push", doc["images"][identity].get("build", ""))
    with call.engine.change() as doc:
        registry = _registry(call, doc, ref)
        if registry is not None:
            images.hold(registry, ref)
        elif parse(ref).registry.startswith(images.LOOPBACK):
            raise Exit(1, f'Get "http://{parse(ref).registry}/v2/": dial tcp: connect: connection refused')
        else:
            doc.setdefault("pushed", []).append(parse(ref).full)
    call.say(f"{parse(ref).version}: digest: sha256:{images.fake_digest(ref)} size: 1234")


def _manifest(call: Call, given: Parsed) -> None:
    if parse(given.args[0]).full not in call.engine.read().get("pushed", ()):
        raise Exit(1, "manifest unknown")
    call.say("{}")


def _tag(call: Call, given: Parsed) -> None:
    source, name = given.args
    with call.engine.change() as doc:
        identity = images.find(doc, source)
        if identity is None:
            raise daemon_error(f"No such image: {parse(source).listed}")
        images.tag(doc, identity, name)


def _remove_images(call: Call, given: Parsed) -> None:
    wrong = []
    with call.engine.change() as doc:
        for ref in given.args:
            listed, identity = parse(ref).listed, images.find(doc, ref)
            if identity is None:
                wrong.append(f"Error response from daemon: No such image: {listed}")
                continue
            image = doc["images"][identity]
            rest = [tag for tag in image["tags"] if tag != listed and identity != ref]
            used = any(parse(each["image"]).listed == listed for each in doc["containers"].values())
            if not rest and used and not given.on("force"):
                said = f'conflict: unable to remove repository reference "{ref}" (must force)'
                wrong.append(f"Error response from daemon: {said} - a container is using its referenced image")
                continue
            image["tags"] = rest
            call.say(f"Untagged: {listed}")
            if not rest:
                del doc["images"][identity]
                call.say(f"Deleted: {identity}")
    if wrong:
        raise Exit(1, "\n".join(wrong))


def _inspect_images(call: Call, given: Parsed) -> None:
    doc = call.engine.read()
    by_ref = {ref: images.find(doc, ref) for ref in given.args}
    rows = [_inspected_image(key, doc["images"][key]) for key in by_ref.values() if key is not None]
    show(call, given, rows, [f"No such image: {ref}" for ref, key in by_ref.items() if key is None])


def _inspected_image(identity: str, image: dict[str, Any]) -> dict[str, Any]:
    return {
        "Id": identity,
        "RepoTags": image["tags"],
        "RepoDigests": image["digests"],
        "Created": stamp(image["created"]),
        "Size": image["size"],
        "Os": "linux",
        "Architecture": image.get("architecture", ""),
    }


# -- networks ---------------------------------------------------------------------------------------------


def _inspect_networks(call: Call, given: Parsed) -> None:
    doc, now = call.engine.read(), call.now()
    rows = [_inspected_network(doc, name, now) for name in given.args if name in doc["networks"]]
    show(call, given, rows, [f"network {name} not found" for name in given.args if name not in doc["networks"]])


def _inspected_network(doc: Document, name: str, now: float) -> dict[str, Any]:
    net = doc["networks"][name]
    members = {
        each["id"]: {"Name": each["name"], "IPv4Address": f"{each['networks'][name]['ip']}/16"}
        for each in doc["containers"].values()
        if name in each["networks"] and containers.running(each, now)
    }
    subnet = [{"Subnet": f"172.{net['net']}.0.0/16", "Gateway": f"172.{net['net']}.0.1"}]
    return {
        "Name": name,
        "Id": net["id"],
        "Created": stamp(net["created"]),
        "Scope": "local",
        "Driver": net["driver"],
        "IPAM": {"Driver": "default", "Config": subnet},
        "Containers": members,
        "Labels": net["labels"],
    }


def _member(doc: Document, given: Parsed) -> tuple[str, Container]:
    """Network and container of a command. Raises `Exit`."""
    name, container = given.args[0], found(doc, given.args[1])
    if name not in doc["networks"]:
        raise daemon_error(f"network {name} not found")
    return name, container


def _connect(call: Call, given: Parsed) -> None:
    with call.engine.change() as doc:
        name, container = _member(doc, given)
        if name in container["networks"]:
            raise daemon_error(f"endpoint with name {container['name']} already exists in network {name}")
        containers.connect(doc, container, name)


def _disconnect(call: Call, given: Parsed) -> None:
    with call.engine.change() as doc:
        name, container = _member(doc, given)
        if name not in container["networks"]:
            raise daemon_error(f"container {container['id']} is not connected to network {name}")
        del container["networks"][name]


def _remove_networks(call: Call, given: Parsed) -> None:
    with call.engine.change() as doc:
        for name in given.args:
            if name not in doc["networks"]:
                raise daemon_error(f"network {name} not found")
            if any(name in each["networks"] for each in doc["containers"].values()):
                raise daemon_error(f"error while removing network: network {name} has active endpoints")
            del doc["networks"][name]
            call.say(name)


# -- volumes ----------------------------------------------------------------------------------------------


def _create_volume(call: Call, given: Parsed) -> None:
    name = given.args[0] if given.args else containers.identity()
    labels = dict(row.partition("=")[::2] for row in given.all("label"))
    with call.engine.change() as doc:
        doc["volumes"].setdefault(name, {"created": call.now(), "labels": labels})
    call.say(name)


def _list_volumes(call: Call, given: Parsed) -> None:
    filters = [row.removeprefix("label=") for row in given.all("filter")]
    for name, volume in sorted(call.engine.read()["volumes"].items()):
        if matches(volume["labels"], filters):
            labels = ",".join(f"{key}={value}" for key, value in volume["labels"].items())
            row = {"Driver": "local", "Name": name, "Labels": labels}
            call.say(render(given.get("format") or "{{.Name}}", row))


def _remove_volumes(call: Call, given: Parsed) -> None:
    wrong = []
    with call.engine.change() as doc:
        used = {bind.split(":")[0] for each in doc["containers"].values() for bind in each["binds"]}
        for name in given.args:
            if name in used:
                wrong.append(f"Error response from daemon: remove {name}: volume is in use")
            elif name not in doc["volumes"] and not given.on("force"):
                wrong.append(f"Error response from daemon: get {name}: no such volume")
            else:
                doc["volumes"].pop(name, None)
                volumes.kept(call.folder, name).unlink(missing_ok=True)
                call.say(name)
    if wrong:
        raise Exit(1, "\n".join(wrong))


COMMANDS = {
    "build": _build,
    "push": _push,
    "manifest inspect": _manifest,
    "pull": _pull,
    "tag": _tag,
    "rmi": _remove_images,
    "image inspect": _inspect_images,
    "network inspect": _inspect_networks,
    "network connect": _connect,
    "network disconnect": _disconnect,
    "network rm": _remove_networks,
    "volume create": _create_volume,
    "volume ls": _list_volumes,
    "volume rm": _remove_volumes,
}
