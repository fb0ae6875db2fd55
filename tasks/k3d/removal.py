"""Everything that was created for a cluster, found by exact label, and the steps that remove it."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tasks.clients import docker
from tasks.clients.kubeconfig import NotWritten, Unfit, leads_to, names_context, remove, target
from tasks.core.errors import LaunchError
from tasks.core.files import remembered
from tasks.core.units import count
from tasks.diagnose.command import command_action, run_command
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.cluster import Claim, age, owner_of, read, refuse_foreign
from tasks.facts.facts import Facts
from tasks.process.command import CommandFailed
from tasks.process.programs import Programs
from tasks.settings.derived import REMOVE_INCOMPLETE

TASK = "down"
NODES, NETWORK, VOLUMES = "down: nodes", "down: network", "down: volumes"
ENTRY, FILES = "down: entry in your kubeconfig", "down: private files"
_BEGUN = 5.0
"""Seconds from a creation's first container to its first node, at most; it takes one (measured)."""
_PAUSE = 0.5
"""Seconds between two checks for it."""


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What exists of a cluster."""

    containers: tuple[str, ...] = ()
    network: str | None = None
    """Its name, if k3d created it: another one is never removed."""
    guests: tuple[str, ...] = ()
    """Registries that are disconnected from that network, running or not, as k3d does it."""
    strangers: tuple[str, ...] = ()
    """What else is in it, such as nodes of a cluster that was created in this network: it is not removed then."""
    volumes: tuple[str, ...] = ()
    entry: bool = False
    other_entry: bool = False
    """The user's kubeconfig has an entry of this name for another cluster."""
    files: bool = False


def own_containers(programs: Programs, name: str, owner: str, context: Context | None = None) -> list[str]:
    """Ids of all containers of a cluster, for immediate removal. `owner`: the label of who removes them.

    k3d first creates a tools container, which does not show its owner: for a recent one wait until a node
    shows the owner, or the creation has been interrupted. Raises `BadInput` for the cluster of another owner: two users
    may create one of the same name at the same moment; and `LaunchError` if the owner remains unknown.
    """
    mine = owner_of(owner)
    for _ in range(round(_BEGUN / _PAUSE) + 2):
        ids = programs.run(docker.containers(*docker.of_cluster(name)), context).out.split()
        if not ids or mine is None:
            return ids
        inspected = docker.inspected(programs.run(docker.inspect(ids), context).out)
        refuse_foreign(read(name, inspected, complete=True, claim=Claim(owner=mine)))
        if not _just_started(inspected):
            return ids
        (context.wait if context is not None else time.sleep)(_PAUSE)
    raise LaunchError(
        f"a cluster '{name}' is being created at this moment",
        why="it has no node yet that shows its owner",
        fix="run it again when that creation is over",
        transient=True,
    )


