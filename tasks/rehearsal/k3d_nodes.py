"""Containers of a cluster's nodes as k3d makes them, before any is started."""

from __future__ import annotations

import os

from tasks.rehearsal import containers, k3d_config, starting
from tasks.rehearsal.call import Exit
from tasks.rehearsal.docker_run import size
from tasks.rehearsal.k3d_words import fatal, info
from tasks.rehearsal.place import VERSIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.k3d_config import Config

_DEFAULT_IMAGE = "docker.io/rancher/k3s:v1.35.5-k3s1"
_HELPERS = {"tools": "ghcr.io/k3d-io/k3d-tools", "proxy": "ghcr.io/k3d-io/k3d-proxy"}


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


def names(config: Config) -> list[str]:
    """The nodes' names without their cluster's."""
    servers, agents = int(config.get("servers") or 1), int(config.get("agents") or 0)
    found = [f"server-{number}" for number in range(servers)] + [f"agent-{number}" for number in range(agents)]
    return found if k3d_config.at(config, "options.k3d.disableLoadbalancer") else [*found, "serverlb"]


def checked(config: Config, names: Sequence[str]) -> None:
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


def network(doc: Document, call: Call, name: str) -> dict[str, str]:
    """Its network, and what all nodes say of it: one that was there is called external, whoever made it."""
    there = f"k3d-{name}" in doc["networks"]
    if not there:
        containers.network(doc, f"k3d-{name}", {"app": "k3d"}, call.now())
    return {
        "k3d.cluster.network": f"k3d-{name}",
        "k3d.cluster.network.id": doc["networks"][f"k3d-{name}"]["id"],
        "k3d.cluster.network.external": str(there).lower(),
    }


def make(call: Call, config: Config, name: str, names: Sequence[str], network: dict[str, str]) -> None:
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
    call: Call,
    doc: Document,
    config: Config,
    name: str,
    own: str,
    names: Sequence[str],
    image: str,
    network: dict[str, str],
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
        **network,
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
        *_of(config, "env", own, names),
        "K3S_TOKEN=rehearsal",
        *first,
        "K3S_KUBECONFIG_OUTPUT=/output/kubeconfig.yaml",
    ]


def _command(config: Config, own: str, names: Sequence[str]) -> list[str]:
    if own == "serverlb":
        return []
    role = own.partition("-")[0]
    labels = [word for value in _of(config, "options.k3s.nodeLabels", own, names) for word in ("--node-label", value)]
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
