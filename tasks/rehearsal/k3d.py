"""The stand-in for k3d: clusters created from a config file, started and deleted, and agents added."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tasks.rehearsal import containers, images, lifecycle, volumes
from tasks.rehearsal.docker_containers import kubeconfig
from tasks.rehearsal.docker_resources import pull
from tasks.rehearsal.flags import parse, seconds, size
from tasks.rehearsal.folder import MARK, VERSIONS
from tasks.rehearsal.k3d_config import Config, fatal, load
from tasks.rehearsal.program import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasks.rehearsal.flags import Parsed
    from tasks.rehearsal.program import Call

_FLAGS = {
    "cluster create": "config,c=s",
    "cluster start": "wait timeout=s",
    "cluster delete": "all,a",
    "node create": "role=s cluster,c=s memory=s timeout=s k3s-node-label=l k3s-arg=l",
}
"""Commands that the tasks call."""
_NODES = ("server", "agent", "loadbalancer")
_HELPERS = {
    "tools": ("K3D_IMAGE_TOOLS", "ghcr.io/k3d-io/k3d-tools"),
    "proxy": ("K3D_IMAGE_LOADBALANCER", "ghcr.io/k3d-io/k3d-proxy"),
}
"""Variables that name k3d's own images, and those images (k3d: `pkg/types/images.go`)."""
_LOOK = 0.02
_ENDLESS = 3600.0
"""Seconds of a time-out where none is given."""


def main(call: Call) -> None:
    """Raises `Exit`, `UsageError`."""
    args = list(call.args)
    if args == ["version"]:
        call.say(f"k3d version {VERSIONS['k3d']} (REHEARSAL)\nk3s version v1.35.5-k3s1 (default)")
        return
    name = " ".join(args[:2])
    if name not in _FLAGS:
        raise fatal(f'unknown command "{args[0] if args else ""}" for "k3d"')
    _COMMANDS[name](call, parse(args[2:], _FLAGS[name]))


def _info(call: Call, text: str) -> None:
    """A line of progress, on stderr, with the seconds since the start (logrus)."""
    call.warn(f"INFO[{int(call.now() - call.began):04d}] {text}")


# -- clusters ---------------------------------------------------------------------------------------------


def _create(call: Call, given: Parsed) -> None:
    config = Config(load(given.get("config"), call.environ))
    name = config.name
    with call.engine.change() as doc:
        if containers.labelled(doc, cluster=name):
            raise fatal(f"Failed to create cluster '{name}' because a cluster with that name already exists")
        for node in config.all_nodes:
            config.container(node, config.image)  # every filter is checked before anything is made
        network, exists = f"k3d-{name}", f"k3d-{name}" in doc["networks"]
        if not exists:
            containers.network(doc, network, {"app": "k3d"}, call.now())
        labels = {
            "k3d.cluster.network": network,
            "k3d.cluster.network.id": doc["networks"][network]["id"],
            "k3d.cluster.network.external": str(exists).lower(),  # k3d calls one that exists so, whoever made it
        }
        volume = {"created": call.now(), "labels": {"app": "k3d", "k3d.cluster": name}}
        doc["volumes"][f"k3d-{name}-images"] = volume
    _info(call, f"Created network '{network}'")
    call.checkpoint()
    try:
        _make_nodes(call, config, labels)
        _start_nodes(call, name, call.began + (seconds(str(config.at("options.k3d.timeout") or "")) or _ENDLESS))
    except Exit as end:
        took, error = call.now() - call.began, end.text.partition("] ")[2] or end.text
        said = f"ERRO[{int(took):04d}] Failed Cluster Start: {error}"
        if not config.at("options.k3d.disableRollback"):
            _remove(call, name)
        raise Exit(1, f"{said}\nFATA[{int(took):04d}] Cluster creation FAILED, rollback deactivated.") from None
    call.wait_until(call.began + call.times.seconds("create returns"))
    _update_kubeconfig(call, config)
    _info(call, f"Cluster '{name}' created successfully!")
    call.say(f"kubectl cluster-info --context k3d-{name}")


