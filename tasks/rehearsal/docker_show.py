"""`docker ps` and `docker inspect`: containers as lists and in full."""

from __future__ import annotations

import json
import re

from tasks.rehearsal import containers, starting
from tasks.rehearsal.call import Exit
from tasks.rehearsal.docker import Command, daemon
from tasks.rehearsal.formatting import render, text
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.flags import Given

_FILTERS = frozenset(
    {
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "is-task",
        "isolation",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    }
)
"""Those of Docker 28; what is not looked at here lets everything pass."""


def _ps(call: Call, given: Given) -> None:
    doc, now = call.engine.read(), call.now()
    wanted = [part.partition("=")[::2] for part in given.all("filter")]
    for key, _ in wanted:
        if key not in _FILTERS:
            raise daemon(f"invalid filter '{key}'")
    everything = given.on("all") or any(key in ("status", "exited") for key, _ in wanted)
    found = [
        each
        for each in doc["containers"].values()
        if (everything or containers.status(each, now)["Running"]) and _fits(each, wanted, now)
    ]
    found.sort(key=lambda each: -float(each["created"]))
    template, whole = given.get("format"), given.on("no-trunc")
    if given.on("quiet") and not template:
        for each in found:
            call.say(each["id"] if whole else each["id"][:12])
        return
    rows = [row(each, now, whole=whole) for each in found]
    if template == "json":
        template = "{{json .}}"
    if template and not template.startswith("table"):
        for each in rows:
            call.say(render(template, each, "*formatter.ContainerContext"))
        return
    call.say("CONTAINER ID   IMAGE   COMMAND   CREATED   STATUS   PORTS   NAMES")
    for each in rows:
        names = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
        call.say("   ".join(each[name] for name in names))


def _fits(container: Container, wanted: Sequence[tuple[str, str]], now: float) -> bool:
    labels = container["labels"]
    names = [value for key, value in wanted if key == "name"]
    if names and not any(re.search(value, f"/{container['name']}") for value in names):
        return False
    for key, value in wanted:
        name, sign, text = value.partition("=")
        if key == "label" and not (labels.get(name) == text if sign else name in labels):
            return False
        if key == "id" and not container["id"].startswith(value):
            return False
        if key == "network" and value not in container["networks"]:
            return False
    states = [value for key, value in wanted if key == "status"]
    return not states or containers.status(container, now)["Status"] in states


def row(container: Container, now: float, *, whole: bool) -> dict[str, str]:
    """One line of `docker ps`, as its formats name it."""
    command = " ".join([*container["entrypoint"], *container["cmd"]])
    state = containers.status(container, now)
    since = containers.life(container, now)
    ago = now - float(container["created"])
    binds = [bind.split(":")[0] for bind in container["binds"]]
    return {
        "Command": f'"{command if whole or len(command) < 20 else command[:19] + "…"}"',
        "CreatedAt": f"{stamp(container['created'], 0).replace('T', ' ').removesuffix('Z')} +0000 UTC",
        "ID": container["id"] if whole else container["id"][:12],
        "Image": container["image"],
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(container["labels"].items())),
        "LocalVolumes": str(sum("/" not in bind for bind in binds)),
        "Mounts": ",".join(binds),
        "Names": container["name"],
        "Networks": ",".join(sorted(container["networks"])),
        "Platform": "",
        "Ports": _ports(container) if state["Running"] and not state["Restarting"] else "",
        "RunningFor": f"{duration(ago)} ago",
        "Size": "0B",
        "State": state["Status"],
        "Status": _status(state, since, now),
    }


def _ports(container: Container) -> str:
    bare = [inside for inside, bindings in container["ports"].items() if not bindings]
    shown = [f"{address or '0.0.0.0'}:{port}->{inside}" for inside, address, port in containers.published(container)]  # noqa: S104 - as Docker writes it
    return ", ".join(sorted([*shown, *bare]))


def _status(state: dict[str, Any], life: list[Any] | None, now: float) -> str:
    if life is None:
        return "Created"
    if state["Status"] == "running":
        return f"Up {duration(now - life[0])}"
    word = "Restarting" if state["Restarting"] else "Exited"
    return f"{word} ({state['ExitCode']}) {duration(now - (life[1] or now))} ago"


