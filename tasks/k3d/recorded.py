"""What a cluster was created with: recorded in a label of its nodes, and compared with the current settings.

A label is short and contains nothing private: long or private values are digests there. Differences are then
described from the nodes themselves, whose command, environment and mounts the engine shows.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tasks.core.errors import Drifted
from tasks.core.files import sha256
from tasks.facts.cluster import ClusterState, Node
from tasks.facts.facts import AUTHORITIES, NETWORK_SETTINGS, PROXY_VARIABLES, Facts, Shape
from tasks.facts.mounts import EDAC, data_is_mounted
from tasks.k3d.arguments import CONTROLLERS, arguments
from tasks.settings.derived import COLLECTOR, DATA, IDENTITY, KUBELET_DROP_IN, balanced, docker_memory
from tasks.settings.k3s_arguments import COMPONENTS, arguments_of, parsed
from tasks.settings.node_filters import nodes as chosen
from tasks.settings.node_filters import split
from tasks.settings.origin import concealed
from tasks.settings.schema import Settings
from tasks.settings.valid import host_ports

_OURS = (*PROXY_VARIABLES, COLLECTOR)
"""Variables that this project itself sets on nodes."""
_READABLE = 200
"""Characters of one value that a label repeats: `docker ps` prints it in one line."""
_DIGEST = re.compile(r"[0-9a-f]{12}")
_AFTER_OURS = "K3S_TOKEN="
"""The first variable that k3d appends to the given ones; those of the image come last (measured)."""
_OF_THE_MACHINE = frozenset({*CONTROLLERS, "concurrent-service-syncs"})
"""Arguments whose generated values depend on the machine's size."""
_OWN_PORTS = (80, 443, 6443)
"""Ports of a node or the load balancer that are published by other settings."""
_OWN_MOUNTS = frozenset({"/k3d/images", "/proc/meminfo", EDAC, KUBELET_DROP_IN, AUTHORITIES, DATA, IDENTITY})
"""Mount points in a node that k3d, or this project itself, uses."""
_GROW = "(a new snapshot of it can be restored with more agents)"
Items = dict[str, str]


def immutable(settings: Settings, shape: Shape) -> dict[str, str]:
    """Settings that k3d cannot change in an existing cluster, by path."""
    cluster, limits = settings.cluster, settings.cluster.limits
    desired, kubelet = cluster.ports, sorted(cluster.kubelet_config.items())
    return {
        "cluster.image": shape.image,
        "cluster.servers": str(cluster.servers),
        "cluster.loadbalancer": str(balanced(settings)).lower(),
        "cluster.bind_address": cluster.bind_address,
        "cluster.ports.http": str(desired.http or "none"),
        "cluster.ports.https": str(desired.https or "none"),
        "cluster.ports.api": str(desired.api),
        "cluster.ports.extra": _listed(desired.extra),
        "cluster.limits.server_memory": docker_memory(limits.server_memory) if limits.enabled else "none",
        "cluster.limits.agent_memory": docker_memory(limits.agent_memory) if limits.enabled else "none",
        "cluster.volumes": _listed(cluster.volumes),
        "cluster.env": _digest([split(text).text for text in cluster.env]),
        "cluster.subnet": cluster.subnet or "none",
        "cluster.server_labels": _listed([f"{key}={value}" for key, value in sorted(cluster.server_labels.items())]),
        "cluster.agent_labels": _listed([f"{key}={value}" for key, value in sorted(cluster.agent_labels.items())]),
        "cluster.args": _digest(sorted(_written(settings, as_written=False))),
        "cluster.kubelet_config": _listed([f"{key}={json.dumps(value)}" for key, value in kubelet]),
        **{path: _listed(text.split()) for path, text in shape.network.described.items()},
        "registries": " ".join(sorted(name.rsplit(":", 1)[0] for name in shape.registries)) or "none",
    }


def _formerly(settings: Settings) -> dict[str, str]:
    """Values as recorded by earlier versions: as written, without names of the kubelet's fields."""
    cluster = settings.cluster
    return {
        "cluster.env": _digest(cluster.env),
        "cluster.args": _digest(sorted(_written(settings, as_written=True))),
        "cluster.kubelet_config": _digest(cluster.kubelet_config),
    }


