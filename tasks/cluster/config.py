"""The generated k3d configuration, a v1alpha5 file, and what a cluster remembers of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tasks.cluster.arguments import arguments
from tasks.cluster.network import NONE, Network
from tasks.errors import BadInput
from tasks.settings.tree import Settings
from tasks.tools.docker import CONFIG_LABEL, OURS
from tasks.tools.program import duration

KUBELET_DROP_IN = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/50-openframe.conf"
"""Read by kubelets of k3s 1.32 and later (docs: k3s, kubelet configuration files)."""
_READABLE = 200
"""Characters of one value that a label repeats."""
EDAC = "/sys/devices/system/edac"
"""Where Linux tells of memory with error correction; to cAdvisor it wins over /proc/meminfo."""
_SERVERS, _NODES = ["server:*"], ["server:*", "agent:*"]


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Host ports that were chosen; None: not published."""

    http: int | None
    https: int | None
    api: int
    early: int | None = None
    """server-0's own API port beside the load balancer's: it answers before that has started."""

    @property
    def first_api(self) -> int:
        """The port at which the API answers first."""
        return self.early or self.api


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the machine and the settings make of a cluster."""

    image: str
    agents: int
    concurrency: int
    parallel_pulls: int | None = None
    """Image pulls at once in each node; None: as many as the kubelet likes."""
    registries: tuple[str, ...] = ()
    """Containers to connect to the cluster's network, as `name:port`."""
    registries_yaml: str = ""
    network: Network = NONE
    """Proxies and certificate authorities of caches and nodes."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files on this machine that the configuration names."""

    registries: str | None = None
    """The nodes' registries.yaml. As a file and not inline: k3d expands `$` in its own configuration only."""
    drop_in: str | None = None
    """The kubelet's drop-in, with several servers: k3d's inline files do not reach server-0 then."""
    meminfo: Mapping[str, str] = field(default_factory=dict)
    """By role a file that shows a node's memory as it will be limited. Without them k3d makes such files itself, by a
    container for each node, one after another."""
    seen: bool = True
    """The engine sees this machine's files: k3d, too, can mount its own into nodes."""
    edac: str | None = None
    """An empty folder, where the engine's machine tells of its memory in a second way."""


def balanced(settings: Settings) -> bool:
    """Whether k3d's load balancer stands before the servers."""
    wish = settings.cluster.loadbalancer
    return settings.cluster.servers > 1 if wish is None else wish


def kubelet_config(settings: Settings, shape: Shape) -> dict[str, Any] | None:
    """The kubelet's drop-in, or None where nothing is to be said.

    A limit on pulls is refused by the kubelet unless serial pulls are off (Kubernetes: kubelet's
    configuration, `maxParallelImagePulls`).
    """
    fields: dict[str, Any] = {}
    if shape.parallel_pulls is not None:
        fields["maxParallelImagePulls"] = shape.parallel_pulls
        if shape.parallel_pulls > 1:
            fields["serializeImagePulls"] = False
    fields.update(settings.cluster.kubelet_config)
    if not fields:
        return None
    return {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **fields}


