"""The engine's state: containers, images, networks and volumes, in one JSON document.

The future of a container is written when it is started: ends of its `lives` and lines of its `log` may lie in the
future, and readers see those whose time has come. So no process is needed for a container.
"""

import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tasks.clients.docker import CACHE_LABEL, CLUSTER_LABEL, PUSH
from tasks.core.imageref import parse

Document = dict[str, Any]
Container = dict[str, Any]
Life = dict[str, Any]
"""`start`, `end` (None: still running), exit `code`, and `at`: the times of its stages."""

_NEVER = "0001-01-01T00:00:00Z"
_ANY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound
LOOPBACK = ("127.0.0.1:", "localhost:")


def blank() -> Document:
    """An empty engine."""
    networks = {name: _network(number) for number, name in enumerate(("bridge", "host", "none"), 17)}
    return {"images": {}, "containers": {}, "networks": networks, "volumes": {}, "pushed": []}


def stamp(moment: float, digits: int = 9) -> str:
    """A time as engines write it: RFC 3339 in UTC, with that many fractional digits."""
    whole, rest = divmod(round(moment * 1e9), 10**9)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{text}.{rest:09d}"[: len(text) + 1 + digits] + "Z" if digits else f"{text}Z"


def identity() -> str:
    """A new id."""
    return os.urandom(32).hex()


def fake_digest(text: str) -> str:
    """64 digits for a name: deterministic, but no real digest (hashlib would cost 5 ms)."""
    return "".join(f"{zlib.crc32(f'{number}{text}'.encode()):08x}" for number in range(8))


def make(
    doc: Document, name: str, image: str, at: float, *, networks: Sequence[str] = ("bridge",), **more: Any
) -> Container:
    """A container that is not started. `more`: labels, env, cmd, ports, binds, memory, files."""
    made: Container = {
        "id": identity(),
        "name": name,
        "image": image,
        "created": at,
        "started": 0.0,
        "error": "",
        "exit": 0,
        "paused": False,
        "resumed": 0.0,
        "cpus": 0,
        "memory": 0,
        **{key: {} for key in ("labels", "ports", "files", "networks")},
        **{key: [] for key in ("env", "cmd", "binds", "lives", "log", "holds")},
        **more,
    }
    doc["containers"][made["id"]] = made
    for network in networks:
        connect(doc, made, network)
    for bind in made["binds"]:
        source = bind.split(":")[0]
        if "/" not in source:
            doc["volumes"].setdefault(source, {})
    return made


def find(doc: Document, ref: str) -> Container | None:
    """By name or id."""
    known: dict[str, Container] = doc["containers"]
    return known.get(ref) or next((each for each in known.values() if each["name"] == ref), None)


def role(container: Container) -> str:
    """k3d's role of a container: server, agent, loadbalancer or registry; empty for others."""
    return str(container["labels"].get("k3d.role", ""))


def cluster(container: Container) -> str:
    """The cluster that it belongs to; empty if it belongs to none."""
    return str(container["labels"].get(CLUSTER_LABEL, ""))


def labelled(doc: Document, **labels: str) -> list[Container]:
    """Containers with these labels of k3d (`cluster`, `role`), by name."""
    wanted = {f"k3d.{key}": value for key, value in labels.items()}
    found = [each for each in doc["containers"].values() if wanted.items() <= each["labels"].items()]
    return sorted(found, key=lambda each: (len(each["name"]), each["name"]))


def argument(container: Container, name: str) -> list[str]:
    """Values of a repeatable flag of k3s, each with several parts separated by commas."""
    words = container["cmd"]
    found = [word.partition("=")[2] for word in words if word.startswith(f"--{name}=")]
    found += [value for flag, value in pairwise(words) if flag == f"--{name}"]
    return [part.strip() for value in found for part in value.split(",")]


def version(image: str) -> str:
    """v1.35.5+k3s1 of rancher/k3s:v1.35.5-k3s1."""
    tag = image.rpartition(":")[2]
    return tag.replace("-k3s", "+k3s") if tag.startswith("v") else "v1.35.5+k3s1"


# -- lives ------------------------------------------------------------------------------------------------


def life(container: Container, now: float) -> Life | None:
    """The last life that has started."""
    begun: list[Life] = [each for each in container["lives"] if each["start"] <= now]
    return begun[-1] if begun else None


def running(container: Container, now: float) -> bool:
    """Whether a process runs in it now."""
    found = life(container, now)
    return found is not None and (found["end"] is None or found["end"] > now)


def restarting(container: Container, now: float) -> bool:
    """Whether it has exited, and the engine will restart it."""
    found = life(container, now)
    return found is not None and not running(container, now) and found is not container["lives"][-1]


def reached(container: Container, stage: str, now: float) -> bool:
    """Whether the current life has reached that stage."""
    found = life(container, now)
    return found is not None and running(container, now) and found["at"].get(stage, now + 1) <= now


def ready_at(doc: Document, cluster: str, now: float) -> float | None:
    """When the API of a cluster is, or was, ready: for the first running server."""
    lives = [life for each in labelled(doc, cluster=cluster, role="server") for life in each["lives"]]
    going_on = (each for each in lives if each["end"] is None or each["end"] > now)
    return min((each["at"]["ready"] for each in going_on if "ready" in each["at"]), default=None)


def begin(container: Container, at: float) -> None:
    """A new life without an end yet."""
    _forget(container, at)
    container["lives"].append({"start": at, "end": None, "code": 0, "at": {}})
    container["started"], container["error"] = at, ""


