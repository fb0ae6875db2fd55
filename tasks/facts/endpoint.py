"""Which Docker engine the `docker` program will use, and whether it is outside of the container that this runs in.

The order is docker's own (docker/cli: `cli/command/cli.go`, `resolveContextName`): DOCKER_HOST, then
DOCKER_CONTEXT, then the context that `docker context use` wrote.

A process in a container may use an engine outside of it, as with a mounted socket: nodes cannot mount its files then,
and ports that the engine publishes on its loopback may not be on that of the process. `tasks.facts.engine` queries the
engine about this only where there are signs of it: a launch on a host costs a few system calls.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tasks.core.digest import sha256

SOCKET = "unix:///var/run/docker.sock"
_NETWORK = frozenset({"tcp", "http", "https", "ssh"})


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An engine's address and where it was configured."""

    host: str = SOCKET
    """Empty if a context is named whose address cannot be read."""
    context: str = "default"
    source: str = ""
    """DOCKER_HOST, DOCKER_CONTEXT, `docker context use`, or nothing."""

    @property
    def remote(self) -> bool:
        """Whether the engine is on another machine, as its address says it."""
        text = self.host if "://" in self.host or self.host.startswith("/") else f"tcp://{self.host}"
        parts = urlsplit(text)
        return bool(self.host) and parts.scheme in _NETWORK and not on_loopback(parts.hostname or "")

    @property
    def identity(self) -> str:
        """What tells one engine from another: a socket by where links lead to, as `docker` may be led by them."""
        path = self.host.removeprefix("unix://")
        return f"unix://{os.path.realpath(path)}" if path != self.host else self.host or f"context {self.context}"

    @property
    def default(self) -> bool:
        """Whether it is the system's own engine, not one that the user has chosen."""
        return self.host == SOCKET


def endpoint(environ: Mapping[str, str]) -> Endpoint:
    """Where `docker` would go in this environment."""
    host = environ.get("DOCKER_HOST", "")
    if host:
        return Endpoint(host=host, source="DOCKER_HOST")
    folder = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or "/") / ".docker")
    name, source = environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
    if not name:
        name, source = _text(folder / "config.json", "currentContext"), "`docker context use`"
    if name in ("", "default"):
        return Endpoint()
    meta = folder / "contexts" / "meta" / sha256(name) / "meta.json"
    return Endpoint(host=_text(meta, "Endpoints", "docker", "Host"), context=name, source=source)


def on_this_machine(registry: str | None) -> bool:
    """Whether a registry, by its host and port, is one of this machine."""
    return registry is not None and on_loopback(host_and_port(registry)[0])


def host_and_port(registry: str) -> tuple[str, str]:
    """Of `host`, `host:port`, or `[IPv6]:port`; the port may be empty."""
    match = re.fullmatch(r"(?P<host>.+?)(?::(?P<port>[0-9]+))?", registry)
    return (match["host"].strip("[]"), match["port"] or "") if match else ("", "")


def on_loopback(name: str) -> bool:
    """Whether a host is this machine by its name: localhost, a name below it (RFC 6761), or an address of loopback."""
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _text(path: Path, *keys: str) -> str:
    """A text in a JSON file; empty if it is not there."""
    try:
        value = json.loads(path.read_text())
        for key in keys:
            value = value[key]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return value if isinstance(value, str) else ""


_SIGNS = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Files that Docker and Podman put into every container."""
_VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")
"""Set in pods, and by systemd's and Podman's containers."""
_STAND_INS = "OPENFRAME_REHEARSAL"
"""Set where `docker` is a stand-in: it has no engine (`tasks.rehearsal.folder`)."""
_CGROUP = re.compile(r"/(?:docker|lxc)(?:/|-[0-9a-f]{12})|/kubepods|/libpod|/crio-|/cri-containerd-")
_NAMESPACES = ("mnt", "net")


def contained(environ: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Whether there are signs that this process runs in a container."""
    if any((root / sign.relative_to("/")).exists() for sign in _SIGNS) or any(environ.get(key) for key in _VARIABLES):
        return True
    with contextlib.suppress(OSError):
        return _CGROUP.search((root / "proc/self/cgroup").read_text()) is not None
    return False


def outside(environ: Mapping[str, str], point: Endpoint) -> bool:
    """Whether this is a container, and the engine is not in it, as far as that shows without asking it."""
    if environ.get(_STAND_INS):
        return False
    peer = _listener(point)
    if peer == 0:  # it listens in another PID namespace
        return True
    return contained(environ) and not (peer is not None and _beside_us(peer))


def _listener(point: Endpoint) -> int | None:
    """Process that listens at the engine's socket: 0 where it is in another PID namespace; None: it does not show."""
    parts = urlsplit(point.host)
    option = getattr(socket, "SO_PEERCRED", None)
    if parts.scheme != "unix" or option is None:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
            opened.settimeout(1.0)
            opened.connect(parts.path)
            pid, _user, _group = struct.unpack("3i", opened.getsockopt(socket.SOL_SOCKET, option, 12))
    except OSError:
        return None
    return int(pid)


def _beside_us(pid: int) -> bool:
    """Whether a process has our file system and our network."""
    try:
        return all(
            Path(f"/proc/{pid}/ns/{name}").readlink() == Path(f"/proc/self/ns/{name}").readlink()
            for name in _NAMESPACES
        )
    except OSError:
        return False
