"""Networks that were removed while their containers were stopped: Docker then refuses to start those containers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.clients import docker
from tasks.diagnose.command import run_command
from tasks.engine.step import Context
from tasks.process.command import Command, CommandFailed, Completed
from tasks.process.programs import Programs
from tasks.settings.derived import registry_containers

if TYPE_CHECKING:
    from tasks.facts.facts import Facts

_DEFAULT = "bridge"
"""Docker's default network."""


def named(networks: Iterable[str]) -> list[str]:
    """The networks that can be removed."""
    return sorted({*networks} - {_DEFAULT})


def start_container(programs: Programs, name: str, networks: Iterable[str], command: Command, context: Context) -> None:
    """Start a container, without its networks that are gone. A recreated network of the same name counts as gone."""
    if _passed(programs, command, context) is not None:
        return
    for each in named(networks):
        run_command(programs, docker.disconnect(each, name), context)
    run_command(programs, docker.start([name]), context)
    for each in named(networks):
        programs.run(replace(docker.connect(each, name), ok=(0, 1)), context)


def start_cluster(facts: Facts, command: Command, context: Context) -> Completed:
    """Start the nodes; if their network is gone (`docker network prune`), in a new one of the same name.

    A tools container of a k3d that failed or was killed is removed: the next k3d would take it for a node, and
    fail after removing it itself.
    """
    tools = {node.name for node in facts.cluster.nodes if node.role == "noRole"}
    if tools:
        run_command(facts.programs, docker.remove(sorted(tools)), context)
    done = _passed(facts.k3d_programs, command, context)
    if done is not None:
        return done
    network = facts.cluster.network
    run_command(facts.programs, docker.remove([f"k3d-{facts.name}-tools"]), context)
    run_command(facts.programs, _create(facts, network), context)
    nodes = {node.name for node in facts.cluster.nodes} - tools
    for each in sorted(nodes | registry_containers(facts.settings).keys()):
        run_command(facts.programs, docker.disconnect(network, each), context)
        run_command(facts.programs, docker.connect(network, each), context)
    return run_command(facts.k3d_programs, command, context)


def join(facts: Facts, network: str, container: str, context: Context, *, make: bool) -> None:
    """Connect a container to a network; a missing network is recreated, or skipped."""
    command = docker.connect(network, container)
    if _passed(facts.programs, command, context) is None and make:
        run_command(facts.programs, _create(facts, network), context)
        run_command(facts.programs, command, context)


def _create(facts: Facts, network: str) -> Command:
    subnet = facts.settings.cluster.subnet
    return docker.create_network(network, None if subnet == "auto" else subnet)


def _passed(programs: Programs, command: Command, context: Context) -> Completed | None:
    """None: a network is gone."""
    try:
        return run_command(programs, command, context)
    except CommandFailed as error:
        if error.cause != "network-gone":
            raise
        return None
