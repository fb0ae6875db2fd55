"""The stand-in for docker: the engine and its containers."""

from __future__ import annotations

import json
import os

from tasks.rehearsal import docker_resources, engine
from tasks.rehearsal.docker_resources import (
    daemon_error,
    data_volume,
    filters,
    find,
    fits,
    render,
    show,
)
from tasks.rehearsal.engine import stamp
from tasks.rehearsal.folder import VERSIONS
from tasks.rehearsal.program import dispatch
from tasks.settings.derived import DATA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.engine import Container
    from tasks.rehearsal.program import Call, Commands, Given

_EARLIER = 1.0
"""Seconds before `docker events` begins whose starts it reports: where nothing takes time k3d may be faster."""
_LOOK = 0.02
"""Seconds between two looks; the time that passes in a rehearsal is real."""


def main(call: Call) -> None:
    """Raises `Exit`, `getopt.GetoptError`."""
    if call.args == ["--version"]:
        call.say(f"Docker version {VERSIONS['docker']}, build REHEARSAL")
        return
    commands: Commands = {**_COMMANDS, **docker_resources.COMMANDS}
    if not {*call.args[:1], " ".join(call.args[:2])} & commands.keys():
        from tasks.rehearsal import docker_containers  # with all that a start brings about: others begin sooner without

        commands = docker_containers.COMMANDS
    act, given = dispatch(call, commands, last=("run", "create", "exec"))
    if call.args[0] not in ("build", "events", "logs", "pull", "push", "run"):  # they take a time of their own
        call.wait("docker")
    act(call, given)


# -- the engine, and containers as they are ---------------------------------------------------------------


def _info(call: Call, given: Given) -> None:
    """As Docker 28 describes itself; machine.json holds what is to differ from this machine."""
    system = os.uname()
    facts: dict[str, Any] = {
        "ID": "REHEARSAL",
        "Name": "rehearsal",
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", "extfs"]],
        "CgroupDriver": "systemd",
        "CgroupVersion": "2",
        "KernelVersion": system.release,
        "OperatingSystem": "REHEARSAL (nothing here is real)",
        "OSType": "linux",
        "Architecture": "aarch64" if system.machine == "arm64" else system.machine,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "DockerRootDir": "/var/lib/docker",
        "SystemTime": stamp(call.now()),
        "ServerVersion": VERSIONS["docker"],
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "ClientInfo": {"Version": VERSIONS["docker"], "Context": "default", "Plugins": [{"Name": "buildx"}]},
        **call.folder.read("machine.json"),
    }
    call.say(render(given.get("format") or "{{json .}}", facts))


def _ps(call: Call, given: Given) -> None:
    now, wanted, networks = call.now(), filters(given).get("label", ()), filters(given).get("network", ())
    for each in sorted(call.engine.read()["containers"].values(), key=lambda each: -float(each["created"])):
        state = engine.status(each, now)
        if not (given.on("all") or state["Running"]) or not fits(each["labels"], wanted):
            continue
        if not all(name in each["networks"] for name in networks):
            continue
        ports = engine.published(each) if state["Running"] else ()
        row = {
            "ID": each["id"] if given.on("no-trunc") else each["id"][:12],
            "Image": each["image"],
            "Names": each["name"],
            "Status": state["Status"],
            "Ports": ", ".join(f"{address or '0.0.0.0'}:{port}->{inside}" for inside, address, port in ports),  # noqa: S104 - as Docker writes it
            "Labels": ",".join(f"{key}={value}" for key, value in each["labels"].items()),
        }
        usual = "{{.ID}}" if given.on("quiet") else "{{.ID}}   {{.Image}}   {{.Status}}   {{.Ports}}   {{.Names}}"
        call.say(render(given.get("format") or usual, row))


def _inspect(call: Call, given: Given) -> None:
    doc, now = call.engine.read(), call.now()
    found = {ref: engine.find(doc, ref) for ref in given.args}
    show(call, given, "container", {ref: each and _inspected(each, now) for ref, each in found.items()})


def _inspected(container: Container, now: float) -> dict[str, Any]:
    """What is read of `docker container inspect`, in the form of Docker 28."""
    ports = {inside: rows for inside, rows in container["ports"].items() if rows}
    mounts = [{"Type": "volume", "Name": data_volume(container), "Destination": DATA}]
    return {
        "Id": container["id"],
        "Created": stamp(container["created"]),
        "State": engine.status(container, now),
        "Name": f"/{container['name']}",
        "RestartCount": engine.restarts(container, now),
        "Mounts": [*({"Name": bind.split(":")[0]} for bind in container["binds"]), *mounts],
        "HostConfig": {
            "Binds": container["binds"] or None,
            "PortBindings": ports,
            "NanoCpus": container["cpus"],
            "Memory": container["memory"],
        },
        "Config": {
            "Env": container["env"],
            "Cmd": container["cmd"] or None,
            "Image": container["image"],
            "Labels": container["labels"],
        },
        "NetworkSettings": {
            "Ports": ports if engine.running(container, now) else {},
            "Networks": {name: {"IPAddress": address} for name, address in container["networks"].items()},
        },
    }


def _events(call: Call, given: Given) -> None:
    """Until it is ended."""
    wanted, began = filters(given), call.now()
    last = began if call.times.scale else began - _EARLIER
    fault = call.faults.strike("engine-restarts", "engine")
    breaks = began + call.times.scale * float(fault.get("after") or 0.0) if fault is not None else float("inf")
    while True:
        doc, now = call.engine.read(), call.now()
        if now >= breaks and engine.labelled(doc, role="server"):
            raise daemon_error("unexpected EOF")
        for event in engine.events(doc, last, now):
            late = event["Action"] == "start" or event["timeNano"] > began * 1e9
            ours = fits(event["Actor"]["Attributes"], wanted.get("label", ()))
            if late and ours and event["Action"] in wanted.get("event", ("start", "die")):
                call.say(json.dumps(event))
        last = now
        call.pause(_LOOK)


def _logs(call: Call, given: Given) -> None:
    """On stderr, where k3s and registries write."""
    container: Container | None = find(call.engine.read(), given.args[0])
    last, tail = float(given.get("since") or 0.0) - 1e-6, given.get("tail")
    while container is not None:
        now = call.now()
        lines = [line for moment, line in sorted(container["log"]) if last < moment <= now]
        for line in lines[-int(tail) :] if tail.isdigit() else lines:
            call.warn(line)
        last, ended = now, not (engine.running(container, now) or engine.restarting(container, now))
        if ended or not given.on("follow"):
            return
        call.pause(_LOOK)
        container = engine.find(call.engine.read(), container["id"])


_COMMANDS: Commands = {
    "info": (_info, "format=,f", 0),
    "ps": (_ps, "all,a filter=,f format= no-trunc quiet,q", 0),
    "container inspect": (_inspect, "format=,f", 1),
    "events": (_events, "filter=,f format=", 0),
    "logs": (_logs, "follow,f since= tail=,n", 1),
}
