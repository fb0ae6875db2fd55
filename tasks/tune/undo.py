"""Giving a daemon.json back: to the byte, or, where somebody has changed it since, only what is ours is taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tasks.engine.step import Report
from tasks.tune.document import NotPlain, members
from tasks.tune.hands import Kept
from tasks.tune.memory import Memory, digest
from tasks.tune.merge import Wishes, merged
from tasks.tune.reload import NotReloaded
from tasks.tune.work import Work, text_of, unfit

_NEXT_START = "Docker takes it when it starts again"


@dataclass(frozen=True, kw_only=True)
class _Back:
    """What the file becomes."""

    after: Kept | None
    told: tuple[str, ...]
    exact: bool
    """It is as it was before we came."""


def undo(work: Work) -> Report:
    """What was there before. Raises `LaunchError`, `BadInput`; the file is then as it is."""
    now, memory = work.hands.read(work.file), work.memory()
    if memory is None:
        return Report(why=f"nothing in {work.file} is this project's", skipped=True)
    back = _back(work, now, memory)
    told = [*back.told]
    if not _same(now, back.after):
        told += _bring(work, now, back.after)
    work.keep(None, now or Kept(data=b"", mode=0o644, user=0, group=0))
    if memory.backup is not None:
        if back.exact:
            work.hands.remove(work.beside(memory.backup))
        else:
            told.append(f"the backup stays: {memory.backup}")
    return Report(why="; ".join(told), exit_code=0)


def _back(work: Work, now: Kept | None, memory: Memory) -> _Back:
    backup = work.hands.read(work.beside(memory.backup)) if memory.backup is not None else None
    known = memory.backup is None or backup is not None
    if known and _same(now, backup):
        return _Back(after=now, told=(f"{work.file} was as before already",), exact=True)
    if known and memory.exact and now is not None and digest(now.data) == memory.written:
        told = "it is as before, to the byte" if backup is not None else "it is gone, as before"
        return _Back(after=backup, told=(f"{work.file}: {told}",), exact=True)
    if now is None:
        return _Back(after=None, told=(f"{work.file} is gone, and stays so",), exact=False)
    try:
        made = merged(text_of(work.file, now), Wishes(), memory.changes)
        empty = memory.backup is None and not members(made.text)
    except NotPlain as error:
        raise unfit(work.file, str(error)) from None
    after = None if empty else replace(now, data=made.text.encode())
    told = f"{work.file} was changed by somebody since: only what is this project's was taken out"
    return _Back(after=after, told=(told, *made.told, *made.left), exact=False)


def _bring(work: Work, now: Kept | None, after: Kept | None) -> list[str]:
    """Put it there and tell Docker, which need not run: a file that keeps it from starting is given back too."""
    running = work.place.running
    if running is None or running.forgotten:
        work.put(after)
        return [_NEXT_START]
    try:
        work.bring(now, after)
    except NotReloaded as error:
        return [f"{error.what}: {_NEXT_START}"]
    return []


def _same(one: Kept | None, other: Kept | None) -> bool:
    return (one.data if one is not None else None) == (other.data if other is not None else None)
