"""The Docker engine: its properties, where it runs, and its share of the machine."""

import contextlib
import ipaddress
import json
import os
import platform
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.core.errors import LaunchError
from tasks.core.files import unfinished
from tasks.core.imageref import linux_platform
from tasks.core.paths import state_folder
from tasks.core.redact import without_logins
from tasks.facts import endpoint
from tasks.facts.machine import Limits, bounded_cpus, bounded_memory, limits, own_limits, system
from tasks.process.command import Command, CommandFailed, DeadlinePassed
from tasks.process.programs import Programs

ASK = Command(argv=("docker", "info", "--format", "{{json .}}"), deadline=20.0, ok=(0, 1))
"""One query for everything. Without an answer of the engine docker prints an empty result, with code 0 or 1."""
_MACHINES = re.compile(r"^(docker-desktop|colima|lima-|orbstack|rancher-desktop)")
_SYSTEMS = re.compile(r"^(Docker Desktop|OrbStack|Rancher Desktop)")
_STOPPED = re.compile(
    r"cannot connect to the docker daemon|failed to connect to the docker api|is the docker daemon running"
    r"|connection refused|connect: no such file",
    re.IGNORECASE,
)
_NEEDED = {"MemoryLimit": "memory", "CpuCfsQuota": "cpu", "CPUSet": "cpuset", "PidsLimit": "pids"}
_UNSEEN = "bind source path does not exist"
_GATEWAY = Command(
    argv=("docker", "network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"), deadline=20.0, ok=(0, 1)
)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that answers."""

    cpus: int
    """Whole CPUs that its containers may use together."""
    memory_bytes: int
    """Bytes, likewise."""
    arch: str
    os: str
    """Name of the operating system that it runs on."""
    version: str
    ncpu: int
    """CPUs as the engine counts them, without quotas: it rejects a higher limit of a container."""
    cgroup_version: int
    """1 or 2; 0: unknown."""
    rootless: bool
    desktop: bool
    """It runs in its own virtual machine (Docker Desktop, Colima, ...): this machine's /proc does not apply to it."""
    here: bool
    """It runs on this machine: same kernel, same host name."""
    name: str
    root_dir: str
    driver: str
    """Storage driver."""
    backing: str
    """File system below it; empty if unknown."""
    missing_controllers: tuple[str, ...] = ()
    """Those of memory, cpu, cpuset and pids that it cannot limit."""
    forwarding: bool = True
    """Whether IPv4 packets are forwarded."""
    proxy: str = ""
    """Proxy for its own pulls, without a login; empty if it has none."""
    subnets: tuple[str, ...] = ()
    """Configured address pools for its networks; empty: Docker's defaults."""
    warnings: tuple[str, ...] = ()
    buildx: bool = False
    """Whether docker has this plugin, and it works."""
    client: str = ""
    """Version of docker itself; unknown before 23."""
    files: bool = True
    """Whether it sees this machine's files, so that they can be mounted into nodes."""
    host: str = ""
    """Its address."""
    context: str = ""
    """docker's own context for it."""
    time: str = ""
    """Its clock when it was queried, RFC 3339; empty if unknown."""

    @property
    def platform(self) -> str:
        """Its own platform in image notation: `linux/amd64`; empty if unknown."""
        return linux_platform(self.arch)


@dataclass(frozen=True, kw_only=True)
class Here:
    """Identifies this machine, and how an engine is started on it."""

    system: str
    kernel: str
    name: str
    user: int


@dataclass(frozen=True, kw_only=True)
class Enclosure:
    """What the engine shares with this process."""

    files: bool = True
    """It sees this process's files: they can be mounted into nodes."""
    loopback: bool = True
    """Ports that it publishes on loopback are on the loopback of this process."""