def k3d_config(settings: Settings, shape: Shape, ports: Ports, files: Files) -> dict[str, Any]:
    """The cluster as k3d's config file describes it.

    `$` is doubled nowhere: k3d expands it in the whole file, so `render` refuses values that hold one.
    """
    cluster = settings.cluster
    limits = cluster.limits
    runtime: dict[str, Any] = {
        "labels": [
            {"label": f"{OURS}={cluster.name}", "nodeFilters": _NODES},
            {"label": f"{CONFIG_LABEL}={remembered(settings, shape)}", "nodeFilters": _NODES},
        ]
    }
    if limits.enabled and files.seen and not files.meminfo:
        runtime["serversMemory"] = docker_memory(limits.server_memory)
        runtime["agentsMemory"] = docker_memory(limits.agent_memory)
    config: dict[str, Any] = {
        "apiVersion": "k3d.io/v1alpha5",
        "kind": "Simple",
        "metadata": {"name": cluster.name},
        "servers": cluster.servers,
        "agents": shape.agents,
        "image": shape.image,
        "kubeAPI": {"hostIP": "127.0.0.1", "host": "127.0.0.1", "hostPort": str(ports.api)},
        "ports": _ports(settings, ports),
        "options": {
            "k3d": {
                "wait": True,
                "timeout": duration(cluster.timeout),
                "disableLoadbalancer": not balanced(settings),
                # k3d's rollback deletes the whole cluster, with whatever has gone into it meanwhile
                "disableRollback": True,
            },
            "kubeconfig": {"updateDefaultKubeconfig": False, "switchCurrentContext": False},
            "runtime": runtime,
            "k3s": {
                "extraArgs": [
                    {"arg": arg, "nodeFilters": _present(filters, shape)}
                    for arg, filters in arguments(cluster, shape.concurrency, ingress=settings.ingress.controller)
                ],
                "nodeLabels": _node_labels(settings, shape),
            },
        },
        "volumes": [*_meminfo(files, shape), *(_filtered(text, "volume") for text in cluster.volumes)],
        "env": [_filtered(text, "envVar") for text in cluster.env],
    }
    for label in runtime["labels"]:
        label["nodeFilters"] = _present(label["nodeFilters"], shape)
    if shape.registries:
        config["registries"] = {"use": list(shape.registries)}
    if files.registries is not None:
        config.setdefault("registries", {})["config"] = files.registries
    if cluster.subnet is not None:
        config["subnet"] = cluster.subnet
    _put_drop_in(config, settings, shape, files.drop_in)
    return {key: value for key, value in config.items() if value not in ([], {})}


def refuse_files(settings: Settings, shape: Shape) -> None:
    """Raises `BadInput` for what needs a file of this machine in the nodes, where the engine does not see any."""
    if settings.cluster.servers > 1 and kubelet_config(settings, shape) is not None:
        raise BadInput(
            "several servers cannot be given settings of their kubelets here",
            why="they go in as a file of this machine, and the engine, outside of this container, does not see it",
            fix="leave out cluster.kubelet_config and K3D_CONCURRENT_DOWNLOADS, or use one server, or mount the state "
            "folder into this container from the same path of the engine's machine",
        )


def _meminfo(files: Files, shape: Shape) -> list[dict[str, Any]]:
    """What kubelets take for the node's memory, as k3d does it (k3d: `pkg/util/infofaker.go`)."""
    rows = [
        {"volume": f"{path}:/proc/meminfo:ro", "nodeFilters": [f"{role}:*"]} for role, path in files.meminfo.items()
    ]
    if files.edac is not None:
        rows.append({"volume": f"{files.edac}:{EDAC}:ro", "nodeFilters": _NODES})
    shown = [{**row, "nodeFilters": _present(row["nodeFilters"], shape)} for row in rows]
    return [row for row in shown if row["nodeFilters"]]


def _present(filters: Sequence[str], shape: Shape) -> list[str]:
    """k3d refuses a filter for agents where there are none."""
    return [text for text in filters if shape.agents or not text.startswith("agent")]


def _put_drop_in(config: dict[str, Any], settings: Settings, shape: Shape, file: str | None) -> None:
    """An inline file, or a volume where a file is given."""
    drop_in = kubelet_config(settings, shape)
    if drop_in is None:
        return
    filters = _present(_NODES, shape)
    if file is None:
        text = json.dumps(drop_in) + "\n"  # k3d takes a source for text only if it holds a newline
        config["files"] = [{"source": text, "destination": KUBELET_DROP_IN, "nodeFilters": filters}]
    else:
        config["volumes"].append({"volume": f"{file}:{KUBELET_DROP_IN}:ro", "nodeFilters": filters})


def _ports(settings: Settings, ports: Ports) -> list[dict[str, Any]]:
    address = settings.cluster.bind_address
    target = "loadbalancer" if balanced(settings) else "server:0:direct"
    published = [
        {"port": f"{address}:{host}:{inside}", "nodeFilters": [target]}
        for host, inside in ((ports.http, 80), (ports.https, 443))
        if host is not None
    ]
    if ports.early is not None:
        published.append({"port": f"127.0.0.1:{ports.early}:6443", "nodeFilters": ["server:0:direct"]})
    return [*published, *(_filtered(text, "port") for text in settings.cluster.ports.extra)]


def _filtered(text: str, key: str) -> dict[str, Any]:
    r"""`what@filter;filter` as k3d's command line writes it; `\@` is an @ of the value (k3d: `cmd/util/filter.go`)."""
    value, _, filters = (part.replace("\0", "@") for part in text.replace(r"\@", "\0").partition("@"))
    entry: dict[str, Any] = {key: value}
    if filters:
        entry["nodeFilters"] = filters.split(";")
    return entry


