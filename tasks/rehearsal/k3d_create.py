"""`k3d cluster create` and `k3d node create`: containers of nodes, started one after another as k3d does it."""

from __future__ import annotations

import os
import time

from tasks.rehearsal import containers, k3d_config, node, starting
from tasks.rehearsal.call import Exit
from tasks.rehearsal.docker_run import size
from tasks.rehearsal.k3d_kubeconfig import update_default
from tasks.rehearsal.k3d_words import fatal, info
from tasks.rehearsal.place import VERSIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.flags import Given
    from tasks.rehearsal.k3d_config import Config

_DEFAULT_IMAGE = "docker.io/rancher/k3s:v1.35.5-k3s1"
_HELPERS = {"tools": "ghcr.io/k3d-io/k3d-tools", "proxy": "ghcr.io/k3d-io/k3d-proxy"}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_LOOK = 0.02
_ENDLESS = 3600.0


def helper(call: Call, what: str) -> str:
    """An image of k3d's own, or the one that a variable names (k3d: `pkg/types/images.go`)."""
    variable = {"tools": "K3D_IMAGE_TOOLS", "proxy": "K3D_IMAGE_LOADBALANCER"}[what]
    return call.environ.get(variable) or f"{_HELPERS[what]}:{VERSIONS['k3d'].removeprefix('v')}"


def bring(call: Call, ref: str) -> None:
    """Have the engine pull an image that it lacks. Raises `Exit`."""
    from tasks.rehearsal.docker_images import pull

    if starting.image(call.engine.read(), ref) is None:
        info(call, f"Pulling image '{ref}'")
        try:
            pull(call, ref, told=False)
        except Exit as end:
            told = end.text.removeprefix("Error response from daemon: ")
            raise fatal(
                f"Failed to create node: failed to pull image '{ref}': Error response from daemon: {told}"
            ) from None