def _written(settings: Settings, *, as_written: bool) -> Iterator[str]:
    """Arguments as configured: those that depend on the machine's size are no reason to recreate a cluster."""
    args = settings.cluster.args
    for part in type(args).model_fields:
        texts = getattr(args, part)
        same = (f"{each.text}{'@' if each.filters else ''}{';'.join(each.filters)}" for each in parsed(part, texts))
        yield from (f"{part}:{text}" for text in (texts if as_written else same))
    yield f"scheduler_v:{settings.cluster.scheduler_verbosity}"
    yield f"ingress:{settings.ingress.controller}"


def _listed(values: Sequence[str]) -> str:
    """Readable values; a digest if they are too long for that."""
    text = " ".join(values) or "none"
    return text if len(text) <= _READABLE else _digest(values)


def _digest(value: Sequence[str] | Mapping[str, Any]) -> str:
    """A value that may be long or private, as a short digest; `none` if it is empty."""
    if not value:
        return "none"
    return sha256(json.dumps(value, sort_keys=True), 12)


def remembered(settings: Settings, shape: Shape) -> str:
    """The immutable values as one label's value."""
    return urlencode(immutable(settings, shape))


def recall(label: str) -> dict[str, str]:
    """The inverse of `remembered`."""
    return dict(parse_qsl(label))


def changed(settings: Settings, shape: Shape, label: str, nodes: Sequence[Node] = ()) -> list[str]:
    """Differences to what the cluster was created with, each with its old and its new value; nothing private."""
    was, formerly = recall(label), _formerly(settings)
    found: list[str] = []
    for path, now in {**dict.fromkeys(NETWORK_SETTINGS, "none"), **immutable(settings, shape)}.items():
        before = was.get(path, "none" if path in NETWORK_SETTINGS else now)
        if before in (now, formerly.get(path)):
            continue
        if _DIGEST.fullmatch(before) or _DIGEST.fullmatch(now):
            found += _details(settings, shape, path, nodes) or [f"{path}: not what the cluster was created with"]
        else:
            found.append(f"{path}: {before} → {now}")
    return found


def lost(cluster: ClusterState) -> list[str]:
    """Servers of its creation whose containers have been removed since, by name."""
    there = [node.name for node in cluster.of("server")]
    created = int(recall(cluster.label).get("cluster.servers", "0"))
    names = (f"k3d-{cluster.name}-server-{number}" for number in range(created))
    return [name for name in names if name not in there] if len(there) < created else []


def lost_servers(facts: Facts) -> Drifted | None:
    """The error for a cluster that has lost servers: k3d cannot add one that has the data of the others."""
    if not (gone := lost(facts.cluster)):
        return None
    return Drifted(
        f"the cluster '{facts.name}' has lost {', '.join(gone)}",
        why="; ".join(differences(facts)) + "; k3d cannot add a server in place",
        fix="save what you need, if the API answers; invoke up --recreate recreates the cluster (its data is lost)",
    )


def differences(facts: Facts) -> list[str]:
    """`lost` and `changed` for the cluster in the facts."""
    cluster = facts.cluster
    found = [f"the server {name}: its container was removed" for name in lost(cluster)]
    have, wanted = len(cluster.of("agent")), facts.shape.agents
    if wanted > have and data_is_mounted(cluster):
        found.append(f"cluster.agents: {have} → {wanted}, but its data is in volumes, as after `up --snapshot` {_GROW}")
    return [*found, *changed(facts.settings, facts.shape, cluster.label, cluster.nodes)]


def _details(settings: Settings, shape: Shape, path: str, nodes: Sequence[Node]) -> list[str]:
    """The single values that differ: those of the nodes, and those of a new cluster."""
    if path == "cluster.ports.extra":
        return _ports(settings, nodes)
    main = [node for node in nodes if node.role in ("server", "agent")]
    found: dict[str, list[str]] = {}
    for node in main:
        had, wanted = _had(path, node), _wanted(settings, shape, path, node)
        for name in sorted(had.keys() | wanted.keys()):
            values = had.get(name), wanted.get(name)
            if values[0] == values[1] or (path == "cluster.env" and name in _OURS and name not in wanted):
                continue
            private = path in ("cluster.args", "cluster.env")
            word = name.rpartition(" ")[2]
            shown = ["none" if each is None else concealed(word, each) if private else each for each in values]
            text = f"{path}: {name}: {' → '.join(shown)}"
            text += " (what differs is not shown)" if shown[0] == shown[1] else ""
            found.setdefault(text, []).append(node.name)
    return [text if len(names) == len(main) else f"{text} on {', '.join(names)}" for text, names in found.items()]


