"""Everything that was made for a cluster, found by exact label, and the steps that remove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.clients import docker
from tasks.diagnose.command import command_action
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.cluster import own_containers
from tasks.facts.facts import Facts
from tasks.k3d.kubeconfig import context_name
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
        entry=_has_entry(facts),
        files=facts.paths.state.exists(),
    )


def _user_file(facts: Facts) -> Path:
    from tasks.clients.kubeconfig import target

    return target(facts.environ)


def _has_entry(facts: Facts) -> bool:
    from tasks.clients.kubeconfig import names_context

    return names_context(_user_file(facts), context_name(facts.name))


def steps(facts: Facts, found: Remains) -> list[Step]:
    """Nodes first, then what they used, side by side."""
    programs = facts.programs
    plan = [
        Step(
            name=NODES,
            task=TASK,
            action=command_action(programs, docker.remove(found.containers)),
            skip=None if found.containers else "there are none",
            why=f"{len(found.containers)} containers with the label {docker.CLUSTER_LABEL}={facts.name}",
            expected=1.5,
        )
    ]
    after: tuple[str, ...] = (NODES,)
    if found.network is not None:
        for guest in found.guests:
            plan.append(
                Step(
                    name=f"down: take {guest} out of the network",
                    task=TASK,
                    action=command_action(programs, docker.disconnect(found.network, guest)),
                    needs=(NODES,),
                    why="it is shared, and stays",
                    expected=0.2,
                )
            )
            after = (*after, plan[-1].name)
    plan += [
        Step(
            name=NETWORK,
            task=TASK,
            action=command_action(programs, docker.remove_network(found.network or "")),
            needs=after,
            skip=None if found.network else "k3d made none for it",
            why=found.network or "",
            expected=0.3,
        ),
        Step(
            name=VOLUMES,
            task=TASK,
            action=command_action(programs, docker.remove_volumes(found.volumes)),
            needs=(NODES,),
            skip=None if found.volumes else "there are none",
            why=", ".join(found.volumes),
            expected=0.1,
        ),
        Step(
            name=ENTRY,
            task=TASK,
            action=_forget(facts),
            needs=(NODES,),
            skip=None if found.entry else "it has none",
            why=str(_user_file(facts)),
            expected=0.05,
        ),
        Step(
            name=FILES,
            task=TASK,
            action=_unlink(facts),
            needs=(NODES,),
            skip=None if found.files else "there are none",
            why=str(facts.paths.state),
            expected=0.05,
        ),
    ]
    return plan


def stop_steps(facts: Facts) -> list[Step]:
    """Stop the nodes; everything of the cluster stays."""
    running_nodes = [node.name for node in facts.cluster.nodes if node.running]
    return [
        Step(
            name="down: stop the nodes",
            task=TASK,
            action=command_action(facts.programs, docker.stop(running_nodes)),
            skip=None if running_nodes else "none of them runs",
            why=", ".join(running_nodes),
            expected=1.0,
        )
    ]


def before(steps: Sequence[Step], making: Sequence[Step]) -> list[Step]:
    """`--recreate`: what makes a cluster waits for what removes the old one."""
    from dataclasses import replace

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


def _forget(facts: Facts) -> Action:
    def act(_context: Context) -> Report | None:
        from tasks.clients.kubeconfig import NotWritten, Unfit, remove

        try:
            changed = remove(_user_file(facts), context_name(facts.name))
        except (NotWritten, Unfit) as error:  # the cluster is gone all the same
            left = f"{error.what}: its entry stays there"
            return Report(skipped=True, why=left, notes=(left,))
        return Report(skipped=not changed, why="" if changed else "it has none")

    return act


def _unlink(facts: Facts) -> Action:
    """The private kubeconfig first: it holds the admin's key."""

    def act(_context: Context) -> Report | None:
        import shutil

        facts.paths.kubeconfig.unlink(missing_ok=True)
        shutil.rmtree(facts.paths.state, ignore_errors=True)
        return None

    return act
