"""`docker info` and `docker version`: an engine on this machine that says what it is."""

from __future__ import annotations

import os

from tasks.rehearsal import containers
from tasks.rehearsal.docker import Command
from tasks.rehearsal.formatting import render, text
from tasks.rehearsal.place import VERSIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given

SYSTEM = "REHEARSAL (nothing here is real)"
_PLATFORMS = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def information(call: Call) -> dict[str, Any]:
    """What the engine tells of itself, as Docker 28 does; a machine.json says it otherwise."""
    doc, now, system = call.engine.read(), call.now(), os.uname()
    runs = sum(1 for each in doc["containers"].values() if containers.running(each, now))
    arch = "aarch64" if system.machine == "arm64" else system.machine
    told: dict[str, Any] = {
        "ID": "REHEARSAL",
        "Containers": len(doc["containers"]),
        "ContainersRunning": runs,
        "ContainersPaused": 0,
        "ContainersStopped": len(doc["containers"]) - runs,
        "Images": len(doc["images"]),
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
        "MemoryLimit": True,
        "SwapLimit": True,
        "CpuCfsPeriod": True,
        "CpuCfsQuota": True,
        "CPUShares": True,
        "CPUSet": True,
        "PidsLimit": True,
        "IPv4Forwarding": True,
        "Debug": False,
        "LoggingDriver": "json-file",
        "CgroupDriver": "systemd",
        "CgroupVersion": "2",
        "KernelVersion": system.release,
        "OperatingSystem": SYSTEM,
        "OSType": "linux",
        "Architecture": arch,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "DockerRootDir": "/var/lib/docker",
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": "rehearsal",
        "Labels": [],
        "ServerVersion": VERSIONS["docker"],
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "Warnings": None,
        "ClientInfo": {"Version": VERSIONS["docker"], "Context": "default", "Plugins": [], "Warnings": None},
    }
    return {**told, **call.place.read("machine.json", {})}


def _info(call: Call, given: Given) -> None:
    told, template = information(call), given.get("format")
    if template in ("json", "{{json .}}"):
        call.say(text(told))
    elif template:
        call.say(render(template, told, "system.dockerInfo"))
    else:
        for name, value in told.items():
            call.say(f" {name}: {value}")


def _version(call: Call, given: Given) -> None:
    arch = _PLATFORMS.get(os.uname().machine, os.uname().machine)
    half = {"Version": VERSIONS["docker"], "ApiVersion": "1.50", "Os": "linux", "Arch": arch, "GitCommit": "REHEARSAL"}
    told = {"Client": half, "Server": half}
    template = given.get("format")
    if template in ("json", "{{json .}}"):
        call.say(text(told))
    elif template:
        call.say(render(template, told, "system.versionInfo"))
    else:
        for side in told:
            call.say(f"{side}:\n Version:           {half['Version']}\n OS/Arch:           linux/{arch}")


COMMANDS = {
    "info": Command("info [OPTIONS]", "format,f=s", _info, most=0),
    "version": Command("version [OPTIONS]", "format,f=s", _version, most=0),
}
