"""The Docker engine that `docker` will use, whether it is outside of the container that this runs in, and advice
if it cannot be used.

The order is docker's own (docker/cli: `cli/command/cli.go`, `resolveContextName`): DOCKER_HOST, then
DOCKER_CONTEXT, then the context that `docker context use` wrote.

A process in a container may use an engine outside of it, through a mounted socket: nodes cannot mount its files then,
and ports that the engine publishes on its loopback may not be reachable for the process. `tasks.facts.engine` queries
the engine about this only if there are signs of it: a launch on a host costs a few system calls.
"""

import contextlib
import ipaddress
import json
import os
import re
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from tasks.core.errors import NoEngine
from tasks.core.files import sha256

SOCKET = "unix:///var/run/docker.sock"
_SETTINGS = ("DOCKER_API_VERSION", "DOCKER_TLS_VERIFY", "DOCKER_TLS", "DOCKER_CERT_PATH")
_NETWORK = frozenset({"tcp", "http", "https", "ssh"})


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An engine's address and its source."""

    host: str = SOCKET
    """Empty for a context whose address cannot be read."""
    context: str = "default"
    source: str = ""
    """DOCKER_HOST, DOCKER_CONTEXT, `docker context use`, or nothing."""

    @property
    def remote(self) -> bool:
        """Whether the engine is on another machine, according to its address."""
        text = self.host if "://" in self.host or self.host.startswith("/") else f"tcp://{self.host}"
        parts = urlsplit(text)
        return bool(self.host) and parts.scheme in _NETWORK and not on_loopback(parts.hostname or "")

    @property
    def identity(self) -> str:
        """Identifies an engine: a socket by its resolved path, since `docker` may use a link."""
        path = self.host.removeprefix("unix://")
        return f"unix://{os.path.realpath(path)}" if path != self.host else self.host or f"context {self.context}"

    @property
    def left(self) -> str:
        """The command that makes `docker` use the system's own engine; empty if it does so already."""
        if self.source.startswith("DOCKER_"):
            return f"`unset {self.source}`"
        return "`docker context use default`" if self.source else ""

    @property
    def default(self) -> bool:
        """Whether it is the system's own engine, not one that the user has chosen."""
        return self.host == SOCKET


def endpoint(environ: Mapping[str, str]) -> Endpoint:
    """The endpoint of `docker` in this environment."""
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
    """Whether a registry, by its host and port, is on this machine."""
    return registry is not None and on_loopback(host_and_port(registry)[0])


def host_and_port(registry: str) -> tuple[str, str]:
    """Of `host`, `host:port`, or `[IPv6]:port`; the port may be empty."""
    match = re.fullmatch(r"(?P<host>.+?)(?::(?P<port>[0-9]+))?", registry)
    return (match["host"].strip("[]"), match["port"] or "") if match else ("", "")


def on_loopback(name: str) -> bool:
    """Whether a host name means this machine: localhost, a name below it (RFC 6761), or a loopback address."""
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _text(path: Path, *keys: str) -> str:
    """A string in a JSON file; empty if it does not exist."""
    try:
        value = json.loads(path.read_text())
        for key in keys:
            value = value[key]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return value if isinstance(value, str) else ""


_SIGNS = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Files that Docker and Podman create in every container."""
_VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")
"""Set in pods, and by systemd's and Podman's containers."""
_STAND_INS = "OPENFRAME_REHEARSAL"
"""Set if `docker` is that of a rehearsal: it has no engine (`tasks.rehearsal.folder`)."""
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
    """Whether this is a container and the engine is not in it, as far as visible without a query."""
    if environ.get(_STAND_INS):
        return False
    peer = _listener(point)
    if peer == 0:  # the listener is in another PID namespace
        return True
    return contained(environ) and not (peer is not None and _beside_us(peer))


def _listener(point: Endpoint) -> int | None:
    """Process that listens on the engine's socket: 0 if it is in another PID namespace; None: unknown."""
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
    """Whether a process shares our file system and our network."""
    try:
        return all(
            Path(f"/proc/{pid}/ns/{name}").readlink() == Path(f"/proc/self/ns/{name}").readlink()
            for name in _NAMESPACES
        )
    except OSError:
        return False


_CHECK = "`docker info` shows whether it worked"
_WITHOUT = "to see a launch without an engine: `make rehearse` (nothing real is created)"
_STARTS = {
    "colima": "`colima start`",
    "orbstack": "`orb start`",
    "rancher-desktop": "start Rancher Desktop",
    "desktop-linux": "start Docker Desktop: `systemctl --user start docker-desktop`",
    "rootless": "`systemctl --user start docker`",
}
"""How to start the engine behind a context of that name."""


class EngineStopped(NoEngine):
    """The engine is installed, as far as visible, but does not run."""


def engine_missing(system: str, *, podman: bool) -> NoEngine:
    """There is no docker program."""
    fix = {
        "linux": (
            "install Docker Engine from your distribution (https://docs.docker.com/engine/install/):",
            "  Debian, Ubuntu: `sudo apt-get install docker.io`; Fedora: `sudo dnf install moby-engine`",
            'then `sudo systemctl enable --now docker` and `sudo usermod -aG docker "$USER"`, and log in again',
        ),
        "darwin": (
            "Colima: `brew install colima docker`, then `colima start --cpu 4 --memory 8`;",
            "or Docker Desktop: https://docs.docker.com/desktop/setup/install/mac-install/",
        ),
        "wsl": (
            "Docker Desktop on Windows: Settings, Resources, WSL integration: switch it on for this distribution;",
            "or Docker Engine inside WSL2, as on Linux: https://docs.docker.com/engine/install/",
        ),
    }[system]
    why = "k3d creates its nodes as Docker containers"
    if podman:
        why += "; Podman is installed, but not supported"
    return _refusal("Docker is missing: there is no program 'docker' on the PATH", why, fix)


