"""The simulated k3d: clusters created from a config file (v1alpha5), started and deleted, and agents added."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.core.units import memory_bytes
from tasks.rehearsal import engine, lifecycle
from tasks.rehearsal.docker_resources import copy_database, data_volume, pull
from tasks.rehearsal.folder import VERSIONS
from tasks.rehearsal.program import Call, Commands, Exit, Given, dispatch
from tasks.settings import node_filters

_NODES = ("server", "agent", "loadbalancer")
_TOOLS = ("K3D_IMAGE_TOOLS", "ghcr.io/k3d-io/k3d-tools")
_PROXY = ("K3D_IMAGE_LOADBALANCER", "ghcr.io/k3d-io/k3d-proxy")
"""Variables that name k3d's own images, and those images (k3d: `pkg/types/images.go`)."""
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|(\w+))")
_LOOK = 0.02
_ENDLESS = "3600s"
"""The default timeout."""


def main(call: Call) -> None:
    """Raises `Exit`, `getopt.GetoptError`."""
    if call.args == ["version"]:
        call.say(f"k3d version {VERSIONS['k3d']} (REHEARSAL)\nk3s version v1.35.5-k3s1 (default)")
        return
    act, given = dispatch(call, _COMMANDS)
    act(call, given)


def _fatal(text: str) -> Exit:
    """The end of k3d, with its last line (logrus)."""
    return Exit(1, f"FATA[0000] {text}")


def _info(call: Call, text: str) -> None:
    """A line of progress, on stderr, with the seconds since the start (logrus)."""
    call.warn(f"INFO[{int(call.now() - call.began):04d}] {text}")


def _end(call: Call, timeout: str) -> float:
    """When a command times out."""
    return call.began + float((timeout or _ENDLESS).rstrip("s"))


# -- the config file --------------------------------------------------------------------------------------


def load(path: str, environ: Mapping[str, str]) -> Any:  # noqa: ANN401 - of YAML
    """A config file, with variables expanded as by k3d."""
    from tasks.core import yaml

    text = Path(path).read_text(encoding="utf-8")
    return yaml.load(_VARIABLE.sub(lambda match: environ.get(match[1] or match[2], ""), text))


class _Config:
    """The config file's values for a cluster and for each node's container."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document, self.name = document, str(document["metadata"]["name"])
        self.options: Mapping[str, Mapping[str, Any]] = document["options"]
        self.balanced = not self.options["k3d"].get("disableLoadbalancer")
        self._counts = {"server": document.get("servers", 1), "agent": document.get("agents", 0)}
        self._counts["loadbalancer"] = int(self.balanced)
        self.nodes = [(role, number) for role, count in self._counts.items() for number in range(count)]

    def _chosen(self, filters: Sequence[str]) -> frozenset[tuple[str, int]]:
        """The nodes that match filters, limited to existing ones."""
        return frozenset(node_filters.nodes(tuple(filters), self._counts))

    def _of(self, rows: Sequence[Mapping[str, Any]] | None, key: str, node: tuple[str, int]) -> list[str]:
        """Values of a list that apply to a node."""
        return [str(row[key]) for row in rows or () if node in self._chosen(row["nodeFilters"])]

    def container(self, node: tuple[str, int]) -> dict[str, Any]:
        """The parameters of a node's container."""
        role, first = node[0], node == ("server", 0)
        runtime, k3s = self.options.get("runtime", {}), self.options.get("k3s", {})
        cmd, env = [], []
        if role != "loadbalancer":
            labels = self._of(k3s.get("nodeLabels"), "label", node)
            args = [
                *self._of(k3s.get("extraArgs"), "arg", node),
                *(part for each in labels for part in ("--node-label", each)),
            ]
            cmd = [role, *args, *(["--cluster-init"] if first and self._counts["server"] > 1 else [])]
            url = [] if first else [f"K3S_URL=https://k3d-{self.name}-server-0:6443"]
            env = [*self._of(self.document.get("env"), "envVar", node), "K3S_TOKEN=rehearsal", *url]
        memory = runtime.get(f"{role}sMemory")
        return {
            "labels": {
                "app": "k3d",
                "k3d.cluster": self.name,
                "k3d.cluster.network": f"k3d-{self.name}",
                "k3d.role": role,
                "k3d.version": VERSIONS["k3d"],
                **dict(each.partition("=")[::2] for each in self._of(runtime.get("labels"), "label", node)),
            },
            "env": env,
            "cmd": cmd,
            "ports": self._ports(node),
            "binds": [f"k3d-{self.name}-images:/k3d/images", *self._of(self.document.get("volumes"), "volume", node)],
            "memory": memory_bytes(memory) if memory else 0,
            "files": {
                row["destination"]: row["source"]
                for row in self.document.get("files") or ()
                if node in self._chosen(row["nodeFilters"])
            },
        }

    def _ports(self, node: tuple[str, int]) -> dict[str, list[dict[str, str]]]:
        """Ports that the load balancer publishes for others belong to it."""
        entry = ("loadbalancer" if self.balanced else "server", 0)
        found: dict[str, list[dict[str, str]]] = {}
        if node == entry:
            api = self.document["kubeAPI"]
            found["6443/tcp"] = [{"HostIp": api["hostIP"], "HostPort": str(api["hostPort"])}]
        for row in self.document.get("ports") or ():
            filters = row.get("nodeFilters") or ["loadbalancer"]
            direct = all(each.endswith(":direct") for each in filters)
            chosen = self._chosen([each.removesuffix(":direct") for each in filters]) if direct else {entry}
            if node in chosen:
                *address, host, inside = row["port"].split(":")
                rows = found.setdefault(inside if "/" in inside else f"{inside}/tcp", [])
                rows.append({"HostIp": "".join(address), "HostPort": host})
        return found