def _ports(settings: Settings, nodes: Sequence[Node]) -> list[str]:
    """Ports of this machine that are published and should not be, and vice versa."""
    had = {host for node in nodes for inside, _, host in node.published if inside not in _OWN_PORTS}
    wanted = {port for text in settings.cluster.ports.extra for port in host_ports(text)}
    if not had:  # unknown
        return []
    return [
        f"cluster.ports.extra: {port}: {'published → none' if port in had else 'none → published'}"
        for port in sorted(had ^ wanted)
    ]


def _had(path: str, node: Node) -> Items:
    """What a node was created with, by name."""
    if path == "cluster.args":
        return _arguments(word for word, _ in _words(node) if word)
    if path == "cluster.env":
        own = itertools.takewhile(lambda text: not text.startswith(_AFTER_OURS), node.env)
        return {name: value for name, _, value in (text.partition("=") for text in own)}
    if path == "cluster.volumes":
        return {name: what for name, what in map(_mount, node.binds) if name not in _OWN_MOUNTS}
    if path == f"cluster.{node.role}_labels":
        return dict(text.split("=", 1) for _, text in _words(node) if "=" in text)
    return {}


def _wanted(settings: Settings, shape: Shape, path: str, node: Node) -> Items:
    """What it would be created with now. A generated value that the node does not have is no change of a setting."""
    cluster = settings.cluster
    if path == "cluster.args":
        rows = arguments(settings, shape)
        given = {f"{part} {each.name}" for part in ("k3s", *COMPONENTS) for each in arguments_of(cluster, part)}
        had = _had(path, node)
        here = _arguments(text for text, filters in rows if _is_for(node, filters, shape, settings))
        return {
            name: had.get(name, value) if name.rpartition(" ")[2] in _OF_THE_MACHINE else value
            for name, value in here.items()
            if name in given or name in had or name in ("k3s disable", "scheduler v")
        }
    if path == "cluster.env":
        texts = (
            each.value.partition("=")
            for each in map(split, cluster.env)
            if _is_for(node, each.filters, shape, settings)
        )
        return {name: value for name, _, value in texts}
    if path == "cluster.volumes":
        return dict(
            _mount(each.value) for each in map(split, cluster.volumes) if _is_for(node, each.filters, shape, settings)
        )
    if path == f"cluster.{node.role}_labels":
        return dict(getattr(cluster, f"{node.role}_labels"))
    return {}


def _words(node: Node) -> Iterator[tuple[str, str]]:
    """Arguments of this project in a node's command, and node labels: k3d passes both words of its own separately."""
    words = iter(node.command[1:])
    for word in words:
        if word in ("--node-label", "--tls-san"):
            yield "", next(words, "") if word == "--node-label" else ""
        elif word.startswith("--") and word != "--cluster-init":
            yield word, ""


def _arguments(words: Iterable[str]) -> Items:
    """Values by component and name: `kubelet max-pods`. Repeated ones are listed."""
    found: dict[str, list[str]] = {}
    parts = {flag: part for part, (flag, _) in COMPONENTS.items()}
    for each in parsed("k3s", tuple(words)):
        part = parts.get(each.name, "k3s")
        for one in parsed(part, (each.value or "",)) if part != "k3s" else (each,):
            found.setdefault(f"{part} {one.name}", []).append("given" if one.value is None else one.value)
    return {name: ", ".join(values) for name, values in found.items()}


def _mount(text: str) -> tuple[str, str]:
    """The mount point in the node, and what is mounted there."""
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    return target or source, f"{source}:{options}" if options else source


def _is_for(node: Node, filters: Sequence[str], shape: Shape, settings: Settings) -> bool:
    """Whether filters match this node; without filters a value is for all."""
    match = re.search(rf"-{node.role}-(\d+)", node.name.removeprefix(f"k3d-{settings.cluster.name}"))
    number = int(match[1]) if match else 0
    counts = {"server": settings.cluster.servers, "agent": shape.agents, "loadbalancer": 1}
    try:
        return not filters or (node.role, number) in chosen(
            filters, {**counts, node.role: max(counts[node.role], number + 1)}
        )
    except ValueError:
        return False
