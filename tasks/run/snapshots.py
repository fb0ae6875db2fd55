"""How snapshots are saved, restored from, and cleared of what a call has left."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from tasks.clients import docker, volumes
from tasks.clients.snapshots import FORMAT, Journal, Manifest, Restore, SavedNode, Store, check_name
from tasks.core.errors import BadInput, ClusterAbsent, LaunchError
from tasks.core.files import remembered
from tasks.core.units import KIB, megabytes
from tasks.diagnose.command import command_action, run_command
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.cluster import Presence, refuse_foreign
from tasks.facts.endpoint import endpoint
from tasks.k3d.recorded import recall
from tasks.process.command import Command

if TYPE_CHECKING:
    from tasks.facts.cluster import Node
    from tasks.facts.facts import Facts
    from tasks.process.programs import Programs
    from tasks.run.session import Session

TASK = "snapshot"
_ANY = (0, 1)
_SLACK = 64 * 1024
"""Kilobytes that stay free on the engine's disk."""


def store(session: Session) -> Store:
    """The user's snapshots."""
    point = endpoint(session.environ)
    return Store(session.state / "snapshots", engine=point.host or point.context)


def new_id() -> str:
    """Of a snapshot or a restore."""
    return os.urandom(8).hex()


@contextlib.contextmanager
def name_locked(found: Store, name: str, task: str) -> Iterator[None]:
    """Hold a name for this call. Raises `Held`."""
    from tasks.core.lock import held

    found.make()
    with held(found.lock(name), f"{task} of the snapshot '{name}'", 0.0):
        try:
            yield
        finally:
            if not found.path(name).exists():
                found.lock(name).unlink(missing_ok=True)


def clear(programs: Programs, found: Store) -> None:
    """What calls that are over have left: nodes go on that they paused, containers and volumes without a snapshot go.

    A volume that a cluster uses is refused by the engine, and stays.
    """
    for journal in found.abandoned():
        settle(programs, found, journal)


def settle(programs: Programs, found: Store, journal: Journal) -> None:
    """The same for one journal, which its caller holds."""
    if journal.paused:
        programs.run(_tolerant(docker.unpause(journal.paused)), quiet=True)
    ids = programs.run(docker.containers(f"{volumes.LABEL}={journal.name}"), quiet=True).out.split()
    if ids:
        programs.run(_tolerant(docker.remove(ids)), quiet=True)
    left = sorted(set(journal.volumes) - found.named_volumes())
    done = programs.run(_tolerant(docker.remove_volumes(left)), quiet=True) if left else None
    if done is None or done.code == 0:
        journal.path.unlink(missing_ok=True)


def _tolerant(command: Command) -> Command:
    return replace(command, ok=_ANY)


