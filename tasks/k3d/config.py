"""The generated k3d configuration, a v1alpha5 file."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.clients.docker import CONFIG_LABEL, OURS, OWNER
from tasks.clients.k3d import DOLLAR
from tasks.core.errors import BadInput
from tasks.core.units import memory_bytes
from tasks.facts.facts import AUTHORITIES, Ports, Shape
from tasks.facts.mounts import EDAC
from tasks.k3d.arguments import arguments
from tasks.k3d.recorded import remembered
from tasks.kube.addresses import DOCKER_NETWORKS
from tasks.process.command import duration
from tasks.settings import k3s_arguments as k3s
from tasks.settings.derived import COLLECTOR, KUBELET_DROP_IN, balanced, docker_memory, garbage_percent
from tasks.settings.node_filters import nodes, split
from tasks.settings.schema import Settings

_KEYS = {"volumes": "volume", "env": "envVar", "ports.extra": "port"}
"""k3d's key for a value, by the setting."""
_SHELL = re.compile(r"\$\{?[A-Za-z_]")
_SERVERS, _NODES = ["server:*"], ["server:*", "agent:*"]


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files on this machine that the configuration refers to."""

    registries: str | None = None
    """The nodes' registries.yaml. A file, not inline: k3d expands `$` only in its own configuration."""
    drop_in: str | None = None
    """The kubelet's drop-in, for several servers: k3d's inline files do not reach server-0 then."""
    authorities: str | None = None
    """Likewise the certificate authorities that nodes trust."""
    meminfo: Mapping[str, str] = field(default_factory=dict)
    """By role a file that shows a node's memory as its limit. Without them k3d creates such files itself, with a
    container for each node, one after another."""
    seen: bool = True
    """Whether the engine sees this machine's files: then k3d can mount its own into nodes, too."""
    edac: str | None = None
    """An empty folder to mask the engine's second source of memory figures."""


def kubelet_config(settings: Settings, shape: Shape) -> dict[str, Any] | None:
    """The kubelet's drop-in, or None if it would be empty.

    The kubelet rejects a limit on parallel pulls unless serial pulls are off (Kubernetes: kubelet's
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
    """The cluster as k3d's config file. Raises `BadInput` for values that k3d would reject."""
    cluster = settings.cluster
    limits = cluster.limits
    labels = {OURS: cluster.name, CONFIG_LABEL: remembered(settings, shape), OWNER: shape.owner}
    given = [f"{key}={value}" for key, value in labels.items() if value]
    runtime: dict[str, Any] = {"labels": [{"label": each, "nodeFilters": _present(_NODES, shape)} for each in given]}
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
        "ports": _ports(settings, shape, ports),
        "options": {
            "k3d": {
                "wait": True,
                "timeout": duration(cluster.timeout),
                "disableLoadbalancer": not balanced(settings),
                # k3d's rollback would delete the whole cluster, including any work in it
                "disableRollback": True,
            },
            "kubeconfig": {"updateDefaultKubeconfig": False, "switchCurrentContext": False},
            "runtime": runtime,
            "k3s": {
                "extraArgs": _arguments(settings, shape),
                "nodeLabels": _node_labels(settings, shape),
            },
        },
        "volumes": [*_meminfo(files, shape), *_on_nodes(settings, shape, "volumes", cluster.volumes, ())],
        "env": [
            *_proxies(settings, shape),
            *_collector(settings, shape),
            *_on_nodes(settings, shape, "env", cluster.env, _NODES),
        ],
    }
    if shape.registries:
        config["registries"] = {"use": list(shape.registries)}
    if files.registries is not None:
        config.setdefault("registries", {})["config"] = files.registries
    if cluster.subnet is not None:
        config["subnet"] = cluster.subnet
    _put_files(config, settings, shape, files)
    return {key: value for key, value in config.items() if value not in ([], {})}


def refuse_files(settings: Settings, shape: Shape) -> None:
    """Raises `BadInput` for settings that need a file of this machine in the nodes, if the engine does not see it."""
    needed = {
        "settings of their kubelets": kubelet_config(settings, shape) is not None,
        "certificate authorities": bool(shape.network.authorities),
    }
    if settings.cluster.servers > 1 and any(needed.values()):
        raise BadInput(
            f"several servers cannot get {' and '.join(name for name, given in needed.items() if given)} here",
            why="they are mounted as a file of this machine, which the engine, outside of this container, cannot see",
            fix="leave out cluster.kubelet_config, K3D_CONCURRENT_DOWNLOADS and network.ca, or use one server, or "
            "mount the state folder into this container from the same path of the engine's machine",
        )


