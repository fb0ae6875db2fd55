"""Restoring from snapshots, and cleaning up after calls that have ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.clients import docker, volumes
from tasks.clients.snapshots import Journal, Manifest, Restore, Store, check_name
from tasks.core.errors import BadInput, LaunchError
from tasks.facts.endpoint import endpoint
from tasks.process.command import Command

if TYPE_CHECKING:
    from tasks.process.programs import Programs
    from tasks.run.session import Session

TASK = "snapshot"
_ANY = (0, 1)


def store(session: Session) -> Store:
    """The user's snapshots."""
    point = endpoint(session.environ)
    return Store(session.state / "snapshots", engine=point.host or point.context)


def new_id() -> str:
    """Ids of a snapshot or a restore."""
    return os.urandom(8).hex()


@contextlib.contextmanager
def name_locked(found: Store, name: str, task: str) -> Iterator[None]:
    """Lock a name for this call. Raises `Held`."""
    from tasks.core.lock import held

    found.make()
    with held(found.lock(name), f"{task} of the snapshot '{name}'", 0.0):
        try:
            yield
        finally:
            if not found.path(name).exists():
                found.lock(name).unlink(missing_ok=True)


def clear(programs: Programs, found: Store) -> None:
    """Clean up after ended calls: resume nodes that they paused, remove containers and volumes without a snapshot.

    The engine refuses to remove a volume that a cluster uses.
    """
    for journal in found.abandoned():
        settle(programs, found, journal)


def settle(programs: Programs, found: Store, journal: Journal) -> None:
    """The same for one journal, which the caller has locked."""
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


@contextlib.contextmanager
def restoring(session: Session, name: str, *, acts: bool = True) -> Iterator[None]:
    """Give the session a snapshot to create its cluster from. Raises `BadInput` if it cannot be used.

    `acts`: whether the cluster is really created; only then there may be something to clean up.
    """
    if not session.options.owns_cluster:
        raise BadInput(
            "--snapshot has no meaning with the engine existing",
            why="that cluster is not created by this project",
            fix="omit it",
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
                with contextlib.suppress(LaunchError):  # left to the next call
                    settle(programs, found, journal)
                raise
            journal.path.unlink(missing_ok=True)


def lost_volumes(programs: Programs, manifest: Manifest) -> list[str]:
    """Volumes of a snapshot that the engine does not have."""
    there = set(programs.run(docker.volumes(volumes.LABEL)).out.split())
    return sorted({node.volume for node in manifest.nodes} - there)


def no_data(name: str, lost: Sequence[str]) -> BadInput:
    """The error for a snapshot whose volumes are missing."""
    return BadInput(
        f"the snapshot '{name}' has no data on this engine",
        why=f"missing volumes: {', '.join(lost)}",
        fix="use the engine that it was saved on (DOCKER_HOST, docker context), or import it",
    )


def refuse_existing(found: Store, old: Manifest | None, *, replace: bool) -> None:
    """Raises `BadInput` for a name that is in use."""
    if old is not None and replace and old.engine not in ("", found.engine):
        raise BadInput(
            f"the snapshot '{old.name}' is not on this engine",
            why=f"its data is on {old.engine}, and this one is {found.engine}",
            fix="choose another name, or delete it first (invoke snapshot --delete)",
        )
    if old is not None and not replace:
        raise BadInput(
            f"a snapshot '{old.name}' already exists",
            why=f"of the cluster '{old.cluster}', saved at {old.created}",
            fix="add --replace, or choose another name",
        )