# -- save -------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Saving:
    """One save: what its steps leave for each other."""

    facts: Facts
    name: str
    id: str
    old: Manifest | None
    store: Store
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each node's data, by place."""
    sources: dict[str, str] = field(default_factory=dict)
    """The volume, or folder of the engine's machine, with each node's data, by place."""
    token: str = field(default="", repr=False)
    images: tuple[str, ...] = ()
    paused_at: float | None = None
    away: float = 0.0

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Servers and agents."""
        return self.facts.cluster.of("server", "agent")

    @property
    def to_pause(self) -> tuple[str, ...]:
        """Containers that run: agents first, so that servers are away for the shortest time."""
        return tuple(node.name for node in self.facts.cluster.nodes if node.running)

    def place(self, node: Node) -> str:
        """`server-0`."""
        return node.name.removeprefix(f"k3d-{self.facts.name}-")

    def volume(self, node: Node) -> str:
        """The new volume of a node."""
        return f"openframe-snapshot-{self.id}-{self.place(node)}"

    @property
    def volumes(self) -> list[str]:
        """All that are new or replaced."""
        return [*map(self.volume, self.nodes), *(each.volume for each in (self.old.nodes if self.old else ()))]


def require_savable(facts: Facts) -> None:
    """Raises `BadInput`, `ClusterAbsent`."""
    refuse_foreign(facts.cluster)
    if facts.cluster.presence not in (Presence.RUNNING, Presence.STOPPED):
        raise ClusterAbsent(
            f"there is no cluster '{facts.name}' whose creation was completed",
            why="a snapshot is taken of a cluster that is there",
            fix="invoke up makes it",
        )


def save_steps(saving: Saving) -> list[Step]:
    """Look, pause, copy all nodes at the same time, resume, and write the manifest."""
    nodes = saving.nodes

    def step(name: str, action: Action, why: str, expected: float, *needs: str, wait: bool = False) -> Step:
        return Step(
            name=f"snapshot: {name}",
            task=TASK,
            action=action,
            needs=tuple(f"snapshot: {need}" for need in needs),
            why=why,
            expected=expected,
            wait=wait,
            deadline=3600.0,
        )

    copies = [f"copy {saving.place(node)}" for node in nodes]
    pause, resume = saving.to_pause, "they do not run, and stay so"
    return [
        step("look at the nodes", partial(_look, saving), "their data, its size, and the room for it", 0.8),
        replace(
            step("pause the nodes", partial(_pause, saving), ", ".join(pause), 0.3, "look at the nodes"),
            skip=None if pause else resume,
        ),
        *(
            step(name, partial(_copy, saving, node), f"to {saving.volume(node)}", 1.5, "pause the nodes", wait=True)
            for name, node in zip(copies, nodes, strict=True)
        ),
        replace(
            step("resume the nodes", partial(_resume, saving), "they go on where they were", 0.3, *copies),
            skip=None if pause else resume,
        ),
        step(
            f"record {saving.name}",
            partial(_record, saving),
            f"in place of that of {saving.old.created[:16]}" if saving.old else str(saving.store.path(saving.name)),
            0.1,
            "resume the nodes",
        ),
    ]


def _look(saving: Saving, context: Context) -> Report:
    facts = saving.facts
    programs, nodes = facts.programs, saving.nodes
    found = docker.inspected(programs.run(docker.inspect([node.id for node in nodes]), context, quiet=True).out)
    by_id = {each["Id"]: each for each in found}
    for node in nodes:
        mounts = {each.get("Destination"): each for each in by_id.get(node.id, {}).get("Mounts", ())}
        mount = mounts.get(volumes.DATA, {})
        source = str(mount.get("Name") or mount.get("Source") or "")
        if not source:
            raise LaunchError(
                f"{node.name} does not keep its data in a volume",
                why=f"nothing is mounted at {volumes.DATA}",
                fix="only clusters that k3d made can be saved",
            )
        saving.sources[saving.place(node)] = source
    saving.token = next(
        (text.partition("=")[2] for node in nodes for text in node.env if text.startswith("K3S_TOKEN=")), ""
    )
    command = volumes.sizes(facts.shape.image, saving.id, list(saving.sources.values()))
    *sizes, free = map(int, run_command(programs, command, context).out.split())
    saving.sizes.update({place: size * KIB for place, size in zip(saving.sources, sizes, strict=True)})
    shared = facts.host is not None and facts.host.backing in ("xfs", "btrfs")
    if sum(sizes) + _SLACK > free and not shared:
        raise LaunchError(
            f"there is no room for the snapshot: {megabytes(sum(sizes) * KIB)} are needed",
            why=f"{megabytes(free * KIB)} are free where the engine keeps its volumes",
            fix="invoke snapshot --delete NAME, or docker system prune; nothing was changed",
        )
    first = next((node for node in nodes if node.role == "server" and node.running), None)
    if first is not None:
        rows = docker.listed_images(programs.run(docker.images_inside(first.name), context, quiet=True).out)
        saving.images = tuple(sorted({str(text) for each in rows for text in each.get("repoDigests") or ()}))
    return Report(why=f"{megabytes(sum(sizes) * KIB)} of {len(nodes)} nodes")


def _pause(saving: Saving, context: Context) -> Report:
    saving.paused_at = time.monotonic()
    return Report(exit_code=run_command(saving.facts.programs, docker.pause(saving.to_pause), context).code)


def _copy(saving: Saving, node: Node, context: Context) -> Report:
    programs, place, volume = saving.facts.programs, saving.place(node), saving.volume(node)
    found = programs.run(_tolerant(docker.copy_out(node.name, f"{volumes.IDENTITY}/password")), context, quiet=True)
    password = (docker.extracted(found.raw) or b"") if found.code == 0 else b""
    programs.run(docker.create_volume(volume, {volumes.LABEL: saving.id}), context)
    command = volumes.save(saving.facts.shape.image, saving.id, saving.sources[place], volume, password)
    done = run_command(programs, command, context, listen=volumes.progress(context, saving.sizes[place]))
    sizes = [size for line in done.out.splitlines() if (size := volumes.kilobytes(line)) is not None]
    if sizes:
        saving.sizes[place] = sizes[-1] * KIB
    return Report(exit_code=done.code, why=megabytes(saving.sizes[place]))


def _resume(saving: Saving, context: Context) -> Report:
    act = command_action(saving.facts.programs, docker.unpause(tuple(reversed(saving.to_pause))))
    act(context)
    saving.away = time.monotonic() - (saving.paused_at or time.monotonic())
    return Report(why=f"the cluster was away for {saving.away:.1f} s")


def _record(saving: Saving, _context: Context) -> Report:
    facts, cluster = saving.facts, saving.facts.cluster
    ports = facts.ports
    published = {} if ports is None else {k: v for k, v in vars(ports).items() if v is not None}
    live = facts.live.releases.values() if facts.live is not None else ()
    manifest = Manifest(
        format=FORMAT,
        name=saving.name,
        id=saving.id,
        cluster=facts.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        arch=facts.host.arch if facts.host is not None else "",
        image=recall(cluster.label).get("cluster.image", facts.shape.image),
        servers=len(cluster.of("server")),
        agents=len(cluster.of("agent")),
        token=saving.token,
        engine=saving.store.engine,
        config=cluster.label,
        k3d=remembered(facts.paths.k3d_config) or "",
        ports=published,
        labels=dict(cluster.first.labels) if cluster.first else {},
        releases={f"{each.namespace}/{each.name}": each.chart for each in live},
        images=saving.images,
        nodes=tuple(
            SavedNode(
                place=saving.place(node),
                role=node.role,
                node=node.kubernetes_name,
                volume=saving.volume(node),
                bytes=saving.sizes[saving.place(node)],
            )
            for node in saving.nodes
        ),
    )
    saving.store.put(manifest)
    return Report(why=f"{megabytes(manifest.bytes)}, {len(manifest.nodes)} nodes")


# -- restore ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def restoring(session: Session, name: str, *, acts: bool = True) -> Iterator[None]:
    """Give the session a snapshot that its cluster is made from. Raises `BadInput` where it cannot be used.

    `acts`: whether it is really made; only then anything is left to be cleared.
    """
    if not session.options.owns_cluster:
        raise BadInput(
            "--snapshot has no meaning with the engine existing",
            why="that cluster is not this project's to make",
            fix="leave it out",
        )
    found, programs = store(session), session.programs()
    manifest = found.get(check_name(name))
    restore = Restore(manifest=manifest, id=new_id())
    session.restore = restore
    if not acts:
        yield
        return
    with name_locked(found, name, session.options.task):
        if found.get(name).id != manifest.id:
            raise BadInput(
                f"the snapshot '{name}' was replaced a moment ago", why="by another call", fix="run it again"
            )
        lost = lost_volumes(programs, manifest)
        if lost:
            raise no_data(name, lost)
        made = [volume for node in manifest.nodes for volume in restore.volumes(session.name, node)]
        with found.journal(restore.id, volumes=made) as journal:
            try:
                yield
            except BaseException:
                with contextlib.suppress(LaunchError):  # the next call does it
                    settle(programs, found, journal)
                raise
            journal.path.unlink(missing_ok=True)


def lost_volumes(programs: Programs, manifest: Manifest) -> list[str]:
    """Volumes of a snapshot that the engine does not have."""
    there = set(programs.run(docker.volumes(volumes.LABEL)).out.split())
    return sorted({node.volume for node in manifest.nodes} - there)


def no_data(name: str, lost: Sequence[str]) -> BadInput:
    """A snapshot whose volumes are not there."""
    return BadInput(
        f"the snapshot '{name}' has no data on this engine",
        why=f"volumes that are not there: {', '.join(lost)}",
        fix="use the engine that it was saved on (DOCKER_HOST, docker context), or import it",
    )


def refuse_taken(found: Store, old: Manifest | None, *, replace: bool) -> None:
    """Raises `BadInput` for a name that is taken."""
    if old is not None and replace and old.engine not in ("", found.engine):
        raise BadInput(
            f"the snapshot '{old.name}' is not on this engine",
            why=f"its data is on {old.engine}, and this one is {found.engine}",
            fix="choose another name, or delete it first (invoke snapshot --delete)",
        )
    if old is not None and not replace:
        raise BadInput(
            f"there is a snapshot '{old.name}' already",
            why=f"of the cluster '{old.cluster}', saved at {old.created}",
            fix="add --replace, or choose another name",
        )


def missing_settings(facts: Facts, manifest: Manifest) -> Sequence[str]:
    """Settings in force that differ from those that a snapshot's cluster was made with."""
    from tasks.k3d.recorded import changed

    return changed(facts.settings, facts.shape, manifest.config)