def _arguments(settings: Settings, shape: Shape) -> list[dict[str, Any]]:
    rows = []
    for arg, filters in arguments(settings, shape):
        path = f"cluster.args: {arg.split('=', 1)[0]}"
        _refuse_variables(arg, path)
        if chosen_nodes(settings, shape, filters, path):
            rows.append({"arg": arg, "nodeFilters": _present(filters, shape)})
    return rows


def _meminfo(files: Files, shape: Shape) -> list[dict[str, Any]]:
    """What kubelets read as the node's memory, as k3d does it (k3d: `pkg/util/infofaker.go`)."""
    rows = [
        {"volume": f"{path}:/proc/meminfo:ro", "nodeFilters": [f"{role}:*"]} for role, path in files.meminfo.items()
    ]
    if files.edac is not None:
        rows.append({"volume": f"{files.edac}:{EDAC}:ro", "nodeFilters": _NODES})
    shown = [{**row, "nodeFilters": _present(row["nodeFilters"], shape)} for row in rows]
    return [row for row in shown if row["nodeFilters"]]


def _present(filters: Sequence[str], shape: Shape) -> list[str]:
    """k3d rejects a filter for agents if there are none."""
    return [text for text in filters if shape.agents or not text.startswith("agent")]


def _put_files(config: dict[str, Any], settings: Settings, shape: Shape, files: Files) -> None:
    """Files of nodes: inline, or as a volume if a file is given. k3d treats a source with a newline as text."""
    drop_in, filters = kubelet_config(settings, shape), _present(_NODES, shape)
    for text, place, file in (
        (json.dumps(drop_in) + "\n" if drop_in is not None else "", KUBELET_DROP_IN, files.drop_in),
        (shape.network.authorities, AUTHORITIES, files.authorities),
    ):
        if text and file is None:
            config.setdefault("files", []).append({"source": text, "destination": place, "nodeFilters": filters})
        elif text:
            config["volumes"].append({"volume": f"{file}:{place}:ro", "nodeFilters": filters})


def _proxies(settings: Settings, shape: Shape) -> list[dict[str, Any]]:
    """Proxy variables of the nodes, except those that cluster.env sets: k3s and its containerd read them.

    NO_PROXY includes k3s's own networks: agents reach servers in them, and the API server its webhooks.
    """
    own = _given(settings)
    given = shape.network.environment(_reached_directly(settings, shape.agents, shape.registries, shape.subnets))
    filters = _present(_NODES, shape)
    return [{"envVar": f"{name}={value}", "nodeFilters": filters} for name, value in given.items() if name not in own]


def _given(settings: Settings) -> set[str]:
    """Names of the variables that cluster.env sets, on any node."""
    return {split(text).value.partition("=")[0] for text in settings.cluster.env}


def _collector(settings: Settings, shape: Shape) -> list[dict[str, Any]]:
    """The memory limit of the garbage collector of k3s, unless cluster.env sets it."""
    limits = settings.cluster.limits
    rows = []
    for role, limit in (("server:*", limits.server_memory), ("agent:*", limits.agent_memory)):
        percent = garbage_percent(memory_bytes(limit) if limits.enabled else None)
        if percent is not None and COLLECTOR not in _given(settings):
            rows.append({"envVar": f"{COLLECTOR}={percent}", "nodeFilters": _present([role], shape)})
    return [row for row in rows if row["nodeFilters"]]


def _ports(settings: Settings, shape: Shape, ports: Ports) -> list[dict[str, Any]]:
    address = settings.cluster.bind_address
    target = "loadbalancer" if balanced(settings) else "server:0:direct"
    published = [
        {"port": f"{address}:{host}:{inside}", "nodeFilters": [target]}
        for host, inside in ((ports.http, 80), (ports.https, 443))
        if host is not None
    ]
    if ports.early is not None:
        published.append({"port": f"127.0.0.1:{ports.early}:6443", "nodeFilters": ["server:0:direct"]})
    return [
        *published,
        *_on_nodes(settings, shape, "ports.extra", settings.cluster.ports.extra, [target], suffixes=True),
    ]