def seconds(text: str) -> float:
    """Of 3m0s; endless if nothing is said."""
    import re

    found = [float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([smh])", text or "")]
    return sum(found) or _ENDLESS


def _create(call: Call, given: Given) -> None:
    path = given.get("config")
    config = k3d_config.from_file(path) if path else k3d_config.from_flags(call, given)
    name = str(k3d_config.at(config, "metadata.name") or (given.args[0] if given.args else "k3s-default"))
    names = _names(config)
    with call.engine.change() as doc:
        if containers.labelled(doc, cluster=name):
            raise fatal(f"Failed to create cluster '{name}' because a cluster with that name already exists")
        _checked(config, names)
        info(call, "Prep: Network")
        made = _network(doc, call, name)
        info(call, f"Created network 'k3d-{name}'")
        volume = f"k3d-{name}-images"
        doc["volumes"][volume] = {"created": call.now(), "labels": {"app": "k3d", "k3d.cluster": name}}
        info(call, f"Created image volume {volume}")
    call.middle()
    try:
        _make(call, config, name, names, str(made["id"]))
        _start(call, config, name)
    except Exit as end:
        raise _failed(call, config, name, end) from None
    update_default(call, config, name)
    info(call, f"Cluster '{name}' created successfully!")
    call.say(f"kubectl cluster-info --context k3d-{name}")


def _failed(call: Call, config: Config, name: str, end: Exit) -> Exit:
    """What a creation that has failed leaves; k3d's rollback takes it away, unless that is off."""
    from tasks.rehearsal.k3d_cluster import delete

    took = call.now() - call.began
    error = end.text.partition("] ")[2] or end.text
    told = f"ERRO[{int(took):04d}] Failed Cluster Start: {error}"
    if k3d_config.at(config, "options.k3d.disableRollback"):
        return Exit(1, f"{told}\nFATA[{int(took):04d}] Cluster creation FAILED, rollback deactivated.")
    delete(call, name)
    return Exit(1, f"{told}\nFATA[{int(took):04d}] Cluster creation FAILED, all changes have been rolled back!")


def _names(config: Config) -> list[str]:
    """The nodes' names without their cluster's."""
    servers, agents = int(config.get("servers") or 1), int(config.get("agents") or 0)
    found = [f"server-{number}" for number in range(servers)] + [f"agent-{number}" for number in range(agents)]
    return found if k3d_config.at(config, "options.k3d.disableLoadbalancer") else [*found, "serverlb"]


def _checked(config: Config, names: Sequence[str]) -> None:
    """Every filter, before anything is made. Raises `Exit`."""
    for path in (
        "volumes",
        "ports",
        "env",
        "options.k3s.extraArgs",
        "options.k3s.nodeLabels",
        "options.runtime.labels",
    ):
        for value, filters in k3d_config.rows(config, path):
            if path == "ports" and not filters:
                continue
            k3d_config.nodes([text.removesuffix(":direct") for text in filters], names, f"{path} '{value}'")


def _network(doc: Document, call: Call, name: str) -> dict[str, Any]:
    network = f"k3d-{name}"
    if network in doc["networks"]:
        found: dict[str, Any] = doc["networks"][network]
        return found
    return containers.network(doc, network, {"app": "k3d", "k3d.cluster": name}, call.now())


def _make(call: Call, config: Config, name: str, names: Sequence[str], network: str) -> None:
    """All containers, none of them started."""
    image = str(config.get("image") or _DEFAULT_IMAGE)
    bring(call, helper(call, "tools"))
    bring(call, image)
    if "serverlb" in names:
        bring(call, helper(call, "proxy"))
    with call.engine.change() as doc:
        for registry in k3d_config.at(config, "registries.use") or ():
            found = containers.find(doc, registry.partition(":")[0])
            if found is None:
                raise fatal(f"Failed to find registry {registry}: No nodes found for given name")
            if f"k3d-{name}" not in found["networks"]:
                containers.connect(doc, found, f"k3d-{name}")
        for each in names:
            info(call, f"Creating node 'k3d-{name}-{each}'")
            _container(call, doc, config, name, each, names, image, network)
    call.wait_until(call.began + call.times.seconds("create prepare"))


def _container(
    call: Call, doc: Document, config: Config, name: str, own: str, names: Sequence[str], image: str, network: str
) -> Container:
    role = "loadbalancer" if own == "serverlb" else own.partition("-")[0]
    ref = helper(call, "proxy") if role == "loadbalancer" else image
    refused = starting.create_refused(call, doc, f"k3d-{name}-{own}", ref)
    if refused:
        raise fatal(f"Failed to create node 'k3d-{name}-{own}': Error response from daemon: {refused}")
    labels = {
        "app": "k3d",
        "k3d.cluster": name,
        "k3d.cluster.imageVolume": f"k3d-{name}-images",
        "k3d.cluster.network": f"k3d-{name}",
        "k3d.cluster.network.id": network,
        "k3d.cluster.url": f"https://k3d-{name}-server-0:6443",
        "k3d.role": role,
        "k3d.version": VERSIONS["k3d"],
    }
    labels |= dict(value.partition("=")[::2] for value in _of(config, "options.runtime.labels", own, names))
    memory = k3d_config.at(config, f"options.runtime.{role}sMemory")
    return containers.make(
        doc,
        f"k3d-{name}-{own}",
        ref,
        call.now(),
        labels=labels,
        env=_env(config, name, own, names),
        cmd=_command(config, own, names),
        entrypoint=["/bin/k3d-entrypoint.sh"],
        ports=_ports(config, own, names),
        binds=[f"k3d-{name}-images:/k3d/images", *_of(config, "volumes", own, names)],
        networks=[f"k3d-{name}"],
        restart="unless-stopped",
        memory=size(memory) if memory else 0,
        files=_files(config, own, names),
    )


def _of(config: Config, path: str, own: str, names: Sequence[str]) -> list[str]:
    """Values of rows whose filters mean this node."""
    return [
        value
        for value, filters in k3d_config.rows(config, path)
        if own in k3d_config.nodes(filters, names, f"{path} '{value}'")
    ]


def _env(config: Config, name: str, own: str, names: Sequence[str]) -> list[str]:
    if own == "serverlb":
        return []
    first = [f"K3S_URL=https://k3d-{name}-server-0:6443"] if own != "server-0" else []
    return [
        "K3S_TOKEN=rehearsal",
        *first,
        "K3S_KUBECONFIG_OUTPUT=/output/kubeconfig.yaml",
        *_of(config, "env", own, names),
    ]


def _command(config: Config, own: str, names: Sequence[str]) -> list[str]:
    if own == "serverlb":
        return []
    role = own.partition("-")[0]
    labels = [f"--node-label={value}" for value in _of(config, "options.k3s.nodeLabels", own, names)]
    first = ["--cluster-init"] if own == "server-0" and sum(each.startswith("server-") for each in names) > 1 else []
    tls = ["--tls-san", "0.0.0.0"] if role == "server" else []  # noqa: S104 - as k3d gives it
    return [role, *_of(config, "options.k3s.extraArgs", own, names), *labels, *first, *tls]


def _ports(config: Config, own: str, names: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    balanced = "serverlb" in names
    found: dict[str, list[dict[str, str]]] = {}
    if own == ("serverlb" if balanced else "server-0"):
        api = config.get("kubeAPI") or {}
        port = str(api.get("hostPort") or 0)
        port = port if port not in ("", "0") else str(20000 + int.from_bytes(os.urandom(2), "big") % 20000)
        found["6443/tcp"] = [{"HostIp": str(api.get("hostIP") or "0.0.0.0"), "HostPort": port}]  # noqa: S104 - k3d's own
    for value, filters in k3d_config.rows(config, "ports"):
        direct = any(text.endswith(":direct") for text in filters)
        bare = [text.removesuffix(":direct") for text in filters] or ["loadbalancer" if balanced else "server:0"]
        through = balanced and not direct and bare != ["loadbalancer"]
        there = ["serverlb"] if through else k3d_config.nodes(bare, names, f"port '{value}'")
        if own in there:
            *address, host, inside = value.split(":")
            key = inside if "/" in inside else f"{inside}/tcp"
            found.setdefault(key, []).append({"HostIp": address[0] if address else "", "HostPort": host})
    return found


def _files(config: Config, own: str, names: Sequence[str]) -> dict[str, dict[str, str]]:
    found = {}
    for each in config.get("files") or ():
        if own in k3d_config.nodes(each.get("nodeFilters") or (), names, f"file copying '{each}'"):
            found[str(each["destination"])] = {"text": str(each["source"])}
    return found


# -- start ------------------------------------------------------------------------------------------------


def _start(call: Call, config: Config, name: str) -> None:
    end = call.began + seconds(str(k3d_config.at(config, "options.k3d.timeout") or ""))
    start(call, name, end)
    call.wait_until(call.began + call.times.seconds("create returns"))


def start(call: Call, name: str, end: float) -> None:
    """Start servers, agents and helpers in turn, each when those before are up. Raises `Exit`."""
    info(call, f"Starting cluster '{name}'")
    info(call, "Starting servers...")
    for each in containers.labelled(call.engine.read(), cluster=name, role="server"):
        _begin(call, each["name"])
        _await(call, each["name"], "up", node.UP, end)
    agents = containers.labelled(call.engine.read(), cluster=name, role="agent")
    if agents:
        info(call, "Starting agents...")
    for each in agents:
        _begin(call, each["name"])
    for each in agents:
        _await(call, each["name"], "ready", node.REGISTERED, end)
    helpers = containers.labelled(call.engine.read(), cluster=name, role="loadbalancer")
    if helpers:
        info(call, "Starting helpers...")
    for each in helpers:
        _begin(call, each["name"])
        _await(call, each["name"], "answers", node.BALANCING, end)


def _begin(call: Call, name: str) -> None:
    info(call, f"Starting node '{name}'")
    with call.engine.change() as doc:
        container = containers.find(doc, name)
        if container is None:
            raise fatal(f"Failed to start node {name}: docker failed to get container for node '{name}'")
        why = starting.start(call, doc, container, call.now())
    if why:
        raise fatal(
            f"Failed to start node {name}: runtime failed to start node '{name}': Error response from daemon: {why}"
        )


def _await(call: Call, name: str, mark: str, line: str, end: float) -> None:
    while True:
        container = containers.find(call.engine.read(), name)
        if container is None:
            raise fatal(f"Node {name} failed to get ready: Failed to get container for node '{name}'")
        if containers.reached(container, mark, call.now()):
            return
        if call.now() >= end:
            told = f"error waiting for log line `{line}` from node '{name}': stopped returning log lines"
            raise fatal(f"Node {name} failed to get ready: {told}: context deadline exceeded")
        time.sleep(_LOOK)


def _add(call: Call, given: Given) -> None:
    """`k3d node create`: agents alone."""
    own, name = given.args[0], given.get("cluster") or "k3s-default"
    if given.get("role", "agent") != "agent":
        raise fatal(f"Unknown node role '{given.get('role')}'\n")
    info(call, f"Adding 1 node(s) to the runtime local cluster '{name}'...")
    with call.engine.change() as doc:
        there = [
            *containers.labelled(doc, cluster=name, role="agent"),
            *containers.labelled(doc, cluster=name, role="server"),
        ]
        if not there:
            raise fatal(
                f"failed to add 1 node(s) to the runtime local cluster '{name}': Failed to find specified cluster"
            )
        model = there[0]
        copied = model["labels"]["k3d.role"] == "agent"
        labels = {
            **model["labels"],
            "k3d.role": "agent",
            **dict(row.partition("=")[::2] for row in given.all("runtime-label")),
        }
        words = list(model["cmd"]) if copied else ["agent"]
        words += [f"--node-label={row}" for row in given.all("k3s-node-label")]
        words += [row.partition("@")[0] for row in given.all("k3s-arg")]
        made = containers.make(
            doc,
            f"k3d-{own}-0",
            model["image"],
            call.now(),
            labels=labels,
            env=["K3S_TOKEN=rehearsal", f"K3S_URL=https://k3d-{name}-server-0:6443"],
            cmd=words,
            entrypoint=["/bin/k3d-entrypoint.sh"],
            binds=[bind for bind in model["binds"] if copied or "images" in bind],
            networks=[f"k3d-{name}"],
            restart="unless-stopped",
            memory=size(given.get("memory")) if given.get("memory") else model["memory"] if copied else 0,
            files=dict(model["files"]) if copied else {},
        )
    call.middle()
    _begin(call, made["name"])
    _await(call, made["name"], "ready", node.REGISTERED, call.began + seconds(given.get("timeout")))
    call.wait_until(call.began + call.times.seconds("add agent"))
    info(call, "Successfully created 1 node(s)!")


COMMANDS = {"cluster create": _create, "node create": _add}
