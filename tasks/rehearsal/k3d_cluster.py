"""`k3d cluster start`, `stop`, `delete` and `list`."""

from __future__ import annotations

import json

from tasks.rehearsal import containers, starting
from tasks.rehearsal.k3d_start import limit, start
from tasks.rehearsal.k3d_words import fatal, info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given

_NODES = ("server", "agent", "loadbalancer")


def _named(call: Call, given: Given) -> list[str]:
    """Clusters that are meant. Raises `Exit` for one that is not there."""
    doc = call.engine.read()
    there = {each["labels"].get("k3d.cluster", "") for each in doc["containers"].values()} - {""}
    if given.on("all"):
        return sorted(there)
    wanted = given.args or ["k3s-default"]
    for name in wanted:
        if name not in there:
            raise fatal(f"No nodes found for given cluster: {name}")
    return list(wanted)


def _start(call: Call, given: Given) -> None:
    for name in _named(call, given):
        start(call, name, call.began + limit(given.get("timeout")))
        call.wait_until(call.began + call.times.seconds("start returns"))
        info(call, f"Started cluster '{name}'")


def _stop(call: Call, given: Given) -> None:
    for name in _named(call, given):
        info(call, f"Stopping cluster '{name}'")
        call.wait("stop", name)
        with call.engine.change() as doc:
            for role in _NODES:
                for each in containers.labelled(doc, cluster=name, role=role):
                    starting.stop(call, each, call.now())
        info(call, f"Stopped cluster '{name}'")


def delete(call: Call, name: str) -> None:
    """Take away containers, network and volumes; registries only leave the network."""
    with call.engine.change() as doc:
        for role in _NODES:
            for each in containers.labelled(doc, cluster=name, role=role):
                starting.remove(call, doc, each, call.now())
        network = f"k3d-{name}"
        for each in doc["containers"].values():
            each["networks"].pop(network, None)
        doc["networks"].pop(network, None)
        for volume in [key for key, each in doc["volumes"].items() if each["labels"].get("k3d.cluster") == name]:
            del doc["volumes"][volume]


def _delete(call: Call, given: Given) -> None:
    doc = call.engine.read()
    there = {each["labels"].get("k3d.cluster", "") for each in doc["containers"].values()} - {""}
    for name in sorted(there) if given.on("all") else given.args or ["k3s-default"]:
        if name not in there:
            info(call, f"No nodes found for cluster '{name}', nothing to delete.")
            continue
        info(call, f"Deleting cluster '{name}'")
        call.middle()
        call.wait("delete", name)
        delete(call, name)
        info(call, f"Successfully deleted cluster {name}!")


def _list(call: Call, given: Given) -> None:
    doc, now = call.engine.read(), call.now()
    names = sorted({each["labels"].get("k3d.cluster", "") for each in doc["containers"].values()} - {""})
    rows = []
    for name in names:
        if given.args and name not in given.args:
            continue
        of = {role: containers.labelled(doc, cluster=name, role=role) for role in _NODES}
        running = {role: sum(containers.running(each, now) for each in found) for role, found in of.items()}
        rows.append(
            {
                "name": name,
                "serversCount": len(of["server"]),
                "serversRunning": running["server"],
                "agentsCount": len(of["agent"]),
                "agentsRunning": running["agent"],
                "hasLoadbalancer": bool(of["loadbalancer"]),
            }
        )
    if given.get("output") == "json":
        call.say(json.dumps(rows))
        return
    if not given.on("no-headers"):
        call.say("NAME   SERVERS   AGENTS   LOADBALANCER")
    for row in rows:
        shown = f"{row['serversRunning']}/{row['serversCount']}   {row['agentsRunning']}/{row['agentsCount']}"
        call.say(f"{row['name']}   {shown}   {str(row['hasLoadbalancer']).lower()}")


COMMANDS = {"cluster start": _start, "cluster stop": _stop, "cluster delete": _delete, "cluster list": _list}
