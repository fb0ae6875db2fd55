"""Merging into a daemon.json: checked, backed up, written, reloaded, and put back where that fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tasks.engine.step import Report
from tasks.errors import LaunchError
from tasks.tune import memory as remembering
from tasks.tune.hands import Kept
from tasks.tune.memory import Memory, digest
from tasks.tune.merge import Merged, Wishes
from tasks.tune.reload import validate
from tasks.tune.work import Untouched, Work, plan, settled, written


def tune(work: Work, wishes: Wishes) -> Report:
    """Merge the wishes in. Raises `BadInput`, `Untouched` and other `LaunchError`s; the file is then as it was."""
    before, former = work.hands.read(work.file), work.memory()
    made = plan(work.place, before, former, wishes)
    if settled(before, former, made):
        return Report(why="; ".join((f"{work.file} is as configured", *made.left)), skipped=True)
    _ready(work)
    data = made.text.encode()
    _check(work, data, before)
    like = before if before is not None else _new(work.file)
    memory = _remembered(work, before, former, made, data)
    try:
        work.keep(memory, like)
        work.bring(before, replace(like, data=data))
    except LaunchError as error:
        _put_back(work, before, former, memory, error)
        raise
    work.keep(replace(memory, applied=True), like)
    backup = (f"what was there is in {memory.backup}",) if memory.backup else ()
    return Report(why="; ".join((*made.told, *made.left, *backup)), exit_code=0)


def _ready(work: Work) -> None:
    """Raises `Untouched` where Docker could not be told, or would forget something by it."""
    running = work.place.running
    if running is None:
        raise Untouched(
            f"no dockerd can be seen that reads {work.file}: nothing was changed",
            why="without its process it cannot be told to read the file again, nor be asked whether it takes it",
            fix="run it as root, or name the file that dockerd reads in the setting docker.daemon_json",
        )
    if running.forgotten:
        raise Untouched(
            f"dockerd was started with {', '.join(f'--{name}' for name in running.forgotten)}: nothing was changed",
            why="when it reads daemon.json again, it sets these back to its own defaults",
            fix=f"move them into {work.file}, restart Docker, and run it again",
        )


def _check(work: Work, data: bytes, before: Kept | None) -> None:
    """Raises `Untouched` where dockerd would not start with the new file."""
    against = validate(work.programs, work.place.programs, data, work.context)
    if against is None:
        return
    already = before is not None and validate(work.programs, work.place.programs, before.data, work.context)
    raise Untouched(
        f"Docker would not start with {work.file}: nothing was changed",
        why=already or f"with what docker-tune adds: {against}",
        fix="correct the file, and run it again" if already else "set docker.tune to off, and report this",
    )


def _new(file: Path) -> Kept:
    """How a file is made that is missing: readable for all, and its folder's owner's."""
    folder = file.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    found = folder.stat()
    return Kept(data=b"", mode=0o644, user=found.st_uid, group=found.st_gid)


def _remembered(work: Work, before: Kept | None, former: Memory | None, made: Merged, data: bytes) -> Memory:
    """The memory of the file to be written; what stands there now is backed up, unless all of it is known."""
    fresh = Memory(written=digest(data), changes=made.changes)
    if former is not None and not written(before, former):
        former = None
    if former is not None and before is not None and digest(before.data) == former.written:
        return replace(fresh, backup=former.backup, exact=former.exact)
    if before is None:
        return fresh
    name = remembering.backup_name(work.file, f"{work.clock():%Y%m%dT%H%M%S.%fZ}")
    work.hands.write(work.beside(name), before)
    return replace(fresh, backup=name, exact=former is None)


def _put_back(work: Work, before: Kept | None, former: Memory | None, memory: Memory, error: LaunchError) -> None:
    """The file as it was, and Docker told once more; what cannot be put back is told."""
    try:
        now = work.hands.read(work.file)
        if now != before:
            work.put(before)
            if work.place.running is not None:
                work.hands.signal(work.place.running.pid)
        if before is not None or former is None:
            work.keep(former, before if before is not None else _new(work.file))
        if memory.backup is not None and (former is None or former.backup != memory.backup):
            work.hands.remove(work.beside(memory.backup))
    except LaunchError as second:
        where = f"what was there is in {memory.backup}, beside it" if memory.backup else "there was no such file before"
        error.fix = f"look at {work.file} ({second.what}); {where}"
    else:
        error.fix = "; ".join(filter(None, (f"{work.file} is as it was", error.fix)))