def _node_labels(settings: Settings, shape: Shape) -> list[dict[str, Any]]:
    rows = [({"label": f"{k}={v}", "nodeFilters": _SERVERS}) for k, v in settings.cluster.server_labels.items()]
    if shape.agents:
        rows += [({"label": f"{k}={v}", "nodeFilters": ["agent:*"]}) for k, v in settings.cluster.agent_labels.items()]
    return rows


def docker_memory(text: str) -> str:
    """A size in whole MiB: one spelling for every wish of the same size, so that 2G and 2048M are no change."""
    from tasks.settings.values import memory_bytes

    return f"{memory_bytes(text) // 1024**2}m"


def immutable(settings: Settings, shape: Shape) -> dict[str, str]:
    """What k3d cannot change in a cluster that exists, by the setting's path."""
    cluster, limits = settings.cluster, settings.cluster.limits
    wishes = cluster.ports
    return {
        "cluster.image": shape.image,
        "cluster.servers": str(cluster.servers),
        "cluster.loadbalancer": str(balanced(settings)).lower(),
        "cluster.bind_address": cluster.bind_address,
        "cluster.ports.http": str(wishes.http or "none"),
        "cluster.ports.https": str(wishes.https or "none"),
        "cluster.ports.api": str(wishes.api),
        "cluster.ports.extra": _listed(wishes.extra),
        "cluster.limits.server_memory": docker_memory(limits.server_memory) if limits.enabled else "none",
        "cluster.limits.agent_memory": docker_memory(limits.agent_memory) if limits.enabled else "none",
        "cluster.volumes": _listed(cluster.volumes),
        "cluster.env": _digest(cluster.env),
        "cluster.subnet": cluster.subnet or "none",
        "cluster.server_labels": _listed([f"{key}={value}" for key, value in sorted(cluster.server_labels.items())]),
        "cluster.agent_labels": _listed([f"{key}={value}" for key, value in sorted(cluster.agent_labels.items())]),
        "cluster.args": _digest(sorted(_written(settings))),
        "cluster.kubelet_config": _digest(cluster.kubelet_config),
        "registries": " ".join(sorted(name.rsplit(":", 1)[0] for name in shape.registries)) or "none",
    }


def _written(settings: Settings) -> list[str]:
    """Arguments as configured: those that follow from the machine's size are no reason to make a cluster again."""
    args = settings.cluster.args
    return [f"{part}:{value}" for part in type(args).model_fields for value in getattr(args, part)] + [
        f"scheduler_v:{settings.cluster.scheduler_verbosity}",
        f"ingress:{settings.ingress.controller}",
    ]


def _listed(values: Sequence[str]) -> str:
    """As one reads it; what is too long for that, or for a label that `docker ps` prints, as a digest."""
    text = " ".join(values) or "none"
    return text if len(text) <= _READABLE else _digest(values)


def _digest(value: Sequence[str] | Mapping[str, Any]) -> str:
    """A value that may be long or private, as a short digest; `none` if there is nothing."""
    if not value:
        return "none"
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def remembered(settings: Settings, shape: Shape) -> str:
    """The immutable values as one label's value."""
    return urlencode(immutable(settings, shape))


def recall(label: str) -> dict[str, str]:
    """What `remembered` wrote."""
    return dict(parse_qsl(label))


def changed(settings: Settings, shape: Shape, label: str) -> list[str]:
    """Settings that differ from what the cluster was made with, each with both values."""
    was = recall(label)
    return [
        f"{path}: {was[path]} → {now}"
        for path, now in immutable(settings, shape).items()
        if path in was and was[path] != now
    ]


def render(config: Mapping[str, Any]) -> str:
    """The file's text: JSON, which is YAML. Raises `BadInput` for a `$`, which k3d would expand."""
    text = json.dumps(config, indent=1, ensure_ascii=False)
    if "$" in text:
        line = next(line.strip() for line in text.splitlines() if "$" in line)
        raise BadInput(
            f"the cluster's configuration holds a '$': {line[:120]}",
            why="k3d expands $NAME in its whole config file, so the cluster would get another value",
            fix="take the '$' out of that setting (cluster.args, cluster.env, cluster.volumes or a label)",
        )
    return text + "\n"
