"""Which ports of this machine are in use, by what, and alternatives."""

import contextlib
import errno
import ipaddress
import itertools
import json
import re
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.clients import docker
from tasks.core.errors import LaunchError
from tasks.process.programs import Programs

_PUBLISHED = re.compile(r"(?:^|:)(\d+)(?:-(\d+))?->\d+(?:-\d+)?/tcp$")
_LOW_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_PATIENCE = 0.3
"""Seconds for a response; one from this machine takes far less than one."""
_TRIES = 64


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A container that publishes a port."""

    container: str
    labels: Mapping[str, str]


def published_ports(programs: Programs) -> frozenset[int]:
    """Host ports that the engine's containers publish."""
    return docker_ports(programs.run(docker.published()).out)


def docker_ports(out: str) -> frozenset[int]:
    """Host ports (TCP) in `docker ps` with one JSON object per line."""
    return frozenset(holders(out))


def holders(out: str) -> dict[int, Holder]:
    """The container for each of those ports."""
    found: dict[int, Holder] = {}
    for line in out.splitlines():
        if not line.strip():
            continue
        row = json.loads(line)
        holder = Holder(container=str(row.get("Names", "")), labels=_labels(str(row.get("Labels") or "")))
        for text in str(row.get("Ports") or "").split(", "):
            match = _PUBLISHED.search(text)
            if match is not None:
                first, last = int(match[1]), int(match[2] or match[1])
                found.update(dict.fromkeys(range(first, last + 1), holder))
    return found


def _labels(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def taken(address: str, port: int) -> bool:
    """Whether something already listens on this port, as far as visible from here.

    An ordinary user may not bind low ports although Docker may publish them, so a permission error says nothing:
    listeners there are found by connecting, and in the kernel's own list.
    """
    reached = _reachable(address)
    if _answers(reached, port) or (reached == "127.0.0.1" and _answers("::1", port)):  # `localhost` is ::1 first
        return True
    refusal = _bind(address, port)
    if refusal in (errno.EACCES, errno.EPERM):
        return port in listening({port})
    return refusal == errno.EADDRINUSE


def listening(ports: Collection[int]) -> dict[int, str]:
    """Programs that listen on these ports; empty if the system does not report them (macOS: only to root)."""
    import psutil

    found: dict[int, str] = {}
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return found
    for each in connections:
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port in ports:
            found.setdefault(each.laddr.port, "a program of another user")
            if each.pid is not None:
                with contextlib.suppress(psutil.Error):
                    found[each.laddr.port] = f"{psutil.Process(each.pid).name()} (process {each.pid})"
    return found


def choose(wish: int, fallback: int | None, busy: Callable[[int], bool]) -> int:
    """The preferred port, else its fallback, else any free port. Raises `LaunchError` if there is none."""
    for port in itertools.chain((wish, fallback), _any()):
        if port is not None and not busy(port):
            return port
    raise LaunchError(
        f"there is no free port for {wish}",
        why=f"{wish}{f', {fallback}' if fallback else ''} and {_TRIES} others offered by the system are all in use",
        fix="see which programs use them: `ss --listening --tcp --numeric --processes`",
    )


def low_port_start() -> int:
    """The first port that an ordinary user, and so a rootless engine, may bind (man 7 ip)."""
    try:
        return int(_LOW_PORTS.read_text())
    except (OSError, ValueError):
        return 1024


def bindable(address: str) -> bool:
    """Whether ports can be published at this address: it belongs to this machine."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return _bind(address, 0) is None


def _any() -> Iterator[int]:
    """Ports assigned by the kernel, without repeats."""
    seen: set[int] = set()
    for _ in range(_TRIES):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in seen:
            seen.add(port)
            yield port


def _reachable(address: str) -> str:
    """The address for reaching a listener on all addresses."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared, not bound


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _answers(address: str, port: int) -> bool:
    with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE)
        try:
            probe.connect((address, port))
        except OSError:
            return False
        # the kernel may have assigned this very port to our own end, and connected us to ourselves
        return bool(probe.getsockname()[:2] != probe.getpeername()[:2])


def _bind(address: str, port: int) -> int | None:
    """None if a server could listen there now, else the errno."""
    try:
        with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # recently closed connections do not count
            probe.bind((address, port))
            probe.listen(1)
    except OSError as error:
        return error.errno or errno.EINVAL
    return None
