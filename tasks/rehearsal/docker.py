"""The simulated docker: the engine and its containers."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.core.units import memory_bytes
from tasks.rehearsal import docker_resources, engine, lifecycle
from tasks.rehearsal.engine import Container, Document, stamp
from tasks.rehearsal.folder import VERSIONS
from tasks.rehearsal.program import Call, Commands, Exit, Given, dispatch
from tasks.settings.derived import DATA

_EARLIER = 1.0
"""Seconds before `docker events` starts whose events it includes: without delays k3d may be faster."""
_LOOK = 0.02
"""Seconds between two checks; the time that passes in a rehearsal is real."""
_FREE = 100_000_000
"""Free kilobytes of the disk."""


def main(call: Call) -> None:
    """Raises `Exit`, `getopt.GetoptError`."""
    act, given = dispatch(call, _COMMANDS, last=("run", "create", "exec"))
    if call.args[0] not in ("build", "events", "logs", "pull", "push", "run"):  # they have their own times
        call.wait("docker")
    act(call, given)


# -- the engine, and the state of containers ---------------------------------------------------------------


def _info(call: Call, given: Given) -> None:
    """Like Docker 28; machine.json has fields that differ from this machine."""
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
    call.say(docker_resources.render(given.get("format") or "{{json .}}", facts))


def _ps(call: Call, given: Given) -> None:
    now, wanted, networks = (
        call.now(),
        docker_resources.filters(given).get("label", ()),
        docker_resources.filters(given).get("network", ()),
    )
    for each in sorted(call.engine.read()["containers"].values(), key=lambda each: -float(each["created"])):
        state = engine.status(each, now)
        if not (given.on("all") or state["Running"]) or not docker_resources.fits(each["labels"], wanted):
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
        call.say(docker_resources.render(given.get("format") or usual, row))


def _inspect(call: Call, given: Given) -> None:
    doc, now = call.engine.read(), call.now()
    found = {ref: engine.find(doc, ref) for ref in given.args}
    docker_resources.show(
        call, given, "container", {ref: each and _inspected(each, now) for ref, each in found.items()}
    )


def _inspected(container: Container, now: float) -> dict[str, Any]:
    """The fields of `docker container inspect` that are read, as in Docker 28."""
    ports = {inside: rows for inside, rows in container["ports"].items() if rows}
    mounts = [{"Type": "volume", "Name": docker_resources.data_volume(container), "Destination": DATA}]
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
    """Until it is terminated."""
    wanted, began = docker_resources.filters(given), call.now()
    last = began if call.times.scale else began - _EARLIER
    fault = call.faults.strike("engine-restarts", "engine")
    breaks = began + call.times.scale * float(fault.get("after") or 0.0) if fault is not None else float("inf")
    while True:
        doc, now = call.engine.read(), call.now()
        if now >= breaks and engine.labelled(doc, role="server"):
            raise docker_resources.daemon_error("unexpected EOF")
        for event in engine.events(doc, last, now):
            late = event["Action"] == "start" or event["timeNano"] > began * 1e9
            ours = docker_resources.fits(event["Actor"]["Attributes"], wanted.get("label", ()))
            if late and ours and event["Action"] in wanted.get("event", ("start", "die")):
                call.say(json.dumps(event))
        last = now
        call.pause(_LOOK)


def _logs(call: Call, given: Given) -> None:
    """On stderr, where k3s and registries write."""
    container: Container | None = docker_resources.find(call.engine.read(), given.args[0])
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


# -- containers made, started, stopped, changed and removed ------------------------------------------------


def _create(call: Call, given: Given) -> None:
    call.say(_make(call, given))


def _run(call: Call, given: Given) -> None:
    if given.on("rm"):
        _copy_volume(call, given)
        return
    made = _make(call, given)
    call.checkpoint()
    with call.engine.change() as doc:
        why = lifecycle.start(call, doc, doc["containers"][made], call.now())
    if why:
        raise Exit(125, f"docker: {docker_resources.daemon_error(why).text}")
    call.wait("registry start", given.get("name"))
    call.say(made)


def _copy_volume(call: Call, given: Given) -> None:
    """`docker run --rm` of a snapshot: sizes, a save or a restore (`tasks.clients.volumes`). Raises `Exit`."""
    mounts = {target: source for source, target, *_ in (row.split(":") for row in given.all("volume"))}
    if "/from/000" in mounts:
        call.say("\n".join([*(str(docker_resources.KILOBYTES) for _ in mounts), str(_FREE)]))
        return
    source, target = mounts["/from"], mounts.get("/to/data") or mounts["/to"]
    call.wait("registry start")
    servers = (each for each in call.engine.read()["containers"].values() if each["name"].endswith("-server-0"))
    cluster = next((engine.cluster(each) for each in servers if docker_resources.data_volume(each) == source), None)
    saved = call.folder.volume(source) if cluster is None else call.folder.cluster(cluster)
    docker_resources.copy_database(saved, call.folder.volume(target))
    call.say(str(docker_resources.KILOBYTES))


def _make(call: Call, given: Given) -> str:
    """Create a container; returns its id. Raises `Exit`."""
    ref, *words = given.args
    if engine.find_image(call.engine.read(), ref) is None:
        try:
            docker_resources.pull(call, ref, call.warn)
        except Exit as end:
            raise Exit(125, f"docker: {end.text}") from None
    name = given.get("name") or f"rehearsed_{engine.identity()[:8]}"
    files = (Path(path).read_text(encoding="utf-8").splitlines() for path in given.all("env-file"))
    ports: dict[str, list[dict[str, str]]] = {}
    for *address, host, inside in (row.split(":") for row in given.all("publish")):
        ports[f"{inside}/tcp"] = [{"HostIp": "".join(address), "HostPort": host}]
    with call.engine.change() as doc:
        refused = lifecycle.create_refused(call, doc, name)
        if refused:
            raise Exit(125, f"docker: {docker_resources.daemon_error(refused).text}")
        made = engine.make(
            doc,
            name,
            ref,
            call.now(),
            labels=docker_resources.labels(given),
            env=[*(row for rows in files for row in rows), *given.all("env")],
            cmd=words,
            ports=ports,
            binds=given.all("volume"),
        )
        return str(made["id"])


def _each(call: Call, given: Given, act: Callable[[Document, Container], str], *, forced: bool = False) -> None:
    """Apply a function to each container; with `forced` a missing one is no failure. Raises `Exit`."""

    def found(doc: Document, ref: str) -> str:
        container = engine.find(doc, ref)
        if container is None:
            return "" if forced else f"No such container: {ref}"
        return act(doc, container)

    docker_resources.for_each(call, given.args, found)


def _start(call: Call, given: Given) -> None:
    call.checkpoint()
    _each(call, given, lambda doc, each: lifecycle.start(call, doc, each, call.now()))
    if any("registry" in ref for ref in given.args):
        call.wait("registry start", *given.args)


def _stop(call: Call, given: Given) -> None:
    call.checkpoint()
    call.wait("stop", *given.args)
    _each(call, given, lambda _, each: lifecycle.stop(call, each, call.now()))


def _restart(call: Call, given: Given) -> None:
    def act(doc: Document, each: Container) -> str:
        lifecycle.stop(call, each, call.now())
        return lifecycle.start(call, doc, each, call.now())

    call.wait("stop", *given.args)
    _each(call, given, act)


def _pause(call: Call, given: Given) -> None:
    """`docker pause` and `docker unpause`."""
    on = call.args[0] == "pause"

    def act(_doc: Document, each: Container) -> str:
        if not engine.running(each, call.now()):
            return f"container {each['id']} is not running"
        each["paused"], each["resumed"] = on, 0.0 if on else call.now()
        return ""

    _each(call, given, act)


def _remove(call: Call, given: Given) -> None:
    """With `--force`, as used by the tasks: a missing container is no failure."""
    call.checkpoint()
    call.wait("rm", *given.args)
    _each(call, given, lambda doc, each: lifecycle.remove(call, doc, each), forced=True)


def _update(call: Call, given: Given) -> None:
    limits = {"cpus": round(float(given.get("cpus") or 0) * 1e9), "memory": memory_bytes(given.get("memory") or "0")}
    _each(call, given, lambda _, each: each.update({key: value for key, value in limits.items() if value}) or "")


_MAKING = (
    "name= restart= publish=,p volume=,v label=,l env=,e env-file= network= detach,d rm interactive,i tty,t "
    "user=,u platform= pull= entrypoint="
)
_COMMANDS: Commands = {
    "info": (_info, "format=,f", 0),
    "ps": (_ps, "all,a filter=,f format= no-trunc quiet,q", 0),
    "container inspect": (_inspect, "format=,f", 1),
    "events": (_events, "filter=,f format=", 0),
    "logs": (_logs, "follow,f since= tail=,n", 1),
    "run": (_run, _MAKING, 1),
    "create": (_create, _MAKING, 1),
    "start": (_start, "", 1),
    "stop": (_stop, "timeout=,t", 1),
    "pause": (_pause, "", 1),
    "unpause": (_pause, "", 1),
    "restart": (_restart, "timeout=,t", 1),
    "rm": (_remove, "force,f volumes,v", 1),
    "update": (_update, "cpus= memory=,m memory-swap=", 1),
    **docker_resources.COMMANDS,
}
