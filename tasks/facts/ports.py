"""Which ports of this machine are taken, by whom, and which to use instead."""

from __future__ import annotations

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

from tasks.core.errors import LaunchError

_PUBLISHED = re.compile(r"(?:^|:)(\d+)(?:-(\d+))?->\d+(?:-\d+)?/tcp$")
_LOW_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_PATIENCE = 0.3
"""Seconds for an answer; one from this machine takes far less than one."""
_TRIES = 64


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A container that publishes a port."""

    container: str
    labels: Mapping[str, str]


def docker_ports(out: str) -> frozenset[int]:
    """Host ports (TCP) in `docker ps` with one JSON a line."""
    return frozenset(holders(out))


def holders(out: str) -> dict[int, Holder]:
    """The container behind each of those ports."""
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
    """Whether something listens at this port already, as far as that shows from here.

    An ordinary user may not bind low ports although Docker may publish them, so a refusal for want of
    rights says nothing: what listens there is found by connecting, and in the kernel's own list.
    """
    if _answers(_reachable(address), port):
        return True
    refusal = _bind(address, port)
    if refusal in (errno.EACCES, errno.EPERM):
        return port in listening({port})
    return refusal == errno.EADDRINUSE


def listening(ports: Collection[int]) -> dict[int, str]:
    """Programs that listen at these ports; empty where the system does not report them (macOS: only to root)."""
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
    """The wish, else its fallback, else any port that is free. Raises `LaunchError` if there is none."""
    for port in itertools.chain((wish, fallback), _any()):
        if port is not None and not busy(port):
            return port
    raise LaunchError(
        f"there is no free port for {wish}",
        why=f"{wish}{f', {fallback}' if fallback else ''} and {_TRIES} others that the system offered are all taken",
        fix="see who holds them: `ss --listening --tcp --numeric --processes`",
    )


def low_port_start() -> int:
    """The first port that an ordinary user may bind, and with it a rootless engine (man 7 ip)."""
    try:
        return int(_LOW_PORTS.read_text())
    except (OSError, ValueError):
        return 1024


def bindable(address: str) -> bool:
    """Whether ports can be published at this address: it is one of this machine."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return _bind(address, 0) is None


def _any() -> Iterator[int]:
    """Ports that the kernel gives away, never the same twice."""
    seen: set[int] = set()
    for _ in range(_TRIES):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in seen:
            seen.add(port)
            yield port


def _reachable(address: str) -> str:
    """Where something that listens at every address can be reached."""
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
        # the kernel may have given this very port to our own end, and connected us to ourselves
        return bool(probe.getsockname()[:2] != probe.getpeername()[:2])


def _bind(address: str, port: int) -> int | None:
    """None if a server could listen there now, else the error's number."""
    try:
        with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that just ended do not count
            probe.bind((address, port))
            probe.listen(1)
    except OSError as error:
        return error.errno or errno.EINVAL
    return None
