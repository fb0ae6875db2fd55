"""What `docker info --format '{{json .}}'` printed, less what nobody reads."""

from typing import Any

from tasks.facts.engine import Here

HERE = Here(system="linux", kernel="6.18.44-fc-v657", name="vm", user=1000)
"""The machine on which LINUX was recorded."""

LINUX: dict[str, Any] = {
    "ID": "L46G:XL7J:XE6S:PDVK:WBJR:7VWH:4LAK:BSSY:QIAN:5IUW:JNCT:NOZF",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
    "MemoryLimit": True,
    "CpuCfsPeriod": True,
    "CpuCfsQuota": True,
    "CPUSet": True,
    "PidsLimit": True,
    "IPv4Forwarding": True,
    "CgroupDriver": "cgroupfs",
    "CgroupVersion": "1",
    "KernelVersion": "6.18.44-fc-v657",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "OSType": "linux",
    "Architecture": "x86_64",
    "IndexServerAddress": "https://index.docker.io/v1/",
    "NCPU": 2,
    "MemTotal": 25276510208,
    "DockerRootDir": "/var/lib/docker",
    "HttpProxy": "",
    "HttpsProxy": "",
    "Name": "vm",
    "ServerVersion": "20.10.24+dfsg1",
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Warnings": None,
    "ClientInfo": {"Context": "default", "Warnings": None},
}
DOWN: dict[str, Any] = {
    "ID": "",
    "Driver": "",
    "DriverStatus": None,
    "MemoryLimit": False,
    "IPv4Forwarding": False,
    "IndexServerAddress": "",
    "NCPU": 0,
    "MemTotal": 0,
    "DockerRootDir": "",
    "ServerVersion": "",
    "OSType": "",
    "SecurityOptions": None,
    "ClientInfo": {"Version": "28.2.2", "Context": "default"},
}
"""docker 28.2.2 without an engine: the same fields, all empty; the reason is on stderr."""
DESKTOP: dict[str, Any] = {
    **LINUX,
    "CgroupVersion": "2",
    "KernelVersion": "6.10.11-linuxkit",
    "OperatingSystem": "Docker Desktop",
    "Architecture": "aarch64",
    "NCPU": 11,
    "MemTotal": 8221728768,
    "HttpProxy": "http.docker.internal:3128",
    "HttpsProxy": "http.docker.internal:3128",
    "Name": "docker-desktop",
    "ServerVersion": "27.3.1",
    "SecurityOptions": ["name=seccomp,profile=unconfined", "name=cgroupns"],
    "ClientInfo": {"Context": "desktop-linux"},
}
COLIMA: dict[str, Any] = {**DESKTOP, "OperatingSystem": "Ubuntu 24.04.1 LTS", "Name": "colima", "NCPU": 2}
ORBSTACK: dict[str, Any] = {**DESKTOP, "OperatingSystem": "OrbStack", "Name": "orbstack"}
RANCHER: dict[str, Any] = {**DESKTOP, "OperatingSystem": "Alpine Linux v3.20", "Name": "lima-rancher-desktop"}
ROOTLESS: dict[str, Any] = {
    **LINUX,
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "CPUSet": False,
    "DockerRootDir": "/home/me/.local/share/docker",
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"],
    "Warnings": ["WARNING: No cpuset support"],
}
PODMAN_SOCKET: dict[str, Any] = {
    **LINUX,
    "IndexServerAddress": "",
    "ProductLicense": "Apache-2.0",
    "DockerRootDir": "/var/lib/containers/storage",
    "Driver": "overlay",
    "OperatingSystem": "fedora",
    "ServerVersion": "5.2.5",
    "InitBinary": "",
}
PODMAN_PROGRAM: dict[str, Any] = {
    "host": {"arch": "amd64", "cpus": 8, "cgroupVersion": "v2"},
    "store": {"graphRoot": "/home/me/.local/share/containers/storage"},
    "registries": {},
    "plugins": {},
    "version": {"APIVersion": "5.2.5", "Version": "5.2.5"},
}
"""The package podman-docker puts podman in docker's place; `podman info` has a shape of its own."""