def _make_nodes(call: Call, config: Config, labels: dict[str, str]) -> None:
    """All containers, none of them started. Raises `Exit`."""
    helpers = {
        what: call.environ.get(variable) or f"{image}:{VERSIONS['k3d'].removeprefix('v')}"
        for what, (variable, image) in _HELPERS.items()
    }
    needed = [helpers["tools"], config.image, *([helpers["proxy"]] if config.balanced else [])]
    for ref in needed:
        _ensure_image(call, ref)
    network = f"k3d-{config.name}"
    with call.engine.change() as doc:
        for registry in config.at("registries.use") or ():
            used = containers.find(doc, registry.partition(":")[0])
            if used is None:
                raise fatal(f"Failed to find registry {registry}: No nodes found for given name")
            if network not in used["networks"]:
                containers.connect(doc, used, network)
        for node in config.all_nodes:
            own = f"k3d-{config.name}-{node}"
            _info(call, f"Creating node '{own}'")
            made = config.container(node, helpers["proxy"] if node == "serverlb" else config.image)
            refused = lifecycle.create_refused(call, doc, own, made["image"])
            if refused:
                raise fatal(f"Failed to create node '{own}': Error response from daemon: {refused}")
            made["labels"] |= labels
            there = containers.make(doc, own, made.pop("image"), call.now(), **made)
            if node == config.servers[0]:
                volumes.restore(call.folder, config.name, there)
    call.wait_until(call.began + call.times.seconds("create prepare"))


def _ensure_image(call: Call, ref: str) -> None:
    """Have the engine pull an image that it lacks. Raises `Exit`."""
    if images.find(call.engine.read(), ref) is not None:
        return
    _info(call, f"Pulling image '{ref}'")
    try:
        pull(call, ref, shown=False)
    except Exit as end:
        said = end.text.removeprefix("Error response from daemon: ")
        raise fatal(f"Failed to pull image '{ref}': Error response from daemon: {said}") from None


def _start(call: Call, given: Parsed) -> None:
    name = given.args[0]
    if not containers.labelled(call.engine.read(), cluster=name):
        raise fatal(f"No nodes found for given cluster: {name}")
    _start_nodes(call, name, call.began + (seconds(given.get("timeout")) or _ENDLESS))
    call.wait_until(call.began + call.times.seconds("start returns"))
    _info(call, f"Started cluster '{name}'")


def _delete(call: Call, given: Parsed) -> None:
    doc = call.engine.read()
    clusters = {each["labels"].get("k3d.cluster", "") for each in doc["containers"].values()} - {""}
    for name in sorted(clusters) if given.on("all") else given.args:
        if name not in clusters:
            _info(call, f"No nodes found for cluster '{name}', nothing to delete.")
            continue
        _info(call, f"Deleting cluster '{name}'")
        call.checkpoint()
        call.wait("delete", name)
        _remove(call, name)
        _info(call, f"Successfully deleted cluster {name}!")


def _remove(call: Call, name: str) -> None:
    """Take away containers, network and volumes; registries only leave the network."""
    with call.engine.change() as doc:
        for role in _NODES:
            for each in containers.labelled(doc, cluster=name, role=role):
                lifecycle.remove(call, doc, each, call.now())
        for each in doc["containers"].values():
            each["networks"].pop(f"k3d-{name}", None)
        doc["networks"].pop(f"k3d-{name}", None)
        for volume in [key for key, each in doc["volumes"].items() if each["labels"].get("k3d.cluster") == name]:
            del doc["volumes"][volume]


def _update_kubeconfig(call: Call, config: Config) -> None:
    """The entry that k3d puts into the first file of KUBECONFIG, unless that is off.

    A file that does not come from a rehearsal is left alone.
    """
    path = call.environ.get("KUBECONFIG", "").split(":")[0]
    if not path or config.at("options.kubeconfig.updateDefaultKubeconfig") is False:
        return
    file = Path(path)
    if file.exists() and MARK not in file.read_text(encoding="utf-8"):
        return
    nodes = containers.labelled(call.engine.read(), cluster=config.name)
    port = min(rows[0]["HostPort"] for each in nodes if (rows := each["ports"].get("6443/tcp")))
    server = next(each for each in nodes if each["labels"].get("k3d.role") == "server")
    text = kubeconfig(call, server).replace("127.0.0.1:6443", f"127.0.0.1:{port}")
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text.replace(": default\n", f": k3d-{config.name}\n"), encoding="utf-8")
    fresh.chmod(0o600)
    fresh.replace(file)