def engine_stopped(system: str, point: Endpoint, message: str) -> NoEngine:
    """Nothing listens at the engine's address."""
    fix: Sequence[str]
    if point.context in _STARTS and not (system == "darwin" and point.context == "desktop-linux"):
        fix = (_STARTS[point.context],)
    elif point.source == "DOCKER_HOST" or (system == "linux" and point.left):
        fix = (f"start the engine at {point.host};", f"or use this machine's own: {point.left}")
        if point.host.startswith("/"):
            fix = (f"`export DOCKER_HOST=unix://{point.host}`: a path without a scheme is read as a host name",)
    else:
        fix = {
            "linux": (
                "`sudo systemctl start docker` (and `sudo systemctl enable docker` for every boot);",
                "without systemd: `sudo service docker start`; rootless: `systemctl --user start docker`",
                "if it does not stay: `journalctl --unit docker --lines 50`",
            ),
            "darwin": ("Docker Desktop: `open -a Docker`; Colima: `colima start`; OrbStack: `orb start`",),
            "wsl": (
                "start Docker Desktop on Windows (Settings, Resources, WSL integration: on for this distribution);",
                "or, where Docker is installed inside WSL2: `sudo service docker start`",
            ),
        }[system]
    return _refusal("the Docker engine does not run", _reported(message, point), fix, EngineStopped)


def engine_denied(point: Endpoint, message: str) -> NoEngine:
    """The user has no permission for the socket."""
    return _refusal(
        "you may not use the Docker engine",
        _reported(message, point),
        (
            '`sudo usermod -aG docker "$USER"`, then log out and in again (in this shell at once: `newgrp docker`);',
            "members of that group have root privileges: to avoid that, use a rootless engine",
            "(https://docs.docker.com/engine/security/rootless/)",
        ),
    )


def engine_remote(point: Endpoint) -> NoEngine:
    """The engine is on another machine."""
    shell = f"`ssh {point.host.removeprefix('ssh://')}`" if point.host.startswith("ssh://") else "a shell there"
    return _refusal(
        f"the Docker engine is on another machine: {point.host}",
        f"set by {point.source}; ports would be published on that machine's loopback, unreachable from here",
        (
            f"use this machine's engine: {point.left};",
            f"or run this project on that machine ({shell});",
            "or, for an existing cluster there: `invoke up --engine existing --context NAME`",
        ),
    )


def engine_outside(point: Endpoint) -> NoEngine:
    """A container with the socket of an engine outside of it, and with a network of its own."""
    return _refusal(
        "this is a container, and its Docker engine is outside of it",
        f"{point.host or point.context} is a mounted socket: clusters are published on the loopback of the engine's "
        "machine, unreachable from this container",
        (
            "give this container that machine's network: `docker run --network host …`; in a dev container",
            '`"runArgs": ["--network=host"]`; in GitLab\'s runner `network_mode = "host"`; on GitHub',
            "`container: {options: --network host}`;",
            "or run this project outside of the container, or with an engine of its own in it",
        ),
        check="`invoke doctor` shows whether it worked",
    )


def engine_podman(point: Endpoint) -> NoEngine:
    """Podman answers instead of Docker."""
    where = f" at {point.host}" if point.host and not point.default else ""
    return _refusal(
        f"'docker'{where} is Podman",
        "Podman is not supported: registries, networks and restarts of nodes behave differently there",
        (
            "install Docker Engine beside it: https://docs.docker.com/engine/install/"
            + (f"; and switch docker back to it: {point.left}" if point.left else ""),
            "if the package podman-docker replaces docker, remove it first",
        ),
    )


def engine_windows_containers() -> NoEngine:
    """The engine runs Windows containers."""
    return _refusal(
        "this Docker engine runs Windows containers",
        "k3s nodes are Linux containers",
        ("Docker Desktop: in the menu of its tray icon choose 'Switch to Linux containers'",),
    )


def engine_silent(point: Endpoint, seconds: float) -> NoEngine:
    """It accepts the query and never answers."""
    return _refusal(
        "the Docker engine does not answer",
        f"`docker info` ({point.host or point.context}) did not finish within {seconds:g} s",
        ("restart it: `sudo systemctl restart docker`, or Docker Desktop, or `colima restart`",),
    )


def engine_failed(
    point: Endpoint,
    message: str,
    environ: Mapping[str, str] = MappingProxyType({}),
    advice: str = "run `docker info` by hand",
) -> NoEngine:
    """Any other error of docker. `environ`: variables of docker that may cause it; `advice`: for others."""
    from tasks.diagnose.rules import catalogue, clean, recognise  # where something failed

    known = recognise(catalogue(), clean(message), where="docker")
    given = [name for name in _SETTINGS if environ.get(name)]
    fix = [
        known.fix if known else "",
        f"{point.left} switches back to this machine's own engine; `docker context ls` shows others"
        if point.left
        else "",
        f"`unset {' '.join(given)}`, unless it is intended" if given else "",
    ]
    why = known.reason if known else _reported(message, point) or "`docker info` reported nothing"
    return _refusal("the Docker engine cannot be used", why, [*filter(None, fix)] or [advice])


def _reported(message: str, point: Endpoint) -> str:
    """Docker's own message, and the source of the address."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    words = lines[-1] if lines else ""
    return f"{words} ({point.source} points there)" if point.source else words


def _refusal(
    what: str, why: str, fix: Sequence[str], kind: type[NoEngine] = NoEngine, *, check: str = _CHECK
) -> NoEngine:
    return kind(what, why=why, fix="\n".join((*fix, check, _WITHOUT)))
