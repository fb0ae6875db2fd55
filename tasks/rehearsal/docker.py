"""The stand-in for docker: which command it is, facts of the engine, and containers listed, inspected and watched."""

from __future__ import annotations

import json
import os
from importlib import import_module

from tasks.clients.volumes import DATA
from tasks.rehearsal import containers, images, volumes
from tasks.rehearsal.flags import compact, parse, render
from tasks.rehearsal.folder import VERSIONS
from tasks.rehearsal.program import Exit
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.flags import Parsed
    from tasks.rehearsal.program import Call

_MAKING = (
    "name=s restart=s publish,p=l volume,v=l label,l=l env,e=l env-file=l network=s detach,d rm interactive,i tty,t "
    "memory,m=s memory-swap=s cpus=s user,u=s platform=s pull=s entrypoint=s"
)
_COMMANDS = {
    "info": ("docker", "format,f=s", 0),
    "version": ("docker", "format,f=s", 0),
    "ps": ("docker", "all,a filter,f=l format=s no-trunc quiet,q", 0),
    "container inspect": ("docker", "format,f=s size,s", 1),
    "events": ("docker", "filter,f=l format=s since=s until=s", 0),
    "logs": ("docker", "follow,f since=s until=s tail,n=s timestamps,t details", 1),
    "run": ("docker_containers", _MAKING, 1),
    "create": ("docker_containers", _MAKING, 1),
    "start": ("docker_containers", "attach,a interactive,i", 1),
    "stop": ("docker_containers", "signal,s=s timeout,t=s time=s", 1),
    "pause": ("docker_containers", "", 1),
    "unpause": ("docker_containers", "", 1),
    "restart": ("docker_containers", "signal,s=s timeout,t=s time=s", 1),
    "rm": ("docker_containers", "force,f link,l volumes,v", 1),
    "update": ("docker_containers", "cpus=s memory,m=s memory-swap=s restart=s", 1),
    "cp": ("docker_containers", "archive,a follow-link,L quiet,q", 2),
    "exec": ("docker_containers", "detach,d env,e=l interactive,i tty,t user,u=s", 2),
    "network inspect": ("docker_resources", "format,f=s verbose,v", 1),
    "network connect": ("docker_resources", "alias=l ip=s", 2),
    "network disconnect": ("docker_resources", "force,f", 2),
    "network rm": ("docker_resources", "force,f", 1),
    "volume create": ("docker_resources", "driver,d=s label=l opt,o=l", 0),
    "volume ls": ("docker_resources", "filter,f=l format=s quiet,q", 0),
    "volume rm": ("docker_resources", "force,f", 1),
    "build": (
        "docker_resources",
        "tag,t=l file,f=s label=l target=s platform=s build-arg=l secret=l cache-from=l progress=s load",
        1,
    ),
    "push": ("docker_resources", "all-tags,a quiet,q", 1),
    "manifest inspect": ("docker_resources", "insecure verbose,v", 1),
    "pull": ("docker_resources", "all-tags,a platform=s quiet,q", 1),
    "tag": ("docker_resources", "", 2),
    "rmi": ("docker_resources", "force,f no-prune", 1),
    "image inspect": ("docker_resources", "format,f=s", 1),
}
"""Those that the tasks call: module, flags, least number of arguments."""
_FIRST_IS_LAST = ("run", "create", "exec")
"""Flags end at their first argument: what follows belongs to the container."""
_WAITS = ("build", "events", "logs", "pull", "push", "run")
"""They take a time of their own."""
_SYSTEM = "REHEARSAL (nothing here is real)"
_PLATFORMS = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_EARLIER = 1.0
"""Seconds before `docker events` begins whose starts it reports: where nothing takes time k3d may be faster."""
_LOOK = 0.02
"""Seconds between two looks; the time that passes in a rehearsal is real."""


def main(call: Call) -> None:
    """Raises `Exit`, `UsageError`."""
    head = parse(call.args, "context,c=s host,H=s debug,D version,v config=s", mixed=False)
    if head.on("version"):
        call.say(f"Docker version {VERSIONS['docker']}, build REHEARSAL")
        return
    words = 2 if " ".join(head.args[:2]) in _COMMANDS else 1
    name = " ".join(head.args[:words])
    if name not in _COMMANDS:
        raise Exit(1, f"docker: unknown command: docker {name}\n\nRun 'docker --help' for more information")
    module, known, least = _COMMANDS[name]
    given = parse(head.args[words:], known, mixed=name not in _FIRST_IS_LAST)
    if len(given.args) < least:
        raise Exit(1, f"docker: 'docker {name}' requires at least {least} argument{'s' if least > 1 else ''}")
    if name not in _WAITS:
        call.wait("docker")
    import_module(f"tasks.rehearsal.{module}").COMMANDS[name](call, given)


def daemon_error(text: str, code: int = 1) -> Exit:
    """An error that the engine reports."""
    return Exit(code, f"Error response from daemon: {text}")


