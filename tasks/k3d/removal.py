"""Everything that was made for a cluster, found by exact label, and the steps that remove it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from tasks.clients import docker
from tasks.clients.kubeconfig import NotWritten, Unfit, names_context, remove, target
from tasks.core.units import count
from tasks.diagnose.command import command_action
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.cluster import own_containers
from tasks.facts.facts import Facts
from tasks.settings.derived import context_name
from tasks.settings.step_names import REMOVE_INCOMPLETE

TASK = "down"
NODES, NETWORK, VOLUMES = "down: nodes", "down: network", "down: volumes"
ENTRY, FILES = "down: entry in your kubeconfig", "down: private files"


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What there is of a cluster."""

    containers: tuple[str, ...] = ()
    network: str | None = None
    """Its name, if it is k3d's own: one that k3d did not make is never removed."""
    guests: tuple[str, ...] = ()
    """Containers in that network that are not of the cluster: registries, and whatever the user put there.

    The engine tells only of those that run; of registries it is known anyway.
    """
    volumes: tuple[str, ...] = ()
    entry: bool = False
    files: bool = False

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to remove."""
        return not (self.containers or self.network or self.volumes or self.entry or self.files)


def remains(facts: Facts) -> Remains:
    """Ask the engine, and look at the files. Raises `BadInput` for a cluster of another user."""
    programs, name = facts.programs, facts.name
    label = f"{docker.CLUSTER_LABEL}={name}"
    containers = tuple(own_containers(programs, name, facts.shape.owner))
    network: str | None = None
    guests: tuple[str, ...] = ()
    found = docker.inspected(programs.run(docker.networks(name)).out)
    if found and (found[0].get("Labels") or {}).get("app") == "k3d":
        # k3d calls a network external that it found there, as one is whose creation was interrupted before its first
        # node (k3d: `ClusterPrepNetwork`); none of another name is ever asked for, so it is this cluster's all the same
        network = str(found[0]["Name"])
        inside = found[0].get("Containers") or {}
        there = {str(each["Name"]) for key, each in inside.items() if key not in containers}
        stopped = {each.name for each in facts.registries.values() if network in each.networks}
        guests = tuple(sorted(there | stopped))  # one that is stopped would not start again without its network
    volumes = tuple(programs.run(docker.volumes(label)).out.split())
    return Remains(
        containers=containers,
        network=network,
        guests=guests,
        volumes=volumes,
        entry=names_context(target(facts.environ), context_name(facts.name)),
        files=facts.paths.state.exists(),
    )


def steps(facts: Facts, found: Remains) -> list[Step]:
    """Nodes first, then concurrently what they used."""
    run = partial(command_action, facts.programs)
    label = f"{docker.CLUSTER_LABEL}={facts.name}"
    plan = [
        Step(
            name=NODES,
            task=TASK,
            action=run(docker.remove(found.containers)),
            skip=None if found.containers else "there are none",
            why=f"{count(len(found.containers), 'container')} with the label {label}",
            expected=1.5,
        )
    ]
    plan += [
        Step(
            name=f"down: take {guest} out of the network",
            task=TASK,
            action=run(docker.disconnect(found.network, guest)),
            needs=(NODES,),
            why="it is shared, and stays",
            expected=0.2,
        )
        for guest in found.guests
        if found.network is not None
    ]
    network = Step(
        name=NETWORK,
        task=TASK,
        action=run(docker.remove_network(found.network or "")),
        needs=tuple(step.name for step in plan),
        skip=None if found.network else "k3d made none for it",
        why=found.network or "",
        expected=0.3,
    )
    volumes, entry, files = ", ".join(found.volumes), str(target(facts.environ)), str(facts.paths.state)
    rows: tuple[tuple[str, Action, bool, str, str, float], ...] = (
        (VOLUMES, run(docker.remove_volumes(found.volumes)), bool(found.volumes), "there are none", volumes, 0.1),
        (ENTRY, partial(_remove_entry, facts), found.entry, "it has none", entry, 0.05),
        (FILES, partial(_remove_files, facts), found.files, "there are none", files, 0.05),
    )
    rest = [
        Step(name=name, task=TASK, action=action, needs=(NODES,), skip=None if there else skip, why=why, expected=time)
        for name, action, there, skip, why, time in rows
    ]
    return [*plan, network, *rest]


def stop_steps(facts: Facts) -> list[Step]:
    """Stop the nodes; everything of the cluster stays. Paused ones are resumed first: they would not hear of it."""
    paused = [node.name for node in facts.cluster.paused]
    nodes = [*paused, *(node.name for node in facts.cluster.nodes if node.running)]
    resume = Step(
        name="down: resume the nodes",
        task=TASK,
        action=command_action(facts.programs, docker.unpause(paused)),
        why="a paused node could not end by itself",
        expected=0.2,
    )
    stop = Step(
        name="down: stop the nodes",
        task=TASK,
        action=command_action(facts.programs, docker.stop(nodes)),
        needs=(resume.name,) if paused else (),
        skip=None if nodes else "none of them runs",
        why=", ".join(nodes),
        expected=1.0,
    )
    return [resume, stop] if paused else [stop]


def pause_steps(facts: Facts) -> list[Step]:
    """Freeze all nodes that run, the load balancer among them; everything stays in memory, and registries go on."""
    nodes = [node.name for node in facts.cluster.nodes if node.running]
    return [
        Step(
            name="down: pause the nodes",
            task=TASK,
            action=command_action(facts.programs, docker.pause(nodes)),
            skip=None if nodes else "they are paused already" if facts.cluster.paused else "none of them runs",
            why=", ".join(nodes),
            expected=0.3,
        )
    ]


def before(steps: Sequence[Step], making: Sequence[Step]) -> list[Step]:
    """`--recreate`: what makes a cluster waits for what removes the old one."""
    names = tuple(step.name for step in steps)
    return [
        *steps,
        *(
            replace(step, needs=(*step.needs, *names))
            if step.task == "cluster" or step.name == REMOVE_INCOMPLETE
            else step
            for step in making
        ),
    ]


def _remove_entry(facts: Facts, _context: Context) -> Report:
    try:
        changed = remove(target(facts.environ), context_name(facts.name))
    except (NotWritten, Unfit) as error:  # the cluster is gone all the same
        left = f"{error.what}: its entry stays there"
        return Report(skipped=True, why=left, notes=(left,))
    return Report(skipped=not changed, why="" if changed else "it has none")


def _remove_files(facts: Facts, _context: Context) -> None:
    """The private kubeconfig first: it holds the admin's key."""
    facts.paths.kubeconfig.unlink(missing_ok=True)
    shutil.rmtree(facts.paths.state, ignore_errors=True)
