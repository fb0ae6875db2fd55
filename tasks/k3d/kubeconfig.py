"""A cluster's kubeconfigs: this project's private one, and the entry in the user's own."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tasks.clients import docker, kubeconfig
from tasks.core.errors import LaunchError
from tasks.core.files import write_whole
from tasks.engine.step import Context, Report, Step
from tasks.facts.cluster import Claim, no_such_file, owner_of, read, refuse_foreign
from tasks.facts.endpoint import endpoint
from tasks.facts.facts import Facts
from tasks.process.command import CommandFailed
from tasks.settings.derived import API_READY, NODE_KUBECONFIG

TASK = "cluster"
MERGE, SWITCH = "cluster: entry in your kubeconfig", "cluster: switch your kubeconfig to it"


def address(facts: Facts) -> tuple[str, int]:
    """Host and port at which the API answers first."""
    ports = facts.outputs.ports or facts.ports
    assert ports is not None
    return "127.0.0.1", ports.first_api


def fetch_kubeconfig(facts: Facts, context: Context | None = None, *, port: int | None = None) -> None:
    """Copy the admin's kubeconfig from the server's container (which needs no process in it) to the private one.

    Mode 0600. Raises `LaunchError`, transient while k3s has not written it.
    """
    container = f"k3d-{facts.name}-server-0"
    try:
        text = _copied(facts, container, context)
    except CommandFailed as error:
        if not no_such_file(error.done.err):
            raise
        text = ""
    host, first = address(facts) if port is None else ("127.0.0.1", port)
    if "clusters:" not in text:
        raise LaunchError(
            f"{container} has not written its kubeconfig yet",
            why=f"{NODE_KUBECONFIG} in it is missing or incomplete",
            fix="this is retried; if it stays so, see: docker logs " + container,
            transient=True,
        )
    kubeconfig.write_private(facts.paths.kubeconfig, kubeconfig.private(text, facts.name, f"https://{host}:{first}"))
    remember_engine(facts)
    facts.forget_api()


def remember_engine(facts: Facts) -> None:
    """Record which engine the files of this cluster belong to: `down` on another engine must leave them.

    Running nodes have some of them mounted, and would not start again without.
    """
    write_whole(facts.paths.engine, f"{endpoint(facts.environ).identity}\n")


def _copied(facts: Facts, container: str, context: Context | None) -> str:
    """The kubeconfig that a server has written; empty if the container does not exist.

    While a cluster is being made its name may be another's by now: of a user of the same engine, or made by hand. With
    its kubeconfig all that follows would go into that one. Raises `BadInput` then.
    """
    found = facts.cluster.first if facts.cluster.presence.complete else None
    server = found.id if found is not None else ""
    if found is None:
        inspected = docker.inspected(facts.programs.run(docker.inspect([container]), context).out)
        mine = owner_of(facts.shape.owner)
        made = read(facts.name, inspected, complete=True, claim=Claim(owner=mine) if mine is not None else None)
        refuse_foreign(made)
        server = made.nodes[0].id if made.nodes else ""
    if not server:
        return ""
    copied = facts.programs.run(docker.copy_out(server, NODE_KUBECONFIG), context, quiet=True)
    return (docker.extracted(copied.raw) or b"").decode()


def steps(facts: Facts, last: tuple[str, ...]) -> list[Step]:
    """Merge when the API answers; switch the context when everything else has succeeded."""
    desired = facts.settings.kubeconfig
    off = "kubeconfig.merge is false"
    merge_skip = None if desired.merge else off
    switch_skip = off if not desired.merge else None if desired.switch else "kubeconfig.switch is false"
    merged = current = False
    notes: tuple[str, ...] = ()
    if merge_skip is None and facts.live is not None:
        merged, current = _state(facts)
        merge_skip = f"{kubeconfig.target(facts.environ)} has it" if merged else None
        if switch_skip is None and current:
            switch_skip = "it is the current context"
    if desired.merge and not (merged and (current or switch_skip)) and (fault := _fault(facts)):
        left = _left(facts, fault)
        merge_skip, switch_skip, notes = merge_skip or left, switch_skip or left, (left,)
    return [
        Step(
            name=MERGE,
            task=TASK,
            action=partial(_edit, facts, partial(_merge, facts)),
            needs=(API_READY,),
            skip=merge_skip,
            notes=notes,
            why=str(kubeconfig.target(facts.environ)),
            expected=0.05,
        ),
        Step(
            name=SWITCH,
            task=TASK,
            action=partial(_edit, facts, partial(_switch, facts)),
            needs=(MERGE, *last),
            skip=switch_skip,
            why="everything else has succeeded",
            expected=0.05,
        ),
    ]


def _fault(facts: Facts) -> str:
    return kubeconfig.unwritable(kubeconfig.target(facts.environ), facts.context)


def _state(facts: Facts) -> tuple[bool, bool]:
    """Whether the user's file has the entry as desired, and whether it is the current context."""
    path = kubeconfig.target(facts.environ)
    entry = facts.paths.kubeconfig.read_text() if facts.paths.kubeconfig.exists() else ""
    return kubeconfig.has_entry(path, entry), kubeconfig.current_context(path) == facts.context


def warnings(steps: Sequence[Step]) -> list[str]:
    """Warnings before a launch: the user's kubeconfig will not contain the cluster."""
    return [f"warning: {step.skip}" for step in steps if step.name == MERGE and step.skip in step.notes]


def _left(facts: Facts, reason: str) -> str:
    return (
        f"{kubeconfig.target(facts.environ)} cannot be written ({reason}): export KUBECONFIG={facts.paths.kubeconfig}"
    )


def _edit(facts: Facts, edit: Callable[[Path], Report], _context: Context) -> Report:
    """Edit the user's file; a launch does not fail if its entry cannot be written there."""
    try:
        return edit(kubeconfig.target(facts.environ))
    except (kubeconfig.NotWritten, kubeconfig.Unfit) as error:
        left = _left(facts, error.reason)
        return Report(why=left, skipped=True, notes=(left,))


def _merge(facts: Facts, path: Path) -> Report:
    changed = kubeconfig.merge(path, facts.paths.kubeconfig.read_text())
    return Report(why=f"{path}" if changed else f"{path} has it", skipped=not changed)


def _switch(facts: Facts, path: Path) -> Report:
    if fault := _fault(facts):
        raise kubeconfig.NotWritten(path, fault)
    return Report(why=facts.context, skipped=not kubeconfig.switch(path, facts.context))