def found(doc: Document, ref: str) -> Container:
    """A container by its name or id. Raises `Exit`."""
    container = containers.find(doc, ref)
    if container is None:
        raise daemon_error(f"No such container: {ref}")
    return container


def show(call: Call, given: Parsed, rows: Sequence[Mapping[str, Any]], missing: Sequence[str]) -> None:
    """What was found on stdout, what was not on stderr. Raises `Exit`."""
    template = given.get("format")
    if not template:
        call.say(json.dumps(rows, indent=4, ensure_ascii=False))
    elif template == "json":
        call.say(compact(list(rows)))
    else:
        for each in rows:
            call.say(render(template, each))
    if missing:
        raise Exit(1, "\n".join(f"Error response from daemon: {each}" for each in missing))


def matches(labels: Mapping[str, str], filters: Iterable[str]) -> bool:
    """Whether labels fit all filters of the form `KEY` or `KEY=VALUE`."""
    for text in filters:
        name, sign, value = text.partition("=")
        if not (labels.get(name) == value if sign else name in labels):
            return False
    return True


# -- the engine -------------------------------------------------------------------------------------------


def _info(call: Call, given: Parsed) -> None:
    """As Docker 28 describes itself; machine.json holds what is to differ from this machine."""
    doc, now, system = call.engine.read(), call.now(), os.uname()
    running = sum(1 for each in doc["containers"].values() if containers.running(each, now))
    facts: dict[str, Any] = {
        "ID": "REHEARSAL",
        "Containers": len(doc["containers"]),
        "ContainersRunning": running,
        "ContainersPaused": 0,
        "ContainersStopped": len(doc["containers"]) - running,
        "Images": len(doc["images"]),
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
        **dict.fromkeys(("MemoryLimit", "SwapLimit", "CpuCfsPeriod", "CpuCfsQuota", "CPUSet", "PidsLimit"), True),
        "CgroupDriver": "systemd",
        "CgroupVersion": "2",
        "KernelVersion": system.release,
        "OperatingSystem": _SYSTEM,
        "OSType": "linux",
        "Architecture": "aarch64" if system.machine == "arm64" else system.machine,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "DockerRootDir": "/var/lib/docker",
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": "rehearsal",
        "Labels": [],
        "SystemTime": stamp(now),
        "ServerVersion": VERSIONS["docker"],
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "Warnings": None,
        "ClientInfo": {
            "Version": VERSIONS["docker"],
            "Context": "default",
            "Plugins": [{"Name": "buildx"}],
            "Warnings": None,
        },
        **call.folder.read("machine.json", {}),
    }
    call.say(render(given.get("format") or "json", facts))


def _version(call: Call, given: Parsed) -> None:
    arch = _PLATFORMS.get(os.uname().machine, os.uname().machine)
    half = {"Version": VERSIONS["docker"], "ApiVersion": "1.50", "Os": "linux", "Arch": arch, "GitCommit": "REHEARSAL"}
    call.say(render(given.get("format") or "json", {"Client": half, "Server": half}))


# -- containers -------------------------------------------------------------------------------------------


def _ps(call: Call, given: Parsed) -> None:
    doc, now = call.engine.read(), call.now()
    filters = [part.partition("=")[::2] for part in given.all("filter")]
    labels = [value for key, value in filters if key == "label"]
    names = [value for key, value in filters if key == "name"]
    if len(labels) + len(names) < len(filters):
        raise daemon_error("REHEARSAL: containers are filtered by label and name only")
    rows = [
        each
        for each in doc["containers"].values()
        if (given.on("all") or containers.status(each, now)["Running"])
        and matches(each["labels"], labels)
        and (not names or any(name in f"/{each['name']}" for name in names))
    ]
    rows.sort(key=lambda each: -float(each["created"]))
    for each in rows:
        row = _row(each, now, whole=given.on("no-trunc"))
        template = given.get("format")
        if template:
            call.say(render(template, row))
        elif given.on("quiet"):
            call.say(row["ID"])
        else:
            call.say("   ".join(row[name] for name in ("ID", "Image", "Status", "Ports", "Names")))


def _row(container: Container, now: float, *, whole: bool) -> dict[str, str]:
    """One line of `docker ps`, as its formats name it."""
    state, life = containers.status(container, now), containers.life(container, now)
    since = f"{int(now - (life[1] or life[0] if life else now))} seconds"
    words = {"running": f"Up {since}", "created": "Created", "restarting": f"Restarting ({state['ExitCode']})"}
    published = containers.published(container) if state["Status"] == "running" else ()
    return {
        "ID": container["id"] if whole else container["id"][:12],
        "Image": container["image"],
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(container["labels"].items())),
        "Mounts": ",".join(bind.split(":")[0] for bind in container["binds"]),
        "Names": container["name"],
        "Networks": ",".join(sorted(container["networks"])),
        "Ports": ", ".join(sorted(f"{address or '0.0.0.0'}:{port}->{inside}" for inside, address, port in published)),  # noqa: S104 - as Docker writes it
        "RunningFor": f"{int(now - container['created'])} seconds ago",
        "State": state["Status"],
        "Status": words.get(state["Status"], f"Exited ({state['ExitCode']}) {since} ago"),
    }


