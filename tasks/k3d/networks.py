"""Networks that were removed while what is in them did not run: Docker then refuses to start it for ever."""

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
"""The network in which Docker puts a container that names none."""


def named(networks: Iterable[str]) -> list[str]:
    """Those that can be removed."""
    return sorted({*networks} - {_DEFAULT})


def start_container(programs: Programs, name: str, networks: Iterable[str], command: Command, context: Context) -> None:
    """Start it, without those of its networks that are gone. One that was made again under its name is another one."""
    if _passed(programs, command, context) is not None:
        return
    for each in named(networks):
        run_command(programs, docker.disconnect(each, name), context)
    run_command(programs, docker.start([name]), context)
    for each in named(networks):
        programs.run(replace(docker.connect(each, name), ok=(0, 1)), context)


def start_cluster(facts: Facts, command: Command, context: Context) -> Completed:
    """Start its nodes; where their network is gone (`docker network prune`), in a new one of the same name.

    A container of tools that a k3d left when it failed or was killed is removed: the next k3d takes it for a node, and
    fails when it has removed it itself.
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
    """Put a container into a network; one that is gone is made anew, or left alone."""
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
