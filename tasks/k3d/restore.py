"""A cluster over saved data: volumes are filled before k3d creates the nodes, which then find that data."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from tasks.clients import docker, volumes
from tasks.clients.snapshots import Restore, SavedNode
from tasks.core import yaml
from tasks.core.errors import BadInput
from tasks.core.units import KIB, count, megabytes
from tasks.diagnose.command import run_command
from tasks.engine.step import Context, Report, Step
from tasks.facts.facts import Facts
from tasks.k3d.arguments import arguments
from tasks.settings.derived import DATA, IDENTITY, kubernetes_minor, pull_name
from tasks.settings.node_filters import split

TASK = "cluster"
_RANGES = ("--cluster-cidr=", "--service-cidr=")
_MORE = 64 * 1024
"""Kilobytes of disk space that must stay free."""


def refuse_misfit(facts: Facts) -> None:
    """Raises `BadInput` if no cluster can be created over this data with the current settings."""
    assert facts.restore is not None
    saved, settings = facts.restore.manifest, facts.settings
    found = []
    if settings.cluster.servers != saved.servers:
        found.append(f"it has {count(saved.servers, 'server')}, and cluster.servers is {settings.cluster.servers}")
    if facts.shape.agents < saved.agents:
        found.append(
            f"it has {count(saved.agents, 'agent')}, and cluster.agents is {facts.shape.agents}: pods live there"
        )
    if facts.host is not None and facts.host.arch != saved.arch:
        found.append(f"it is for {saved.arch}, and this engine for {facts.host.arch}")
    if any(_target(text) in (DATA, IDENTITY) for text in settings.cluster.volumes):
        found.append(f"cluster.volumes mounts {DATA} or {IDENTITY}, where the data belongs")
    if _minor(facts.shape.image) < _minor(saved.image):
        found.append(f"it is of Kubernetes {saved.kubernetes}, and {facts.shape.image} is older")
    if saved.k3d:
        rows = yaml.load(saved.k3d)["options"]["k3s"].get("extraArgs") or ()
        had = _ranges(row["arg"] for row in rows)
        given = _ranges(arg for arg, _filters in arguments(settings, facts.shape))
        if had != given:
            found.append(f"its address ranges are {had}, and with cluster.args.k3s they would be {given}")
    if found:
        raise BadInput(
            f"no cluster can be created from the snapshot '{saved.name}' with these settings",
            why="; ".join(found),
            fix="set them as before (invoke snapshot shows what differs)",
        )


def _ranges(arguments: Iterable[str]) -> str:
    """Address ranges of pods and services: all objects in the datastore have addresses of these."""
    return " ".join(sorted({arg for arg in arguments if arg.startswith(_RANGES)})) or "k3s's own"


def _target(text: str) -> str:
    parts = split(text).value.split(":")
    return (parts[1] if len(parts) > 1 else parts[0]).rstrip("/")


def _minor(image: str) -> int:
    return kubernetes_minor(image) or 0


def restore_steps(facts: Facts, restore: Restore, needs: tuple[str, ...]) -> list[Step]:
    """One step for each saved node, concurrently. `needs`: steps of the launch, such as the nodes' image."""
    return [
        Step(
            name=f"cluster: restore {node.place}",
            task=TASK,
            action=partial(_restore, facts, restore, node),
            needs=tuple(name for name in needs if name == pull_name(facts.shape.image)),
            wait=True,
            deadline=3600.0,
            why=f"{megabytes(node.bytes)} of the snapshot '{restore.manifest.name}'",
            expected=1.0 + node.bytes / 400e6,
        )
        for node in restore.manifest.nodes
    ]


def _restore(facts: Facts, restore: Restore, node: SavedNode, context: Context) -> Report:
    programs = facts.programs
    labels = dict(each.split("=", 1) for each in docker.of_cluster(facts.name))
    data, identity = restore.volumes(facts.name, node)
    for volume in (data, identity):
        programs.run(docker.create_volume(volume, labels), context)
    needed = restore.manifest.bytes // KIB + _MORE
    command = volumes.restore(facts.shape.image, restore.id, node.volume, data, identity, needed)
    done = run_command(programs, command, context, listen=volumes.progress(context, node.bytes))
    return Report(exit_code=done.code, why=megabytes(node.bytes))


def amend(config: dict[str, Any], cluster: str, restore: Restore) -> None:
    """Extend a k3d configuration for a cluster over saved data: its token, volumes, and its nodes' names."""
    config["token"] = restore.manifest.token
    for where, node in restore.chosen():
        data, identity = restore.volumes(cluster, node)
        for volume, target in ((data, DATA), (identity, IDENTITY)):
            config.setdefault("volumes", []).append({"volume": f"{volume}:{target}", "nodeFilters": [where]})
        container = f"k3d-{cluster}-{where.replace(':', '-')}"
        if node.node != container:
            _rename(config, node.node, container, where)


def _rename(config: dict[str, Any], name: str, container: str, where: str) -> None:
    """Give a node the name under which the datastore knows it.

    k3d's entrypoint uncordons the node called $HOSTNAME, and agents reach a server by its container's name.
    """
    given = [f"--node-name={name}"]
    if where.startswith("server"):
        given.append(f"--tls-san={container}")
    rows = config["options"]["k3s"].setdefault("extraArgs", [])
    rows += [{"arg": arg, "nodeFilters": [where]} for arg in given]
    config.setdefault("env", []).append({"envVar": f"HOSTNAME={name}", "nodeFilters": [where]})