# -- clusters ---------------------------------------------------------------------------------------------


def _create(call: Call, given: Given) -> None:
    config = _Config(load(given.get("config"), call.environ))
    name, network = config.name, f"k3d-{config.name}"
    made = {
        "serverlb" if role == "loadbalancer" else f"{role}-{number}": config.container((role, number))
        for role, number in config.nodes
    }
    with call.engine.change() as doc:
        if network not in doc["networks"]:
            engine.add_network(doc, network, {"app": "k3d"})
        doc["volumes"][f"{network}-images"] = {"app": "k3d", "k3d.cluster": name}
    _info(call, f"Created network '{network}'")
    call.checkpoint()
    try:
        _make_nodes(call, config, made)
        call.wait_until(call.began + call.times.seconds("create prepare"))
        _start_nodes(call, name, _end(call, config.options["k3d"].get("timeout", "")))
    except Exit as end:
        failed = f"ERRO[0000] Failed Cluster Start: {end.text.removeprefix('FATA[0000] ')}"
        raise Exit(1, f"{failed}\nFATA[0000] Cluster creation FAILED, rollback deactivated.") from None
    call.wait_until(call.began + call.times.seconds("create returns"))
    _info(call, f"Cluster '{name}' created successfully!")
    call.say(f"kubectl cluster-info --context k3d-{name}")


def _make_nodes(call: Call, config: _Config, nodes: Mapping[str, dict[str, Any]]) -> None:
    """Create all containers without starting them. Raises `Exit`."""
    tools, proxy = (
        call.environ.get(variable) or f"{image}:{VERSIONS['k3d'].removeprefix('v')}"
        for variable, image in (_TOOLS, _PROXY)
    )
    network, image = f"k3d-{config.name}", config.document["image"]
    for ref in (tools, image, *([proxy] if config.balanced else ())):
        if engine.find_image(call.engine.read(), ref) is None:
            _info(call, f"Pulling image '{ref}'")
            try:
                pull(call, ref, call.warn)
            except Exit as end:
                raise _fatal(f"Failed to pull image '{ref}': {end.text}") from None
    with call.engine.change() as doc:
        for registry in (config.document.get("registries") or {}).get("use") or ():
            used = engine.find(doc, registry.partition(":")[0])
            if used is not None and network not in used["networks"]:
                engine.connect(doc, used, network)
        for node, made in nodes.items():
            own, ref = f"{network}-{node}", proxy if node == "serverlb" else image
            _info(call, f"Creating node '{own}'")
            refused = lifecycle.create_refused(call, doc, own)
            if refused:
                raise _fatal(f"Failed to create node '{own}': Error response from daemon: {refused}")
            there = engine.make(doc, own, ref, call.now(), networks=[network], **made)
            if node == "server-0":  # it finds the data of a snapshot in its volume
                copy_database(call.folder.volume(data_volume(there)), call.folder.cluster(config.name))


def _start(call: Call, given: Given) -> None:
    name = given.args[0]
    _start_nodes(call, name, _end(call, given.get("timeout")))
    call.wait_until(call.began + call.times.seconds("start returns"))
    _info(call, f"Started cluster '{name}'")