def duration(seconds: float) -> str:
    """As Docker tells how long something is ago (go-units: `HumanDuration`)."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = round(seconds / 3600)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    return f"{hours // 24} days"


def inspected(doc: Document, container: Container, now: float) -> dict[str, Any]:
    """All that is looked at in `docker inspect`, in the form of Docker 28."""
    networks = {
        name: {
            "NetworkID": doc["networks"].get(name, {}).get("id", ""),
            "EndpointID": each["endpoint"] if containers.running(container, now) else "",
            "Gateway": f"172.{doc['networks'].get(name, {}).get('net', 0)}.0.1",
            "IPAddress": each["ip"] if containers.running(container, now) else "",
            "IPPrefixLen": 16,
            "Aliases": None,
        }
        for name, each in container["networks"].items()
    }
    words = [*container["entrypoint"], *container["cmd"]]
    ports = {inside: bindings or None for inside, bindings in container["ports"].items()}
    return {
        "Id": container["id"],
        "Created": stamp(container["created"]),
        "Path": words[0] if words else "",
        "Args": words[1:],
        "State": containers.status(container, now),
        "Image": starting.image(doc, container["image"]) or "",
        "Name": f"/{container['name']}",
        "RestartCount": containers.restarts(container, now),
        "Driver": "overlay2",
        "Platform": "linux",
        "Mounts": [
            {"Type": "bind" if "/" in bind.split(":")[0] else "volume", "Name": bind.split(":")[0]}
            for bind in container["binds"]
        ],
        "HostConfig": {
            "Binds": container["binds"] or None,
            "NetworkMode": next(iter(container["networks"]), "bridge"),
            "PortBindings": {inside: bindings for inside, bindings in container["ports"].items() if bindings},
            "RestartPolicy": {"Name": container["restart"], "MaximumRetryCount": 0},
            "NanoCpus": container["cpus"],
            "Memory": container["memory"],
            "MemorySwap": container["swap"],
        },
        "Config": {
            "Hostname": container.get("hostname") or container["id"][:12],
            "Env": container["env"],
            "Cmd": container["cmd"] or None,
            "Image": container["image"],
            "Entrypoint": container["entrypoint"] or None,
            "ExposedPorts": {inside: {} for inside in container["ports"]},
            "Labels": container["labels"],
        },
        "NetworkSettings": {"Ports": ports if containers.running(container, now) else {}, "Networks": networks},
    }


def show(call: Call, given: Given, found: Sequence[dict[str, Any]], missing: Sequence[str], kind: str) -> None:
    """What was found on stdout, what was not on stderr. Raises `Exit`."""
    template = given.get("format")
    if template and template != "json":
        for each in found:
            call.say(render(template, each, kind))
    elif template:
        call.say(text(list(found)))
    else:
        call.say(json.dumps(found, indent=4, ensure_ascii=False))
    if missing:
        raise Exit(1, "\n".join(missing))


def _inspect(call: Call, given: Given) -> None:
    doc, now = call.engine.read(), call.now()
    found, missing = [], []
    for ref in given.args:
        container = containers.find(doc, ref)
        if container is None:
            missing.append(f"Error response from daemon: No such container: {ref}")
        else:
            found.append(inspected(doc, container, now))
    show(call, given, found, missing, "container.InspectResponse")


def _inspect_any(call: Call, given: Given) -> None:
    from tasks.rehearsal.docker_images import inspected as image_inspected
    from tasks.rehearsal.docker_networks import network_inspected

    doc, now = call.engine.read(), call.now()
    found, missing = [], []
    for ref in given.args:
        container, image = containers.find(doc, ref), image_inspected(doc, ref)
        if container is not None:
            found.append(inspected(doc, container, now))
        elif image is not None:
            found.append(image)
        elif ref in doc["networks"]:
            found.append(network_inspected(doc, ref, now))
        else:
            missing.append(f"Error: No such object: {ref}")
    show(call, given, found, missing, "map[string]interface {}")


COMMANDS = {
    "ps": Command("ps [OPTIONS]", "all,a filter,f=l format=s last,n=i latest,l no-trunc quiet,q size,s", _ps, most=0),
    "container inspect": Command(
        "container inspect [OPTIONS] CONTAINER [CONTAINER...]", "format,f=s size,s", _inspect, least=1
    ),
    "inspect": Command("inspect [OPTIONS] NAME|ID [NAME|ID...]", "format,f=s size,s type=s", _inspect_any, least=1),
}