def engine(programs: Programs) -> Engine:
    """Query the engine. Raises `NoEngine`, with advice."""
    here = Here(system=system(), kernel=platform.release(), name=socket.gethostname(), user=os.getuid())
    if programs.where("docker") is None:
        raise endpoint.engine_missing(here.system, podman=programs.where("podman") is not None)
    point = endpoint.endpoint(programs.env)
    if point.remote:
        raise endpoint.engine_remote(point)
    try:
        done = programs.run(ASK, quiet=True)
    except DeadlinePassed:
        raise endpoint.engine_silent(point, ASK.deadline) from None
    except CommandFailed as error:
        raise endpoint.engine_failed(point, error.done.err, programs.env) from None
    except LaunchError as error:  # docker could not be started
        raise endpoint.engine_failed(point, f"{error.what}: {error.why}", advice=error.fix) from None
    info = _parsed(done.out)
    _refuse(info, point, here, done.err, programs.env)
    shared = Enclosure()
    if not is_machine(info, here):  # which shares files and ports with this one itself
        shared = enclosure(programs, point, rootless=_rootless(info))
    if not shared.loopback:
        raise endpoint.engine_outside(point)
    return read(info, point, here, files=shared.files)


def read(info: Mapping[str, Any], point: endpoint.Endpoint, here: Here, *, files: bool = True) -> Engine:
    """The properties reported by an engine, bounded by cgroups if it is on this machine."""
    machine = is_machine(info, here)
    same = str(info.get("KernelVersion", "")) == here.kernel and info.get("Name") == here.name
    local = same and files and not machine
    bound = _limits(info, here) if local else Limits()
    ncpu, memory = int(info.get("NCPU") or 1), int(info.get("MemTotal") or 0)
    client = info.get("ClientInfo") or {}
    return Engine(
        cpus=bounded_cpus(ncpu, bound),
        memory_bytes=bounded_memory(memory, bound),
        arch=str(info.get("Architecture", "")),
        os=str(info.get("OperatingSystem", "")),
        version=str(info.get("ServerVersion", "")),
        ncpu=ncpu,
        cgroup_version=int(info["CgroupVersion"]) if str(info.get("CgroupVersion", "")).isdigit() else 0,
        rootless=_rootless(info),
        desktop=machine,
        here=local,
        files=files,
        name=str(info.get("Name", "")),
        root_dir=str(info.get("DockerRootDir", "")),
        driver=str(info.get("Driver", "")),
        backing=next((str(row[1]) for row in info.get("DriverStatus") or () if row[0] == "Backing Filesystem"), ""),
        missing_controllers=tuple(name for key, name in _NEEDED.items() if info.get(key) is False),
        forwarding=info.get("IPv4Forwarding") is not False,
        subnets=tuple(str(each.get("Base")) for each in info.get("DefaultAddressPools") or () if each.get("Base")),
        proxy=without_logins(str(info.get("HttpsProxy") or info.get("HttpProxy") or "")),
        warnings=tuple(str(text) for text in info.get("Warnings") or ()),
        host=point.host,
        time=_utc(str(info.get("SystemTime", ""))),
        context=str(client.get("Context") or point.context),
        buildx=any(each.get("Name") == "buildx" and not each.get("Err") for each in client.get("Plugins") or ()),
        client=str(client.get("Version") or ""),
    )


def is_machine(info: Mapping[str, Any], here: Here) -> bool:
    """Whether the engine runs in its own virtual machine; on macOS always."""
    name, os_name = str(info.get("Name", "")), str(info.get("OperatingSystem", ""))
    return here.system == "darwin" or bool(_SYSTEMS.match(os_name)) or bool(_MACHINES.match(name))


def is_podman(info: Mapping[str, Any], point: endpoint.Endpoint) -> bool:
    """Whether Podman answers: as the program (its own output format), or behind its socket.

    There it reports its own storage, no index server and its licence (podman: `pkg/api/handlers/compat/info.go`).
    """
    if {"host", "store"} <= info.keys() or "podman" in point.host.rsplit("/", 1)[-1]:
        return True
    storage = str(info.get("DockerRootDir", "")).endswith("/containers/storage")
    return storage or (info.get("IndexServerAddress") == "" and info.get("ProductLicense") == "Apache-2.0")


