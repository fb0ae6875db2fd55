"""The stand-in for docker: containers that copy what is in volumes, for snapshots of rehearsed clusters."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tasks.clients.volumes import DATA, IDENTITY
from tasks.rehearsal.program import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.flags import Parsed
    from tasks.rehearsal.folder import Folder
    from tasks.rehearsal.program import Call

PASSWORD = f"{IDENTITY}/password"
_NODE, _FREE = 131_072, 100_000_000
"""Kilobytes of a node, and of the disk."""


def data_volume(container: Container) -> str:
    """The volume with a node's data: an anonymous one unless another is mounted there."""
    named = (bind.split(":")[0] for bind in container["binds"] if bind.split(":")[1:2] == [DATA])
    return next(named, str(container["id"]))


def kept(folder: Folder, volume: str) -> Path:
    """The objects of the cluster whose server's data is in a volume."""
    return folder.state / f"volume-{volume}.db"


def run(call: Call, given: Parsed) -> None:
    """`docker run --rm` of a snapshot: sizes, a save or a restore. Raises `Exit`."""
    mounts = {target: source for source, target, *_ in (row.split(":") for row in given.all("volume"))}
    if "/from/000" in mounts:
        call.say("\n".join([*(str(_NODE) for _ in mounts), str(_FREE)]))
        return
    source, target = mounts.get("/from", ""), mounts.get("/to/data") or mounts.get("/to", "")
    if not source or not target:
        raise Exit(125, "docker: this container is not rehearsed")
    doc = call.engine.read()
    call.wait("registry start")
    _copy(_objects(call.folder, doc, source), kept(call.folder, target))
    call.say(str(_NODE))


def _objects(folder: Folder, doc: Document, volume: str) -> Path:
    """Of a cluster whose first server has this volume, or that was saved into it."""
    for each in doc["containers"].values():
        if data_volume(each) == volume and each["name"].endswith("-server-0"):
            return folder.cluster(each["labels"].get("k3d.cluster", ""))
    return kept(folder, volume)


def restore(folder: Folder, cluster: str, server: Container) -> None:
    """A new cluster finds what is in its first server's volume."""
    _copy(kept(folder, data_volume(server)), folder.cluster(cluster))


def _copy(source: Path, target: Path) -> None:
    if source.exists():
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
