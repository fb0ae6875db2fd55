"""Which Docker engine the `docker` program will ask, found without starting it.

The order is docker's own (docker/cli: `cli/command/cli.go`, `resolveContextName`): DOCKER_HOST, then
DOCKER_CONTEXT, then the context that `docker context use` wrote.
"""

from __future__ import annotations

import ipaddress
import json
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
