"""Snapshots as single files: a tar with the manifest first, then one compressed archive for each node."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from tasks.clients import docker, volumes
from tasks.clients.snapshots import LARGEST, Manifest, SavedNode, check_name, parse
from tasks.core.errors import BadInput, LaunchError, writing
from tasks.core.files import compressed, file_digest, no_file, replacing
from tasks.core.paths import folder_beside
from tasks.core.units import MIB, megabytes
from tasks.diagnose.command import run_command
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.facts import Facts
from tasks.process.command import CommandFailed
from tasks.run.session import Session
from tasks.run.snapshots import TASK, lost_volumes, name_locked, new_id, no_data, refuse_existing, settle, store

_MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """One export or import."""

    facts: Facts
    id: str
    folder: Path
    """For temporary files, on the disk of the exported file."""


def export(session: Session, name: str, target: Path) -> int:
    """Write a snapshot into a file, mode 0600, atomically. Raises `BadInput`, `LaunchError`."""
    from tasks.run.gather import gather
    from tasks.run.session import bounds
    from tasks.view.console import err

    found = store(session)
    if not target.parent.is_dir():
        raise BadInput(f"the folder {target.parent} does not exist", why="the file goes there", fix="create it first")
    if os.path.lexists(target) and not _is_export(target):
        raise BadInput(
            f"{target} exists, and is not an exported snapshot", why="it would be overwritten", fix="choose another"
        )
    manifest = found.get(name)
    with name_locked(found, name, "snapshot --export"):
        session.open_logs()
        facts = gather(session, (), refuse=False)
        lost = lost_volumes(facts.programs, manifest)
        if lost:
            raise no_data(name, lost)
        free = shutil.disk_usage(target.parent).free
        if free < manifest.bytes // 2:
            raise LaunchError(
                f"there is not enough disk space for {target}",
                why=f"{megabytes(free)} are free, and it is of {megabytes(manifest.bytes)} before compression",
                fix="choose a file on another disk",
            )
        own = new_id()
        temporary = [volumes.volume_name(own, node.place) for node in manifest.nodes]
        with folder_beside(target) as folder, found.journal(own, volumes=temporary) as journal:
            transfer = Transfer(facts=facts, id=own, folder=folder)
            steps = [_step(f"pack {node.place}", partial(_pack, transfer, node)) for node in manifest.nodes]
            write = _step(f"write {target.name}", writing(target)(partial(_write, transfer, manifest, target)))
            steps.append(replace(write, needs=tuple(step.name for step in steps)))
            try:
                session.run(steps, bounds(facts), facts=facts)
            finally:
                settle(facts.programs, found, journal)
    err([f"{target} contains the cluster's secrets and the keys of its API: protect it accordingly."])
    return 0


def _is_export(path: Path) -> bool:
    if no_file(path):
        return False
    try:
        with tarfile.open(path, mode="r:") as archive:
            first = archive.next()
    except (OSError, tarfile.TarError):
        return False
    return first is not None and first.name == _MANIFEST


def _step(name: str, action: Action) -> Step:
    return Step(name=f"snapshot: {name}", task=TASK, action=action, deadline=3600.0, expected=5.0)


def _pack(transfer: Transfer, node: SavedNode, context: Context) -> Report:
    """Pack in a container beside the data, then copy it out with docker."""
    facts, volume = transfer.facts, volumes.volume_name(transfer.id, node.place)
    programs, image = facts.programs, facts.shape.image
    programs.run(docker.create_volume(volume, {volumes.LABEL: transfer.id}), context)
    run_command(programs, volumes.pack(image, transfer.id, node.volume, volume), context)
    container = programs.run(volumes.holder(image, transfer.id, volume), context).out.strip()
    path = transfer.folder / node.place
    run_command(programs, volumes.fetch(container, path), context)
    return Report(why=megabytes(path.stat().st_size))


def _write(transfer: Transfer, manifest: Manifest, target: Path, _context: Context) -> Report:
    nodes = tuple(replace(each, sha256=file_digest(transfer.folder / each.place)) for each in manifest.nodes)
    text = replace(manifest, nodes=nodes, engine="").text().encode()
    checked = json.dumps({"manifest": text.decode(), "sha256": hashlib.sha256(text).hexdigest()}).encode()
    with replacing(target) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo(_MANIFEST)
        entry.size, entry.mode = len(checked), 0o600
        archive.addfile(entry, io.BytesIO(checked))
        for each in nodes:
            path = transfer.folder / each.place
            entry = tarfile.TarInfo(each.place)
            entry.size, entry.mode = path.stat().st_size, 0o600
            with path.open("rb") as packed:
                archive.addfile(entry, packed)
            path.unlink()
    return Report(why=megabytes(target.stat().st_size))


# -- import -----------------------------------------------------------------------------------------------


def import_file(session: Session, path: Path, name: str, *, replace_old: bool) -> int:
    """Create a snapshot from an untrusted file. Raises `BadInput`, `LaunchError`."""
    from tasks.run.gather import gather
    from tasks.run.session import bounds

    found = store(session)
    with _opened(path) as (read, members):
        saved = replace(read, name=check_name(name or read.name), id=new_id(), engine=found.engine)
        with name_locked(found, saved.name, "snapshot --import"):
            old = found.find(saved.name)
            refuse_existing(found, old, replace=replace_old)
            session.open_logs()
            facts = gather(session, (), refuse=False)
            if facts.host is not None and facts.host.arch != saved.arch:
                raise BadInput(
                    f"{path} is for another architecture",
                    why=f"it is for {saved.arch}, and this engine for {facts.host.arch}",
                    fix="import it on a machine of that architecture",
                )
            nodes = tuple(replace(each, volume=volumes.volume_name(saved.id, each.place)) for each in saved.nodes)
            transfer = Transfer(facts=facts, id=saved.id, folder=path.parent)
            made = [*(each.volume for each in nodes), *(each.volume for each in (old.nodes if old else ()))]
            steps = [
                _step(f"unpack {each.place}", partial(_unpack, transfer, path, members[each.place], each))
                for each in nodes
            ]
            final = replace(saved, nodes=nodes)
            record = _step(f"record {saved.name}", lambda _context: found.put(final))
            steps.append(replace(record, needs=tuple(step.name for step in steps)))
            with found.journal(saved.id, volumes=made) as journal:
                try:
                    session.run(steps, bounds(facts), facts=facts)
                finally:
                    settle(facts.programs, found, journal)
    return 0


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Manifest, Mapping[str, tuple[int, int]]]]:
    """The manifest, and the position of each node's archive: offset and bytes. Checksums are verified.

    Raises `BadInput`.
    """

    def bad(why: str) -> BadInput:
        return BadInput(f"{path} cannot be imported", why=why, fix="export it again; nothing was changed")

    try:
        if why := no_file(path) or compressed(path):
            raise bad(why)
        with path.open("rb") as file:
            try:
                with tarfile.open(fileobj=file, mode="r:") as archive:
                    entries = archive.getmembers()
                    if any(not each.isreg() for each in entries) or not entries or entries[0].name != _MANIFEST:
                        raise bad("it is not an exported snapshot")
                    head = archive.extractfile(entries[0])
                    if head is None or entries[0].size > LARGEST:
                        raise bad("its manifest is too large")
                    outer = json.loads(head.read())
            except (tarfile.TarError, ValueError, EOFError):
                raise bad("it is not an exported snapshot, or is truncated") from None
            if not isinstance(outer, dict) or not isinstance(text := outer.get("manifest"), str):
                raise bad("its manifest is not valid")
            saved = parse(text, f"{path}")
            if hashlib.sha256(text.encode()).hexdigest() != outer.get("sha256"):
                raise bad("the checksum of its manifest is wrong")
            where = {each.name: (each.offset_data, each.size) for each in entries[1:]}
            if sorted(where) != sorted(each.place for each in saved.nodes) or len(where) != len(entries) - 1:
                raise bad("it does not hold exactly its nodes' archives: " + ", ".join(each.name for each in entries))
            for each in saved.nodes:
                digest, size = hashlib.sha256(), 0
                for piece in _pieces(path, *where[each.place]):
                    digest.update(piece)
                    size += len(piece)
                if size != where[each.place][1]:
                    raise bad(f"it is truncated within {each.place}")
                if digest.hexdigest() != each.sha256:
                    raise bad(f"the checksum of {each.place} is wrong")
            yield saved, where
    except OSError as error:
        raise bad(error.strerror or str(error)) from None


def _pieces(path: Path, offset: int, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while size and (piece := file.read(min(size, MIB))):
            size -= len(piece)
            yield piece


def _unpack(transfer: Transfer, path: Path, where: tuple[int, int], node: SavedNode, context: Context) -> Report:
    programs = transfer.facts.programs

    def feed(pipe: BinaryIO) -> None:
        done = 0
        for piece in _pieces(path, *where):
            pipe.write(piece)
            done += len(piece)
            context.say(megabytes(done, where[1]))

    programs.run(docker.create_volume(node.volume, {volumes.LABEL: transfer.id}), context)
    try:
        run_command(
            programs, volumes.unpack(transfer.facts.shape.image, transfer.id, node.volume, node.bytes, feed), context
        )
    except CommandFailed as error:
        if error.done.code == volumes.NOT_SOUND:
            raise BadInput(
                f"{path} cannot be imported: {node.place}",
                why=error.done.err.strip().splitlines()[-1] if error.done.err.strip() else "its archive is damaged",
                fix="export it again; nothing was changed",
            ) from None
        raise
    return Report(why=megabytes(node.bytes))
