"""The engine's containers, networks and nodes: what they are, and when they run.

What will happen to a container is written when it is started: `lives` and lines of its `log` may lie in the future, and
whoever reads sees those whose time has come. So no process has to stand behind a container.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise

from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    Document = dict[str, Any]
    Container = dict[str, Any]

_NEVER = "0001-01-01T00:00:00Z"
_PAST = 400
"""Events of removed containers that are remembered, for those who watch."""
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def blank() -> Document:
    """An engine that has nothing."""
    return {
        "images": {},
        "containers": {},
        "networks": {
            "bridge": {"id": identity(), "created": 0.0, "labels": {}, "driver": "bridge", "net": 17, "next": 2},
            "host": {"id": identity(), "created": 0.0, "labels": {}, "driver": "host", "net": 0, "next": 2},
            "none": {"id": identity(), "created": 0.0, "labels": {}, "driver": "null", "net": 0, "next": 2},
        },
        "volumes": {},
        "past": [],
    }


def identity() -> str:
    """A new id."""
    return os.urandom(32).hex()


def make(doc: Document, name: str, image: str, at: float, **more: Any) -> Container:
    """A container that is not started. `more`: labels, env, cmd, entrypoint, ports, binds, networks, restart, …"""
    made: Container = {
        "id": identity(),
        "name": name,
        "image": image,
        "created": at,
        "labels": {},
        "env": [],
        "cmd": [],
        "entrypoint": [],
        "ports": {},
        "binds": [],
        "restart": "no",
        "cpus": 0,
        "memory": 0,
        "swap": 0,
        "files": {},
        "lives": [],
        "log": [],
        "started": 0.0,
        **{key: value for key, value in more.items() if key != "networks"},
        "networks": {},
    }
    doc["containers"][made["id"]] = made
    for network in more.get("networks") or ["bridge"]:
        connect(doc, made, network)
    return made


def find(doc: Document, ref: str) -> Container | None:
    """By name, id, or the beginning of an id that only one has."""
    known: dict[str, Container] = doc["containers"]
    if ref in known:
        return known[ref]
    bare = ref.lstrip("/")
    for each in known.values():
        if each["name"] == bare:
            return each
    begun = [each for key, each in known.items() if key.startswith(ref)] if re.fullmatch(r"[0-9a-f]+", ref) else []
    return begun[0] if len(begun) == 1 else None


def labelled(doc: Document, **labels: str) -> list[Container]:
    """Those with these labels of k3d (`cluster`, `role`), in the order of their names."""
    wanted = {f"k3d.{key}": value for key, value in labels.items()}
    found = [each for each in doc["containers"].values() if wanted.items() <= each["labels"].items()]
    return sorted(found, key=lambda each: _order(each["name"]))


def _order(name: str) -> tuple[str, int]:
    head, _, number = name.rpartition("-")
    return (head, int(number)) if number.isdigit() else (name, -1)


# -- lives ------------------------------------------------------------------------------------------------


def life(container: Container, now: float) -> list[Any] | None:
    """The last life that has begun: [start, end or None, code, killed for its memory, moments of it by name]."""
    begun = [each for each in container["lives"] if each[0] <= now]
    return begun[-1] if begun else None


def running(container: Container, now: float) -> bool:
    """Whether a process is in it now."""
    found = life(container, now)
    return found is not None and (found[1] is None or found[1] > now)


def restarting(container: Container, now: float) -> bool:
    """Whether it has ended, and the engine will start it again."""
    found = life(container, now)
    return found is not None and not running(container, now) and found is not container["lives"][-1]


def begin(container: Container, at: float) -> None:
    """A new life, which does not end yet."""
    forget(container, at)
    container["lives"].append([at, None, 0, False, {}])
    container["started"] = at


def end(container: Container, at: float, code: int) -> None:
    """End the life that goes on, and whatever was to come."""
    forget(container, at)
    last = container["lives"][-1] if container["lives"] else None
    if last is not None and last[1] is None:
        last[1:3] = [at, code]
    container["paused"] = False


def forget(container: Container, at: float) -> None:
    """Nothing is scheduled any more."""
    lives = [each for each in container["lives"] if each[0] <= at]
    for each in lives:
        if each[1] is not None and each[1] > at:
            each[1:4] = [None, 0, False]
    container["lives"] = lives
    container["log"] = [each for each in container["log"] if each[0] <= at]


def log(container: Container, at: float, *lines: str, stream: str = "stderr") -> None:
    """Lines that it writes at a moment."""
    container["log"] += [[at, stream, line] for line in lines]


def lines(container: Container, now: float) -> list[Sequence[Any]]:
    """What it has written: moment, stream, text."""
    return sorted((each for each in container["log"] if each[0] <= now), key=lambda each: each[0])


def status(container: Container, now: float) -> dict[str, Any]:
    """`State` of `docker inspect`."""
    found = life(container, now)
    runs, again = running(container, now), restarting(container, now)
    paused = runs and bool(container.get("paused"))
    word = (
        "created"
        if found is None
        else "paused"
        if paused
        else "running"
        if runs
        else "restarting"
        if again
        else "exited"
    )
    ended = [each[1] for each in container["lives"] if each[1] is not None and each[1] <= now]
    return {
        "Status": word,
        "Running": runs or again,
        "Paused": paused,
        "Restarting": again,
        "OOMKilled": bool(found and not runs and found[3]),
        "Dead": False,
        "Pid": 1000 + int(container["id"][:4], 16) if runs else 0,
        "ExitCode": container.get("exit", 0) if found is None else 0 if runs else int(found[2]),
        "Error": container.get("error", ""),
        "StartedAt": stamp(found[0]) if found else _NEVER,
        "FinishedAt": stamp(ended[-1]) if ended else _NEVER,
    }


def restarts(container: Container, now: float) -> int:
    """How often the engine has started it again by itself since it was started."""
    first = container["started"]
    return max(0, sum(1 for each in container["lives"] if first <= each[0] <= now) - 1)


def reached(container: Container, mark: str, now: float) -> bool:
    """Whether the life that goes on has come to that moment of it."""
    found = life(container, now)
    return found is not None and running(container, now) and found[4].get(mark, now + 1) <= now


# -- events -----------------------------------------------------------------------------------------------


def events(doc: Document, since: float, until: float) -> list[dict[str, Any]]:
    """What has happened after one moment, and not after the other; in order."""
    found = [row for row in doc["past"] if since < row[0] <= until]
    for each in doc["containers"].values():
        found += [row for row in _of(each) if since < row[0] <= until]
    return [_event(*row) for row in sorted(found, key=lambda row: row[0])]


def _of(container: Container) -> Iterator[list[Any]]:
    about = [container["id"], container["image"], container["name"], container["labels"]]
    yield [container["created"], "create", {}, *about]
    for start, stop, code, oom, _ in container["lives"]:
        yield [start, "start", {}, *about]
        if stop is not None:
            if oom:
                yield [stop, "oom", {}, *about]
            yield [stop, "die", {"exitCode": str(code)}, *about]


def _event(
    at: float, action: str, more: Mapping[str, str], identity: str, image: str, name: str, labels: Mapping[str, str]
) -> dict[str, Any]:
    """As Docker 28 writes it; the first three fields are those of old clients."""
    return {
        "status": action,
        "id": identity,
        "from": image,
        "Type": "container",
        "Action": action,
        "Actor": {"ID": identity, "Attributes": {**labels, **more, "image": image, "name": name}},
        "scope": "local",
        "time": int(at),
        "timeNano": round(at * 1e9),
    }


def remove(doc: Document, container: Container, at: float) -> None:
    """Kill it and take it away; who watches hears of it."""
    if running(container, at):
        end(container, at, 137)
    forget(container, at)
    about = [container["id"], container["image"], container["name"], container["labels"]]
    past = [*doc["past"], *_of(container), [at, "destroy", {}, *about]]
    doc["past"] = past[-_PAST:]
    del doc["containers"][container["id"]]


# -- ports and networks -----------------------------------------------------------------------------------


def published(container: Container) -> Iterator[tuple[str, str, int]]:
    """Port inside, host address, host port."""
    for inside, bindings in container["ports"].items():
        for each in bindings:
            if str(each.get("HostPort", "")).isdigit():
                yield inside, each.get("HostIp", ""), int(each["HostPort"])


def port_owner(doc: Document, port: int, now: float, address: str = "") -> Container | None:
    """The container that runs and publishes a host port."""
    for each in doc["containers"].values():
        if running(each, now) and any(p == port and _meet(a, address) for _, a, p in published(each)):
            found: Container = each
            return found
    return None


def _meet(one: str, other: str) -> bool:
    return one == other or one in _EVERYWHERE or other in _EVERYWHERE


def network(doc: Document, name: str, labels: Mapping[str, str], at: float) -> dict[str, Any]:
    """A new network with the next free range."""
    taken = {each["net"] for each in doc["networks"].values()}
    number = next(each for each in range(18, 256) if each not in taken)
    made = {"id": identity(), "created": at, "labels": dict(labels), "driver": "bridge", "net": number, "next": 2}
    doc["networks"][name] = made
    return made


def connect(doc: Document, container: Container, name: str) -> None:
    """An address in a network."""
    net = doc["networks"][name]
    number = net["next"]
    net["next"] += 1
    address = f"172.{net['net']}.{number // 256}.{number % 256}" if net["driver"] == "bridge" else ""
    container["networks"][name] = {"ip": address, "endpoint": identity()}


# -- nodes ------------------------------------------------------------------------------------------------


def version(image: str) -> str:
    """v1.35.5+k3s1 of rancher/k3s:v1.35.5-k3s1."""
    tag = image.rpartition(":")[2]
    return tag.replace("-k3s", "+k3s") if tag.startswith("v") else "v1.35.5+k3s1"


def ready_at(doc: Document, cluster: str, now: float) -> float | None:
    """When the API of a cluster is ready, or was: by the first of its servers that runs."""
    marks = [
        life[4]["ready"]
        for each in labelled(doc, cluster=cluster, role="server")
        for life in each["lives"]
        if "ready" in life[4] and (life[1] is None or life[1] > now)
    ]
    return min(marks) if marks else None


def argument(container: Container, name: str) -> list[str]:
    """Values of a flag of k3s that may be given several times, each with several parts between commas."""
    words = container["cmd"]
    found = [word.partition("=")[2] for word in words if word.startswith(f"--{name}=")]
    found += [value for flag, value in pairwise(words) if flag == f"--{name}"]
    return [part.strip() for value in found for part in value.split(",")]