def _delete(call: Call, given: Given) -> None:
    """Containers, network and volumes; registries are only disconnected."""
    name = given.args[0]
    call.checkpoint()
    call.wait("delete", name)
    with call.engine.change() as doc:
        for each in engine.labelled(doc, cluster=name):
            if engine.role(each) in _NODES:
                lifecycle.remove(call, doc, each)
        for each in doc["containers"].values():
            each["networks"].pop(f"k3d-{name}", None)
        doc["networks"].pop(f"k3d-{name}", None)
        doc["volumes"].pop(f"k3d-{name}-images", None)
    _info(call, f"Successfully deleted cluster {name}!")


# -- nodes ------------------------------------------------------------------------------------------------


def _start_nodes(call: Call, name: str, end: float) -> None:
    """Start servers, agents and the load balancer, each after the previous group is up. Raises `Exit`."""
    _info(call, f"Starting cluster '{name}'")
    servers, agents, balancers = (engine.labelled(call.engine.read(), cluster=name, role=role) for role in _NODES)
    for each in servers:
        _start_node(call, each["name"])
        _await(call, each["name"], "up", lifecycle.UP, end)
    for each in agents:
        _start_node(call, each["name"])
    for each in agents:
        _await(call, each["name"], "ready", lifecycle.REGISTERED, end)
    for each in balancers:
        _start_node(call, each["name"])
        _await(call, each["name"], "answers", lifecycle.BALANCING, end)


def _start_node(call: Call, name: str) -> None:
    """Raises `Exit` if the engine rejects it."""
    _info(call, f"Starting node '{name}'")
    with call.engine.change() as doc:
        container = engine.find(doc, name)
        why = lifecycle.start(call, doc, container, call.now()) if container else f"No such container: {name}"
    if why:
        message = f"runtime failed to start node '{name}': Error response from daemon: {why}"
        raise _fatal(f"Failed to start node {name}: {message}")


def _await(call: Call, name: str, stage: str, line: str, end: float) -> None:
    """Wait for a line in a node's log, like k3d: for a stage of its life. Raises `Exit` on a timeout."""
    while True:
        container = engine.find(call.engine.read(), name)
        if container is None:
            raise _fatal(f"Node {name} failed to get ready: Failed to get container for node '{name}'")
        if engine.reached(container, stage, call.now()):
            return
        if call.now() >= end:
            message = f"error waiting for log line `{line}` from node '{name}': stopped returning log lines"
            raise _fatal(f"Node {name} failed to get ready: {message}: context deadline exceeded")
        call.pause(_LOOK)


def _add_agent(call: Call, given: Given) -> None:
    """`k3d node create`: it copies an agent; if there is none, a server, without the server's own arguments."""
    own, name = f"k3d-{given.args[0]}-0", given.get("cluster")
    _info(call, f"Adding 1 node(s) to the runtime local cluster '{name}'...")
    with call.engine.change() as doc:
        agents, servers = (engine.labelled(doc, cluster=name, role=role) for role in ("agent", "server"))
        model = (agents or servers)[0]
        labels = [part for each in given.all("k3s-node-label") for part in ("--node-label", each)]
        memory = given.get("memory")
        engine.make(
            doc,
            own,
            model["image"],
            call.now(),
            networks=[f"k3d-{name}"],
            labels={**model["labels"], "k3d.role": "agent"},
            env=list(model["env"]) if agents else ["K3S_TOKEN=rehearsal", f"K3S_URL=https://k3d-{name}-server-0:6443"],
            cmd=[*(model["cmd"] if agents else ["agent"]), *given.all("k3s-arg"), *labels],
            binds=[bind for bind in model["binds"] if agents or "images" in bind],
            memory=memory_bytes(memory) if memory else model["memory"] if agents else 0,
            files=dict(model["files"]) if agents else {},
        )
    call.checkpoint()
    _start_node(call, own)
    _await(call, own, "ready", lifecycle.REGISTERED, _end(call, given.get("timeout")))
    call.wait_until(call.began + call.times.seconds("add agent"))
    _info(call, "Successfully created 1 node(s)!")


_COMMANDS: Commands = {
    "cluster create": (_create, "config=,c", 0),
    "cluster start": (_start, "wait timeout=", 1),
    "cluster delete": (_delete, "", 1),
    "node create": (_add_agent, "role= cluster=,c memory= timeout= k3s-node-label= k3s-arg=", 1),
}
"""The commands that the tasks use."""
