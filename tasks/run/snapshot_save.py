"""Saves a snapshot: nodes are paused while their data is copied."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from tasks.clients import docker, volumes
from tasks.clients.snapshots import FORMAT, Manifest, SavedNode, Store
from tasks.core.errors import ClusterAbsent, LaunchError
from tasks.core.files import remembered
from tasks.core.imageref import images_of, parse
from tasks.core.units import KIB, count, megabytes
from tasks.diagnose.command import command_action, run_command
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.cluster import Node, Presence, refuse_foreign
from tasks.facts.facts import Facts
from tasks.facts.running import system_items
from tasks.k3d.recorded import recall
from tasks.run.snapshots import TASK
from tasks.settings.derived import DATA, IDENTITY

_SLACK = 64 * 1024
"""Kilobytes that must stay free on the engine's disk."""


@dataclass(kw_only=True)
class Saving:
    """One save: data that its steps pass on."""

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
        """Running containers: agents first, so that servers are paused for the shortest time."""
        return tuple(node.name for node in self.facts.cluster.nodes if node.running)

    def place(self, node: Node) -> str:
        """`server-0`."""
        return node.name.removeprefix(f"k3d-{self.facts.name}-")

    def volume(self, node: Node) -> str:
        """The new volume of a node."""
        return volumes.volume_name(self.id, self.place(node))

    @property
    def volumes(self) -> list[str]:
        """All new and replaced volumes."""
        return [*map(self.volume, self.nodes), *(each.volume for each in (self.old.nodes if self.old else ()))]


def require_savable(facts: Facts) -> None:
    """Raises `BadInput`, `ClusterAbsent`."""
    refuse_foreign(facts.cluster)
    if not facts.cluster.presence.complete:
        raise ClusterAbsent(
            f"there is no cluster '{facts.name}' whose creation was completed",
            why="a snapshot needs an existing cluster",
            fix="invoke up creates it",
        )


def save_steps(saving: Saving) -> list[Step]:
    """Inspect, pause, copy all nodes concurrently, resume, and write the manifest."""
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
    pause, resume = saving.to_pause, "they are not running"
    return [
        step("look at the nodes", partial(_look, saving), "their data, its size, and the free disk space", 0.8),
        replace(
            step("images of the nodes", partial(_images, saving), "also those of components that start late", 0.5),
            optional=True,
            skip=None if saving.facts.cluster.presence is Presence.RUNNING else resume,
        ),
        replace(
            step(
                "pause the nodes",
                partial(_pause, saving),
                ", ".join(pause),
                0.3,
                "look at the nodes",
                "images of the nodes",
            ),
            skip=None if pause else resume,
        ),
        *(
            step(name, partial(_copy, saving, node), f"to {saving.volume(node)}", 1.5, "pause the nodes", wait=True)
            for name, node in zip(copies, nodes, strict=True)
        ),
        replace(
            step("resume the nodes", partial(_resume, saving), "they continue where they were", 0.3, *copies),
            skip=None if pause else resume,
        ),
        step(
            f"record {saving.name}",
            partial(_record, saving),
            f"replaces that of {saving.old.created[:16]}" if saving.old else str(saving.store.path(saving.name)),
            0.1,
            "resume the nodes",
        ),
    ]


def _look(saving: Saving, context: Context) -> Report:
    facts = saving.facts
    programs, nodes = facts.programs, saving.nodes
    found = docker.inspected(programs.run(docker.inspect([node.id for node in nodes]), context).out)
    by_id = {each["Id"]: each for each in found}
    for node in nodes:
        mounts = {each.get("Destination"): each for each in by_id.get(node.id, {}).get("Mounts", ())}
        mount = mounts.get(DATA, {})
        source = str(mount.get("Name") or mount.get("Source") or "")
        if not source:
            raise LaunchError(
                f"{node.name} does not keep its data in a volume",
                why=f"nothing is mounted at {DATA}",
                fix="only clusters created by k3d can be saved",
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
            f"there is not enough disk space for the snapshot: {megabytes(sum(sizes) * KIB)} are needed",
            why=f"{megabytes(free * KIB)} are free where the engine stores its volumes",
            fix="invoke snapshot --delete NAME, or docker system prune; nothing was changed",
        )
    return Report(why=f"{megabytes(sum(sizes) * KIB)} of {count(len(nodes), 'node')}")


def _images(saving: Saving, context: Context) -> Report:
    """Images in the nodes; system images that no node has are pulled into all, as it is unknown which one needs them.

    The start of metrics-server is deferred, and a cluster may be restored without a network.
    """
    facts, nodes = saving.facts, [node.name for node in saving.nodes if node.running]
    programs = facts.programs
    outputs = [programs.run(docker.node_images(name), context, quiet=True).out for name in nodes]
    rows = [row for out in outputs for row in docker.listed_images(out)]
    saving.images = tuple(sorted({str(text) for each in rows for text in each.get("repoDigests") or ()}))
    there = {parse(name).listed for out in outputs for name in docker.image_names(out)}
    named = images_of(each for each in system_items(facts.api()) if each["kind"] != "Job") if there else ()
    late = [name for name in named if parse(name).listed not in there]
    if not late:
        return Report(why=f"{len(there)}, and all those of the system" if there else "unknown")
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        for each in [pool.submit(programs.run, docker.pull_into_node(name, late, 60.0), context) for name in nodes]:
            each.result()
    return Report(why=f"pulled: {', '.join(late)}")


def _pause(saving: Saving, context: Context) -> Report:
    saving.paused_at = time.monotonic()
    return Report(exit_code=run_command(saving.facts.programs, docker.pause(saving.to_pause), context).code)


def _copy(saving: Saving, node: Node, context: Context) -> Report:
    programs, place, volume = saving.facts.programs, saving.place(node), saving.volume(node)
    read = replace(docker.copy_out(node.name, f"{IDENTITY}/password"), ok=(0, 1))
    found = programs.run(read, context, quiet=True)
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
    return Report(why=f"the cluster was paused for {saving.away:.1f} s")


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
    return Report(why=f"{megabytes(manifest.bytes)}, {count(len(manifest.nodes), 'node')}")