def _on_nodes(
    settings: Settings, shape: Shape, name: str, texts: Sequence[str], usual: Sequence[str], suffixes: bool = False
) -> list[dict[str, Any]]:
    """Entries of a setting for nodes: k3d's key is the last part of `name`. Raises `BadInput` without the value."""
    rows = []
    for number, text in enumerate(texts):
        value, filters = split(text)
        path = f"cluster.{name}.{number}"
        if name == "volumes":
            _refuse_variables(value, path)
        chosen = chosen_nodes(settings, shape, filters or usual, path)
        if suffixes:
            _refuse_proxied(settings, filters, path, chosen)
        if chosen or not filters:
            rows.append(
                {_KEYS[name]: value, **({"nodeFilters": kept} if (kept := _present(filters or usual, shape)) else {})}
            )
    return rows


def chosen_nodes(settings: Settings, shape: Shape, filters: Sequence[str], path: str) -> set[tuple[str, int]]:
    """The nodes of this cluster that match filters, by role and number. Raises `BadInput`."""
    counts = {"server": settings.cluster.servers, "agent": shape.agents, "loadbalancer": int(balanced(settings))}
    try:
        return nodes(filters, counts)
    except ValueError as error:
        raise BadInput(
            f"{path}: {error}",
            why="k3d would reject it after everything has been pulled",
            fix="name existing nodes: cluster.servers and cluster.agents count them",
        ) from None


def _refuse_variables(text: str, path: str) -> None:
    """`$HOME:/data` is meant for a shell: nothing would expand the variable."""
    if _SHELL.search(text):
        raise BadInput(
            f"{path} contains a '$'",
            why="no shell expands it: the node would get the name of the variable instead of its value",
            fix="write the value itself",
        )


def _refuse_proxied(settings: Settings, filters: Sequence[str], path: str, chosen: set[tuple[str, int]]) -> None:
    """Ports go through the load balancer, or to one node directly (k3d: `client.TransformPorts`)."""
    direct = [text.endswith(":direct") for text in filters]
    if filters and not all(direct) and not balanced(settings):
        raise BadInput(
            f"{path} goes through the load balancer, and the cluster has none",
            why="without `:direct` after the nodes a port belongs to the load balancer",
            fix="write @server:0:direct, or set cluster.loadbalancer to true",
        )
    if all(direct) and len(chosen) > 1:
        raise BadInput(
            f"{path} goes to {len(chosen)} nodes directly",
            why="a host port leads to only one node",
            fix="name one node",
        )


def _node_labels(settings: Settings, shape: Shape) -> list[dict[str, Any]]:
    rows = [({"label": f"{k}={v}", "nodeFilters": _SERVERS}) for k, v in settings.cluster.server_labels.items()]
    if shape.agents:
        rows += [({"label": f"{k}={v}", "nodeFilters": ["agent:*"]}) for k, v in settings.cluster.agent_labels.items()]
    return rows


def render(config: Mapping[str, Any]) -> str:
    """The file's text: JSON, which is valid YAML. Each `$` becomes a variable that `k3d.environment` sets to `$`."""
    text = json.dumps(config, indent=1, ensure_ascii=False)
    return text.replace("$", f"${{{DOLLAR}}}") + "\n"


def _reached_directly(
    settings: Settings, agents: int, registries: Sequence[str], subnets: Sequence[str] = ()
) -> tuple[str, ...]:
    """What nodes reach without a proxy: addresses of pods, Services and nodes, and names of nodes and registries."""
    cluster = settings.cluster
    engine = (cluster.subnet,) if cluster.subnet not in (None, "auto") else subnets or DOCKER_NETWORKS
    names = [f"k3d-{cluster.name}-server-{number}" for number in range(cluster.servers)]
    names += [f"k3d-{cluster.name}-agent-{number}" for number in range(agents)]
    return (
        *k3s.pod_ranges(cluster),
        *k3s.service_ranges(cluster),
        *(str(each) for each in engine),
        ".svc",
        f".{k3s.domain(cluster)}",
        *names,
        f"k3d-{cluster.name}-serverlb",
        *(each.rpartition(":")[0] or each for each in registries),
        "host.k3d.internal",
    )