def _inspect(call: Call, given: Parsed) -> None:
    doc, now = call.engine.read(), call.now()
    by_ref = {ref: containers.find(doc, ref) for ref in given.args}
    rows = [_inspected(doc, each, now) for each in by_ref.values() if each is not None]
    show(call, given, rows, [f"No such container: {ref}" for ref, each in by_ref.items() if each is None])


def _inspected(doc: Document, container: Container, now: float) -> dict[str, Any]:
    """What is read of `docker inspect`, in the form of Docker 28."""
    running = containers.running(container, now)
    networks = {
        name: {
            "NetworkID": doc["networks"].get(name, {}).get("id", ""),
            "EndpointID": each["endpoint"] if running else "",
            "Gateway": f"172.{doc['networks'].get(name, {}).get('net', 0)}.0.1",
            "IPAddress": each["ip"] if running else "",
            "IPPrefixLen": 16,
            "Aliases": None,
        }
        for name, each in container["networks"].items()
    }
    ports = {inside: bindings or None for inside, bindings in container["ports"].items()}
    return {
        "Id": container["id"],
        "Created": stamp(container["created"]),
        "State": containers.status(container, now),
        "Image": images.find(doc, container["image"]) or "",
        "Name": f"/{container['name']}",
        "RestartCount": containers.restarts(container, now),
        "Platform": "linux",
        "Mounts": [
            {"Type": "bind" if "/" in bind.split(":")[0] else "volume", "Name": bind.split(":")[0]}
            for bind in container["binds"]
        ]
        + [{"Type": "volume", "Name": volumes.data_volume(container), "Destination": DATA}],
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
            "Hostname": container["id"][:12],
            "Env": container["env"],
            "Cmd": container["cmd"] or None,
            "Image": container["image"],
            "Entrypoint": container["entrypoint"] or None,
            "ExposedPorts": {inside: {} for inside in container["ports"]},
            "Labels": container["labels"],
        },
        "NetworkSettings": {"Ports": ports if running else {}, "Networks": networks},
    }


# -- what happens -----------------------------------------------------------------------------------------


def _moment(text: str, default: float) -> float:
    """Of a Unix time."""
    return float(text) if text else default


def _passes(event: Mapping[str, Any], filters: Mapping[str, list[str]]) -> bool:
    wanted = filters.get("event")
    return (not wanted or event["Action"] in wanted) and matches(event["Actor"]["Attributes"], filters.get("label", ()))


def _events(call: Call, given: Parsed) -> None:
    filters: dict[str, list[str]] = {}
    for row in given.all("filter"):
        key, _, value = row.partition("=")
        filters.setdefault(key, []).append(value)
    began, until = _moment(given.get("since"), call.now()), _moment(given.get("until"), float("inf"))
    last = began if call.times.scale else began - _EARLIER
    fault = call.faults.strike("engine-restarts", "engine")
    breaks = call.now() + call.times.scale * float(fault.get("after") or 0.0) if fault is not None else float("inf")
    while True:
        now = min(call.now(), until)
        if now >= breaks and containers.labelled(call.engine.read(), role="server"):
            raise daemon_error("unexpected EOF")
        for event in containers.events(call.engine.read(), last, now):
            late = event["Action"] == "start" or event["timeNano"] > began * 1e9
            if late and _passes(event, filters):
                call.say(json.dumps(event))
        last = now
        if now >= until:
            return
        call.times.wait(_LOOK)


def _logs(call: Call, given: Parsed) -> None:
    ref = given.args[0]
    container = found(call.engine.read(), ref)
    since, last = _moment(given.get("since"), 0.0), call.now()
    first = [row for row in containers.lines(container, last) if row[0] >= since]
    tail = given.get("tail", "all")
    if tail.isdigit():
        first = first[-int(tail) :] if int(tail) else []
    _print(call, first)
    while given.on("follow"):
        current = containers.find(call.engine.read(), ref)
        if current is None:
            return
        now = call.now()
        _print(call, [row for row in containers.lines(current, now) if last < row[0] <= now and row[0] >= since])
        last = now
        if not containers.running(current, now) and not containers.restarting(current, now):
            return
        call.times.wait(_LOOK)


def _print(call: Call, rows: Iterable[Sequence[Any]]) -> None:
    for _, stream, text in rows:
        (call.say if stream == "stdout" else call.warn)(text)


COMMANDS = {
    "info": _info,
    "version": _version,
    "ps": _ps,
    "container inspect": _inspect,
    "events": _events,
    "logs": _logs,
}
