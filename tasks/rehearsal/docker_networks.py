"""`docker network` and `docker volume`."""

from __future__ import annotations

from tasks.rehearsal import containers
from tasks.rehearsal.call import Exit
from tasks.rehearsal.docker import Command, daemon
from tasks.rehearsal.docker_show import show
from tasks.rehearsal.formatting import render
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.flags import Given


def labelled(rows: Sequence[str]) -> dict[str, str]:
    """Labels as `--label` gives them."""
    return {key: value for key, _, value in (row.partition("=") for row in rows)}


def fits(labels: Mapping[str, str], filters: Sequence[str]) -> bool:
    """Whether filters of the form `label=KEY=VALUE` let something with these labels pass."""
    for row in filters:
        kind, _, rest = row.partition("=")
        name, sign, value = rest.partition("=")
        if kind == "label" and not (labels.get(name) == value if sign else name in labels):
            return False
    return True


def network_inspected(doc: Document, name: str, now: float) -> dict[str, Any]:
    """A network in full."""
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


def _inspect(call: Call, given: Given) -> None:
    doc, now = call.engine.read(), call.now()
    found = [network_inspected(doc, name, now) for name in given.args if name in doc["networks"]]
    missing = [
        f"Error response from daemon: network {name} not found" for name in given.args if name not in doc["networks"]
    ]
    show(call, given, found, missing, "network.Inspect")


def _both(doc: Document, given: Given) -> tuple[str, Container]:
    name, ref = given.args
    container = containers.find(doc, ref)
    if container is None:
        raise daemon(f"No such container: {ref}")
    if name not in doc["networks"]:
        raise daemon(f"network {name} not found")
    return name, container


def _connect(call: Call, given: Given) -> None:
    with call.engine.change() as doc:
        name, container = _both(doc, given)
        if name in container["networks"]:
            raise daemon(f"endpoint with name {container['name']} already exists in network {name}")
        containers.connect(doc, container, name)


def _disconnect(call: Call, given: Given) -> None:
    with call.engine.change() as doc:
        name, container = _both(doc, given)
        if name not in container["networks"]:
            raise daemon(f"container {container['id']} is not connected to network {name}")
        del container["networks"][name]


def _remove(call: Call, given: Given) -> None:
    wrong = []
    with call.engine.change() as doc:
        for name in given.args:
            if name not in doc["networks"]:
                wrong.append(f"Error response from daemon: network {name} not found")
                continue
            if any(name in each["networks"] for each in doc["containers"].values()):
                identity = doc["networks"][name]["id"]
                wrong.append(
                    "Error response from daemon: error while removing network: "
                    f"network {name} id {identity} has active endpoints"
                )
                continue
            del doc["networks"][name]
            call.say(name)
    if wrong:
        raise Exit(1, "\n".join(wrong))


def _create(call: Call, given: Given) -> None:
    (name,) = given.args
    with call.engine.change() as doc:
        if name in doc["networks"]:
            raise daemon(f"network with name {name} already exists")
        made = containers.network(doc, name, labelled(given.all("label")), call.now())
    call.say(made["id"])


def _list(call: Call, given: Given) -> None:
    for name, net in call.engine.read()["networks"].items():
        if not fits(net["labels"], given.all("filter")):
            continue
        row = {"ID": net["id"][:12], "Name": name, "Driver": net["driver"], "Scope": "local"}
        _row(call, given, row, net["id"][:12])


def _row(call: Call, given: Given, row: Mapping[str, str], short: str) -> None:
    template = "{{json .}}" if given.get("format") == "json" else given.get("format")
    if given.on("quiet") and not template:
        call.say(short)
    else:
        call.say(render(template, row, "*formatter.Context") if template else "   ".join(row.values()))


def _create_volume(call: Call, given: Given) -> None:
    name = given.args[0] if given.args else containers.identity()
    with call.engine.change() as doc:
        doc["volumes"].setdefault(name, {"created": call.now(), "labels": labelled(given.all("label"))})
    call.say(name)


def _list_volumes(call: Call, given: Given) -> None:
    for name, volume in sorted(call.engine.read()["volumes"].items()):
        if fits(volume["labels"], given.all("filter")):
            row = {"Driver": "local", "Name": name}
            if given.get("format"):
                row["Labels"] = ",".join(f"{key}={value}" for key, value in volume["labels"].items())
            _row(call, given, row, name)


def _remove_volumes(call: Call, given: Given) -> None:
    wrong = []
    with call.engine.change() as doc:
        for name in given.args:
            users = [
                each["id"]
                for each in doc["containers"].values()
                if any(bind.split(":")[0] == name for bind in each["binds"])
            ]
            if users:
                wrong.append(f"Error response from daemon: remove {name}: volume is in use - [{', '.join(users)}]")
            elif name not in doc["volumes"] and not given.on("force"):
                wrong.append(f"Error response from daemon: get {name}: no such volume")
            else:
                doc["volumes"].pop(name, None)
                call.say(name)
    if wrong:
        raise Exit(1, "\n".join(wrong))


def _inspect_volumes(call: Call, given: Given) -> None:
    volumes = call.engine.read()["volumes"]
    found = [
        {
            "CreatedAt": stamp(volumes[name]["created"], 0),
            "Driver": "local",
            "Labels": volumes[name]["labels"],
            "Mountpoint": f"/var/lib/docker/volumes/{name}/_data",
            "Name": name,
            "Scope": "local",
        }
        for name in given.args
        if name in volumes
    ]
    missing = [f"Error response from daemon: get {name}: no such volume" for name in given.args if name not in volumes]
    show(call, given, found, missing, "volume.Volume")


COMMANDS = {
    "network inspect": Command(
        "network inspect [OPTIONS] NETWORK [NETWORK...]", "format,f=s verbose,v", _inspect, least=1
    ),
    "network connect": Command(
        "network connect [OPTIONS] NETWORK CONTAINER", "alias=l ip=s ip6=s link=l", _connect, least=2, most=2
    ),
    "network disconnect": Command(
        "network disconnect [OPTIONS] NETWORK CONTAINER", "force,f", _disconnect, least=2, most=2
    ),
    "network rm": Command("network rm NETWORK [NETWORK...]", "force,f", _remove, least=1),
    "network ls": Command("network ls [OPTIONS]", "filter,f=l format=s no-trunc quiet,q", _list, most=0),
    "network create": Command(
        "network create [OPTIONS] NETWORK", "driver,d=s label=l subnet=l gateway=l opt,o=l", _create, least=1, most=1
    ),
    "volume create": Command("volume create [OPTIONS] [VOLUME]", "driver,d=s label=l opt,o=l", _create_volume, most=1),
    "volume ls": Command("volume ls [OPTIONS]", "filter,f=l format=s quiet,q", _list_volumes, most=0),
    "volume rm": Command("volume rm [OPTIONS] VOLUME [VOLUME...]", "force,f", _remove_volumes, least=1),
    "volume inspect": Command("volume inspect [OPTIONS] VOLUME [VOLUME...]", "format,f=s", _inspect_volumes, least=1),
}