# -- nodes ------------------------------------------------------------------------------------------------


def _start_nodes(call: Call, name: str, end: float) -> None:
    """Start servers, agents and the load balancer, each when those before are up. Raises `Exit`."""
    _info(call, f"Starting cluster '{name}'")
    for each in containers.labelled(call.engine.read(), cluster=name, role="server"):
        _start_node(call, each["name"])
        _await(call, each["name"], "up", lifecycle.UP, end)
    agents = containers.labelled(call.engine.read(), cluster=name, role="agent")
    for each in agents:
        _start_node(call, each["name"])
    for each in agents:
        _await(call, each["name"], "ready", lifecycle.REGISTERED, end)
    for each in containers.labelled(call.engine.read(), cluster=name, role="loadbalancer"):
        _start_node(call, each["name"])
        _await(call, each["name"], "answers", lifecycle.BALANCING, end)


def _start_node(call: Call, name: str) -> None:
    """Raises `Exit` for what the engine refuses."""
    _info(call, f"Starting node '{name}'")
    with call.engine.change() as doc:
        container = containers.find(doc, name)
        if container is None:
            raise fatal(f"Failed to start node {name}: docker failed to get container for node '{name}'")
        why = lifecycle.start(call, doc, container, call.now())
    if why:
        said = f"runtime failed to start node '{name}': Error response from daemon: {why}"
        raise fatal(f"Failed to start node {name}: {said}")


def _await(call: Call, name: str, stage: str, line: str, end: float) -> None:
    """Wait for a line in a node's log, as k3d does: for a stage of its life. Raises `Exit` when the time is over."""
    while True:
        container = containers.find(call.engine.read(), name)
        if container is None:
            raise fatal(f"Node {name} failed to get ready: Failed to get container for node '{name}'")
        if containers.reached(container, stage, call.now()):
            return
        if call.now() >= end:
            said = f"error waiting for log line `{line}` from node '{name}': stopped returning log lines"
            raise fatal(f"Node {name} failed to get ready: {said}: context deadline exceeded")
        time.sleep(_LOOK)


def _add_agent(call: Call, given: Parsed) -> None:
    """`k3d node create`: it copies an agent; where there is none, a server, less what is the server's own."""
    own, name = f"k3d-{given.args[0]}-0", given.get("cluster")
    _info(call, f"Adding 1 node(s) to the runtime local cluster '{name}'...")
    with call.engine.change() as doc:
        agents = containers.labelled(doc, cluster=name, role="agent")
        model = next(iter([*agents, *containers.labelled(doc, cluster=name, role="server")]), None)
        if model is None:
            raise fatal(f"failed to add 1 node(s) to the runtime local cluster '{name}': Failed to find it")
        url = [f"K3S_URL=https://k3d-{name}-server-0:6443"]
        labels = [word for row in given.all("k3s-node-label") for word in ("--node-label", row)]
        containers.make(
            doc,
            own,
            model["image"],
            call.now(),
            labels={**model["labels"], "k3d.role": "agent"},
            env=list(model["env"]) if agents else ["K3S_TOKEN=rehearsal", *url],
            cmd=[*(model["cmd"] if agents else ["agent"]), *given.all("k3s-arg"), *labels],
            entrypoint=["/bin/k3d-entrypoint.sh"],
            binds=[bind for bind in model["binds"] if agents or "images" in bind],
            networks=[f"k3d-{name}"],
            restart="unless-stopped",
            memory=size(given.get("memory")) if given.get("memory") else model["memory"] if agents else 0,
            files=dict(model["files"]) if agents else {},
        )
    call.checkpoint()
    _start_node(call, own)
    end = call.began + (seconds(given.get("timeout")) or _ENDLESS)
    _await(call, own, "ready", lifecycle.REGISTERED, end)
    call.wait_until(call.began + call.times.seconds("add agent"))
    _info(call, "Successfully created 1 node(s)!")


_COMMANDS = {
    "cluster create": _create,
    "cluster start": _start,
    "cluster delete": _delete,
    "node create": _add_agent,
}