def end(container: Container, at: float, code: int) -> None:
    """End the current life, and everything scheduled."""
    _forget(container, at)
    if container["lives"] and container["lives"][-1]["end"] is None:
        container["lives"][-1] |= {"end": at, "code": code}
    container["paused"] = False


def _forget(container: Container, at: float) -> None:
    """Nothing is scheduled any more."""
    container["lives"] = [each for each in container["lives"] if each["start"] <= at]
    container["log"] = [each for each in container["log"] if each[0] <= at]
    for each in container["lives"]:
        if each["end"] is not None and each["end"] > at:
            each |= {"end": None, "code": 0}


def status(container: Container, now: float) -> dict[str, Any]:
    """`State` of `docker container inspect`."""
    found, runs, again = life(container, now), running(container, now), restarting(container, now)
    paused = runs and container["paused"]
    word = "paused" if paused else "running" if runs else "restarting" if again else "exited" if found else "created"
    return {
        "Status": word,
        "Running": runs or again,
        "Paused": paused,
        "Restarting": again,
        "OOMKilled": False,
        "ExitCode": container["exit"] if found is None else 0 if runs else found["code"],
        "Error": container["error"],
        "StartedAt": stamp(found["start"]) if found else _NEVER,
    }


def restarts(container: Container, now: float) -> int:
    """Restarts by the engine since it was started."""
    first = float(container["started"])
    return max(0, sum(bool(first <= each["start"] <= now) for each in container["lives"]) - 1)


def events(doc: Document, since: float, until: float) -> list[dict[str, Any]]:
    """Starts and ends between two times; in order, in the format of Docker 28."""
    rows = [
        (moment, action, more, each)
        for each in doc["containers"].values()
        for life in each["lives"]
        for moment, action, more in (
            (life["start"], "start", {}),
            (life["end"], "die", {"exitCode": str(life["code"])}),
        )
        if moment is not None and since < moment <= until
    ]
    return [_event(*row) for row in sorted(rows, key=lambda row: row[0])]


def _event(at: float, action: str, more: Mapping[str, str], container: Container) -> dict[str, Any]:
    about = {**container["labels"], **more, "image": container["image"], "name": container["name"]}
    return {
        "Type": "container",
        "Action": action,
        "Actor": {"ID": container["id"], "Attributes": about},
        "time": int(at),
        "timeNano": round(at * 1e9),
    }


# -- ports and networks -----------------------------------------------------------------------------------


def published(container: Container) -> Iterator[tuple[str, str, int]]:
    """Port inside, host address, host port."""
    for inside, bindings in container["ports"].items():
        for each in bindings:
            yield inside, each["HostIp"], int(each["HostPort"])


def port_owner(doc: Document, port: int, now: float, address: str = "") -> Container | None:
    """The running container that publishes a host port."""
    for each in doc["containers"].values():
        for _, other, number in published(each):
            if number == port and (other == address or _ANY & {other, address}) and running(each, now):
                found: Container = each
                return found
    return None


def add_network(doc: Document, name: str, labels: Mapping[str, str]) -> None:
    """A new network with its own address range."""
    taken = {each["net"] for each in doc["networks"].values()}
    doc["networks"][name] = {**_network(next(each for each in range(20, 256) if each not in taken)), "labels": labels}


def _network(number: int) -> dict[str, Any]:
    return {"id": identity(), "labels": {}, "net": number, "next": 2}


def connect(doc: Document, container: Container, name: str) -> None:
    """An address in a network."""
    net = doc["networks"][name]
    container["networks"][name] = f"172.{net['net']}.{net['next'] // 256}.{net['next'] % 256}"
    net["next"] += 1


# -- images and registries --------------------------------------------------------------------------------


def find_image(doc: Document, ref: str) -> str | None:
    """The id of an image by any of its names; None if the engine does not have it."""
    listed = parse(ref).listed
    known: Iterable[tuple[str, Any]] = doc["images"].items()
    return next((key for key, each in known if listed in each["tags"] or listed in each["digests"] or key == ref), None)


def add_image(doc: Document, ref: str, origin: str) -> dict[str, Any]:
    """Add an image to the engine. `origin`: its name at its registry, for generating its id."""
    image, key = parse(ref), f"sha256:{fake_digest(origin)}"
    made: dict[str, Any] = doc["images"].setdefault(key, {"tags": [], "digests": [], "architecture": "", "build": ""})
    if not image.digest:
        tag_image(doc, key, ref)
    digest = f"{image.name}@" + (image.digest or f"sha256:{fake_digest(f'digest {origin}')}")
    if digest not in made["digests"]:
        made["digests"].append(digest)
    return made


def tag_image(doc: Document, key: str, ref: str) -> None:
    """Give an image a name, taking it from any other."""
    listed = parse(ref).listed
    for each in doc["images"].values():
        each["tags"] = [name for name in each["tags"] if name != listed]
    doc["images"][key]["tags"].append(listed)


def registry_of(doc: Document, ref: str, now: float) -> Container | None:
    """The container that serves the registry of an image, if that is a port of this machine."""
    host, _, port = parse(ref).registry.partition(":")
    return port_owner(doc, int(port), now) if f"{host}:" in LOOPBACK and port.isdigit() else None


def upstream(registry: Container) -> str:
    """The registry behind a cache; empty for other registries."""
    label = str(registry["labels"].get(CACHE_LABEL, PUSH))
    return "" if label == PUSH else label


def hold(registry: Container, ref: str) -> bool:
    """Add an image to a registry; returns whether it was there before."""
    name = parse(ref).full
    had = name in registry["holds"]
    if not had:
        registry["holds"].append(name)
    return had
