"""k3d's config file (v1alpha5): read as k3d reads it, and what it says of each node's container."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tasks.rehearsal.flags import size
from tasks.rehearsal.folder import VERSIONS
from tasks.rehearsal.program import Exit
from tasks.settings import node_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Bindings = dict[str, list[dict[str, str]]]

_ROWS = {
    "volumes": "volume",
    "ports": "port",
    "env": "envVar",
    "options.k3s.extraArgs": "arg",
    "options.k3s.nodeLabels": "label",
    "options.runtime.labels": "label",
}
"""Lists whose items hold for some nodes, and the field with the value."""
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|(\w+))")
_DEFAULT_IMAGE = "docker.io/rancher/k3s:v1.35.5-k3s1"


def fatal(text: str, seconds: float = 0.0) -> Exit:
    """The end of k3d, with its last line (logrus)."""
    return Exit(1, f"FATA[{int(seconds):04d}] {text}")


def load(path: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """A config file, in which variables are expanded as k3d does it. Raises `Exit`."""
    from tasks.core import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise fatal(f"Failed to stat config file {path}: stat {path}: no such file or directory") from None
    found = yaml.load(_VARIABLE.sub(lambda match: environ.get(match[1] or match[2], ""), text))
    if not isinstance(found, dict) or found.get("apiVersion") != "k3d.io/v1alpha5":
        raise fatal(f"Schema Validation failed for config file {path}: it is no v1alpha5 config")
    return found


class Config:
    """A config file's answers."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.name = str(self.at("metadata.name") or "k3s-default")
        self.image = str(self.at("image") or _DEFAULT_IMAGE)
        self.balanced = not self.at("options.k3d.disableLoadbalancer")
        servers, agents = int(self.at("servers") or 1), int(self.at("agents") or 0)
        self.servers = [f"server-{number}" for number in range(servers)]
        self.nodes = [*self.servers, *(f"agent-{number}" for number in range(agents))]
        """Without the cluster's name."""

    @property
    def all_nodes(self) -> list[str]:
        """With the load balancer."""
        return [*self.nodes, "serverlb"] if self.balanced else self.nodes

    def at(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        """A part by its path; None if there is none."""
        part: Any = self.document
        for name in path.split("."):
            part = part.get(name) if isinstance(part, dict) else None
        return part

    def of(self, path: str, node: str) -> list[str]:
        """Values of a list that hold for a node. Raises `Exit` for a filter that no node fits."""
        return [value for value, filters in self._rows(path) if node in self._chosen(filters, f"{path} '{value}'")]

    def _rows(self, path: str) -> list[tuple[str, list[str]]]:
        return [(str(each[_ROWS[path]]), list(each.get("nodeFilters") or ())) for each in self.at(path) or ()]

    def _chosen(self, filters: Sequence[str], what: str) -> list[str]:
        """The nodes that filters mean. Raises `Exit`."""
        if not filters:
            if len(self.nodes) > 1:
                raise fatal(f"{what} lacks a node filter, but there's more than one node")
            return self.nodes
        counts = {"server": len(self.servers), "agent": len(self.nodes) - len(self.servers)}
        found: set[str] = set()
        for text in filters:
            own = {"loadbalancer": int(self.balanced)} if text.startswith("loadbalancer") else counts
            try:
                chosen = node_filters.nodes((text,), own)
            except ValueError as error:
                raise fatal(f"failed to filter nodes for {what}: {error}") from None
            if not chosen:
                raise fatal(
                    f"failed to filter nodes for {what}: '{text}' targets a node that does not exist (disabled?)"
                )
            found |= {"serverlb" if role == "loadbalancer" else f"{role}-{number}" for role, number in chosen}
        return [node for node in self.all_nodes if node in found]

    def container(self, node: str, image: str) -> dict[str, Any]:
        """What the container of a node is made with. Raises `Exit`."""
        role = "loadbalancer" if node == "serverlb" else node.partition("-")[0]
        labels = {
            "app": "k3d",
            "k3d.cluster": self.name,
            "k3d.cluster.imageVolume": f"k3d-{self.name}-images",
            "k3d.cluster.url": f"https://k3d-{self.name}-server-0:6443",
            "k3d.role": role,
            "k3d.version": VERSIONS["k3d"],
            **dict(value.partition("=")[::2] for value in self.of("options.runtime.labels", node)),
        }
        memory = self.at(f"options.runtime.{role}sMemory")
        files = {
            str(each["destination"]): {"text": str(each["source"])}
            for each in self.at("files") or ()
            if node in self._chosen(each.get("nodeFilters") or (), "a file")
        }
        return {
            "image": image,
            "labels": labels,
            "env": self._env(node),
            "cmd": self._command(node, role),
            "entrypoint": ["/bin/k3d-entrypoint.sh"],
            "ports": self._ports(node),
            "binds": [f"k3d-{self.name}-images:/k3d/images", *self.of("volumes", node)],
            "networks": [f"k3d-{self.name}"],
            "restart": "unless-stopped",
            "memory": size(memory) if memory else 0,
            "files": files,
        }

    def _env(self, node: str) -> list[str]:
        if node == "serverlb":
            return []
        url = [f"K3S_URL=https://k3d-{self.name}-server-0:6443"] if node != "server-0" else []
        return [*self.of("env", node), "K3S_TOKEN=rehearsal", *url, "K3S_KUBECONFIG_OUTPUT=/output/kubeconfig.yaml"]

    def _command(self, node: str, role: str) -> list[str]:
        if node == "serverlb":
            return []
        labels = [word for value in self.of("options.k3s.nodeLabels", node) for word in ("--node-label", value)]
        first = ["--cluster-init"] if node == "server-0" and len(self.servers) > 1 else []
        tls = ["--tls-san", "0.0.0.0"] if role == "server" else []  # noqa: S104 - as k3d gives it
        return [role, *self.of("options.k3s.extraArgs", node), *labels, *first, *tls]

    def _ports(self, node: str) -> Bindings:
        found: Bindings = {}
        if node == ("serverlb" if self.balanced else "server-0"):
            port = str(self.at("kubeAPI.hostPort") or 0)
            port = port if port not in ("", "0") else str(20000 + int.from_bytes(os.urandom(2), "big") % 20000)
            address = str(self.at("kubeAPI.hostIP") or "0.0.0.0")  # noqa: S104 - k3d's own
            found["6443/tcp"] = [{"HostIp": address, "HostPort": port}]
        for value, filters in self._rows("ports"):
            direct = any(text.endswith(":direct") for text in filters)
            bare = [text.removesuffix(":direct") for text in filters]
            bare = bare or ["loadbalancer" if self.balanced else "server:0"]
            through = self.balanced and not direct and bare != ["loadbalancer"]
            if node in (["serverlb"] if through else self._chosen(bare, f"port '{value}'")):
                *address_of, host, inside = value.split(":")
                key = inside if "/" in inside else f"{inside}/tcp"
                found.setdefault(key, []).append({"HostIp": "".join(address_of), "HostPort": host})
        return found