def _just_started(inspected: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a creation has no node yet and started a moment ago."""
    roles = {(each["Config"].get("Labels") or {}).get("k3d.role") for each in inspected}
    ages = (age({"StartedAt": each.get("Created")}, time.time()) for each in inspected)
    return roles.isdisjoint({"server", "agent"}) and any(age < _BEGUN for age in ages)


def remains(facts: Facts) -> Remains:
    """Query the engine, and check the files. Raises `BadInput` for a cluster of another user."""
    programs, name = facts.programs, facts.name
    containers = tuple(own_containers(programs, name, facts.shape.owner))
    network: str | None = None
    guests: list[str] = []
    strangers: set[str] = set()
    found = docker.inspected(programs.run(docker.networks(name)).out)
    if found:
        members = map(json.loads, programs.run(docker.members(found[0]["Name"])).out.splitlines())
        others = {each["Names"]: each["Labels"] for each in members if each["ID"] not in containers}
        guests = sorted(each for each, labels in others.items() if "k3d.role=registry" in labels.split(","))
        strangers = others.keys() - set(guests)
        if (found[0].get("Labels") or {}).get("app") == "k3d":
            # k3d calls an existing network external, also one whose creation was interrupted before the first
            # node (k3d: `ClusterPrepNetwork`); no other name is ever requested, so it belongs to this cluster anyway
            network = str(found[0]["Name"])
        if network is None or strangers:
            # it stays: only this project's registries leave it, unless nodes of another cluster there need them; else
            # they would count as used by a cluster that is gone
            nodes = any(f"{docker.CLUSTER_LABEL}=" in others[each] for each in strangers)
            guests = [each for each in guests if f"{docker.CACHE_LABEL}=" in others[each] and not nodes]
        strangers = strangers if network is not None else set()
    volumes = tuple(programs.run(docker.volumes(*docker.of_cluster(name))).out.split())
    path, entry = target(facts.environ), facts.context
    listed = names_context(path, entry)
    ours = listed and leads_to(path, entry, remembered(facts.paths.kubeconfig) or "", facts.cluster.port(6443))
    return Remains(
        containers=containers,
        network=network,
        guests=tuple(guests),
        strangers=tuple(sorted(strangers)),
        volumes=volumes,
        entry=ours,
        other_entry=listed and not ours,
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
            action=run(docker.disconnect(f"k3d-{facts.name}", guest)),
            needs=(NODES,),
            why="it is shared, and stays",
            expected=0.2,
        )
        for guest in found.guests
    ]
    stays = f"it stays, since other containers use it: {', '.join(found.strangers)}" if found.strangers else ""
    network = Step(
        name=NETWORK,
        task=TASK,
        action=run(docker.remove_network(found.network or "")),
        needs=tuple(step.name for step in plan),
        skip="k3d created none for it" if not found.network else stays or None,
        why=found.network or "",
        expected=0.3,
    )
    volumes, entry, files = ", ".join(found.volumes), str(target(facts.environ)), str(facts.paths.state)
    no_entry = f"its {facts.context} is another cluster's" if found.other_entry else "it has none"
    rows: tuple[tuple[str, Action, bool, str, str, float], ...] = (
        (VOLUMES, partial(_remove_volumes, facts, found), bool(found.volumes), "there are none", volumes, 0.1),
        (ENTRY, partial(_remove_entry, facts), found.entry, no_entry, entry, 0.05),
        (FILES, partial(_remove_files, facts), found.files, "there are none", files, 0.05),
    )
    rest = [
        Step(name=name, task=TASK, action=action, needs=(NODES,), skip=None if there else skip, why=why, expected=time)
        for name, action, there, skip, why, time in rows
    ]
    return [*plan, network, *rest]


def stop_steps(facts: Facts) -> list[Step]:
    """Stop the nodes; everything of the cluster stays. Paused ones are resumed first to get the signal."""
    paused = [node.name for node in facts.cluster.paused]
    nodes = [*paused, *(node.name for node in facts.cluster.nodes if node.running)]
    resume = Step(
        name="down: resume the nodes",
        task=TASK,
        action=command_action(facts.programs, docker.unpause(paused)),
        why="a paused node cannot handle the stop signal",
        expected=0.2,
    )
    stop = Step(
        name="down: stop the nodes",
        task=TASK,
        action=command_action(facts.programs, docker.stop(nodes)),
        needs=(resume.name,) if paused else (),
        skip=None if nodes else "none of them is running",
        why=", ".join(nodes),
        expected=1.0,
    )
    return [resume, stop] if paused else [stop]


def pause_steps(facts: Facts) -> list[Step]:
    """Freeze all running nodes and the load balancer; memory stays, and registries keep running."""
    nodes = [node.name for node in facts.cluster.nodes if node.running]
    return [
        Step(
            name="down: pause the nodes",
            task=TASK,
            action=command_action(facts.programs, docker.pause(nodes)),
            skip=None if nodes else "they are paused already" if facts.cluster.paused else "none of them is running",
            why=", ".join(nodes),
            expected=0.3,
        )
    ]


def before(steps: Sequence[Step], making: Sequence[Step]) -> list[Step]:
    """`--recreate`: steps that create a cluster wait for those that remove the old one."""
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


def _remove_volumes(facts: Facts, found: Remains, context: Context) -> Report:
    """One that another container uses stays: that container is foreign, since the cluster's own are gone."""
    try:
        return Report(exit_code=run_command(facts.programs, docker.remove_volumes(found.volumes), context).code)
    except CommandFailed as error:
        if error.cause != "volume-in-use":
            raise
        left = f"{error.why}; {error.fix}"
        return Report(why=left, notes=(left,), exit_code=error.done.code)


def _remove_entry(facts: Facts, _context: Context) -> Report:
    try:
        changed = remove(target(facts.environ), facts.context)
    except (NotWritten, Unfit) as error:  # the cluster is gone anyway
        left = f"{error.what}: its entry stays there"
        return Report(skipped=True, why=left, notes=(left,))
    return Report(skipped=not changed, why="" if changed else "it has none")


def _remove_files(facts: Facts, _context: Context) -> None:
    """The private kubeconfig first: it has the admin's key."""
    facts.paths.kubeconfig.unlink(missing_ok=True)
    shutil.rmtree(facts.paths.state, ignore_errors=True)