def _refuse(
    info: Mapping[str, Any], point: endpoint.Endpoint, here: Here, err: str, environ: Mapping[str, str]
) -> None:
    """Raises `NoEngine` for an unusable engine."""
    message = "\n".join([*(str(text) for text in info.get("ServerErrors") or ()), err])
    if is_podman(info, point) or "emulate docker cli using podman" in message.lower():
        raise endpoint.engine_podman(point)
    if not info.get("ServerVersion"):
        if "permission denied" in message.lower():
            raise endpoint.engine_denied(point, message)
        if _STOPPED.search(message):
            raise endpoint.engine_stopped(here.system, point, message)
        raise endpoint.engine_failed(point, message, environ)
    if info.get("OSType") == "windows":
        raise endpoint.engine_windows_containers()


def _parsed(out: str) -> dict[str, Any]:
    try:
        info = json.loads(out)
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}


def _utc(time: str) -> str:
    """Converts from the engine's own time zone."""
    try:
        return datetime.fromisoformat(time).astimezone(UTC).isoformat()
    except ValueError:
        return ""


def _rootless(info: Mapping[str, Any]) -> bool:
    return any("name=rootless" in str(option).split(",") for option in info.get("SecurityOptions") or ())


def _limits(info: Mapping[str, Any], here: Here) -> Limits:
    """Limits of the cgroup for containers, not of this process: those of a login do not apply.

    If dockerd runs in a container itself, the visible root is that container's cgroup.
    """
    if _rootless(info):
        parent = f"/user.slice/user-{here.user}.slice/user@{here.user}.service/user.slice"
    else:
        parent = "/system.slice" if info.get("CgroupDriver") == "systemd" else "/docker"
    if info.get("CgroupDriver") == "none":
        return own_limits()
    return limits({"": parent, "cpu": parent, "memory": parent})


def enclosure(programs: Programs, point: endpoint.Endpoint, *, rootless: bool) -> Enclosure:
    """What is shared; queries the engine, by two commands, only if it is outside. Never raises: default all."""
    if not endpoint.outside(programs.env, point):
        return Enclosure()
    files = _sees_files(programs)
    # a rootless engine has a network of its own, and forwards published ports to that of its user
    return Enclosure(files=files, loopback=(rootless and files) or _shares_loopback(programs))


def _sees_files(programs: Programs) -> bool:
    """By creating a container of a nonexistent image with a mounted file: the file is checked first."""
    folder = state_folder(programs.env)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, file = unfinished(folder / "seen")
    except OSError:
        return True  # an unusable state folder is reported elsewhere
    os.close(handle)
    try:
        message = programs.run(_probe(file), quiet=True).err
    except LaunchError:
        return True
    finally:
        with contextlib.suppress(OSError):
            file.unlink()
    return _UNSEEN not in message


def _probe(file: Path) -> Command:
    source = str(file).replace('"', '""')
    mount = f'type=bind,"source={source}",target=/openframe-seen,readonly'
    argv = ("docker", "create", "--pull", "never", "--mount", mount, "openframe.invalid/none:none")
    return Command(argv=argv, deadline=20.0, ok=(0, 1, 125))


def _shares_loopback(programs: Programs) -> bool:
    """Whether the address of the engine's own bridge belongs to this process's network."""
    try:
        found = json.loads(programs.run(_GATEWAY, quiet=True).out or "null")
        # Docker 20.10 reports none if it was not configured: it is the first address then
        gateway = str(found[0].get("Gateway") or ipaddress.ip_network(found[0]["Subnet"])[1])
    except (LaunchError, ValueError, LookupError, TypeError, AttributeError):
        return True  # an engine without that bridge
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        try:
            opened.bind((gateway, 0))
        except OSError:
            return False
    return True
