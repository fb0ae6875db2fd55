"""Merging into a daemon.json: checked, backed up, written, recorded, reloaded, and put back where that fails."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.core.digest import sha256
from tasks.core.errors import BadInput, LaunchError
from tasks.engine.step import Context, Report
from tasks.host.daemon import NotReloaded, Place, reload, validate
from tasks.host.daemon_json import MIRRORS, Change, Merged, NotPlain, Wishes, get, members, merged, mirrors, put
from tasks.host.writer import Hands, Kept
from tasks.process.command import Programs

_SUFFIX = ".openframe"
_BACKUP = ".openframe-backup-"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Our changes to one daemon.json."""

    written: str
    """Digest of the file as we wrote it: another one means that somebody has changed it since."""
    changes: Mapping[str, Change] = field(default_factory=dict)
    backup: str | None = None
    """Name of the file with what was there before, beside it; None: there was no file."""
    exact: bool = True
    """All that is different from the backup was done by us."""
    applied: bool = False
    """Docker has told that it works with it."""


def place(file: Path) -> Path:
    """Where the memory of a daemon.json is."""
    return file.with_name(f"{file.name}{_SUFFIX}")


def backup_name(file: Path, stamp: str) -> str:
    """Name of a backup; `stamp` is a time in UTC."""
    return f"{file.name}{_BACKUP}{stamp}"


def is_backup(file: Path, name: str) -> bool:
    """Whether a name is one of ours: what a memory says is read and removed by root."""
    return name.startswith(f"{file.name}{_BACKUP}") and "/" not in name


def dump(memory: Memory) -> bytes:
    """The file."""
    document = {"schema": SCHEMA, "what": "changes by `invoke docker-tune`; --undo takes them back", **asdict(memory)}
    return (json.dumps(document, indent=1) + "\n").encode()


def load(data: bytes, file: Path) -> Memory | None:
    """What `dump` wrote; None for anything else."""
    try:
        document = json.loads(data)
        if document.pop("schema") != SCHEMA:
            return None
        document.pop("what")
        changes = {key: Change(**each) for key, each in document.pop("changes").items()}
        memory = Memory(changes=changes, **document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return memory if _sane(memory, file) else None


def _sane(memory: Memory, file: Path) -> bool:
    texts: tuple[Any, ...] = (memory.written, *(() if memory.backup is None else (memory.backup,)))
    if not all(isinstance(each, str) for each in texts):
        return False
    return memory.backup is None or is_backup(file, memory.backup)


class Untouched(LaunchError):
    """Nothing was changed; a launch can go on without."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a change needs."""

    programs: Programs
    hands: Hands
    place: Place
    context: Context | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def file(self) -> Path:
        """The daemon.json."""
        return self.place.file

    def within(self, context: Context) -> Work:
        """The same as part of a step: its programs end with it, and write to its log."""
        return replace(self, context=context, hands=self.hands.within(context))

    def memory(self) -> Memory | None:
        """What is remembered of it."""
        found = self.hands.read(place(self.file))
        return load(found.data, self.file) if found is not None else None

    def keep(self, memory: Memory | None, like: Kept) -> None:
        """Remember this, for everybody who may read the file itself; or nothing any more."""
        if memory is None:
            self.hands.remove(place(self.file))
        else:
            self.hands.write(place(self.file), replace(like, data=dump(memory)))

    def beside(self, name: str) -> Path:
        """A file in the same folder."""
        return self.file.with_name(name)

    def put(self, after: Kept | None) -> None:
        """The file as given; None: no file."""
        if after is None:
            self.hands.remove(self.file)
        else:
            self.hands.write(self.file, after)

    def bring(self, now: Kept | None, after: Kept | None) -> None:
        """Put the file there and have Docker work with it. Raises `NotReloaded`.

        Docker keeps mirrors that a file does not name any more (moby: `daemon/reload.go`): it is told first, by a
        file that lives for a moment, that there are none.
        """
        assert self.place.running is not None
        pid, text = self.place.running.pid, text_of(self.file, after)
        like = after or now
        if like is not None and _mirrored(now) and get(text, MIRRORS) is None:
            none = put(text, MIRRORS, [])
            self.put(replace(like, data=none.encode()))
            try:
                reload(self.programs, self.hands, pid, none, self.context)
            finally:
                self.put(after)
        else:
            self.put(after)
        reload(self.programs, self.hands, pid, text, self.context)


def text_of(file: Path, kept: Kept | None) -> str:
    """The text of a daemon.json; empty where there is no file. Raises `BadInput`."""
    try:
        return "" if kept is None else kept.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unfit(file, f"its byte {error.start} is no UTF-8") from None


def unfit(file: Path, why: str) -> BadInput:
    """A file that is left as it is, because nobody could say what a change would make of it."""
    return BadInput(
        f"{file} is not plain JSON: nothing was changed",
        why=why,
        fix="correct it (`dockerd --validate` tells what Docker wants), and run it again",
    )


def plan(place: Place, kept: Kept | None, memory: Memory | None, wishes: Wishes) -> Merged:
    """What a merge makes of the file. Raises `BadInput`."""
    earlier = memory.changes if memory is not None and written(kept, memory) else {}
    try:
        return merged(
            text_of(place.file, kept), wishes, earlier, place.running.given if place.running is not None else ()
        )
    except NotPlain as error:
        raise unfit(place.file, str(error)) from None


def settled(kept: Kept | None, memory: Memory | None, made: Merged) -> bool:
    """Whether nothing is left to do: the file is as wished, and Docker works with it as far as is known."""
    unfinished = memory is not None and not memory.applied and written(kept, memory)
    return not made.told and not unfinished


def written(kept: Kept | None, memory: Memory) -> bool:
    """Whether what is remembered was ever written: a run may have ended between the two."""
    return memory.applied or (kept is not None and sha256(kept.data) == memory.written)


def _mirrored(kept: Kept | None) -> bool:
    if kept is None:
        return False
    with contextlib.suppress(NotPlain, UnicodeDecodeError):
        return bool(mirrors(kept.data.decode("utf-8")))
    return False


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
    fresh = Memory(written=sha256(data), changes=made.changes)
    if former is not None and not written(before, former):
        former = None
    if former is not None and before is not None and sha256(before.data) == former.written:
        return replace(fresh, backup=former.backup, exact=former.exact)
    if before is None:
        return fresh
    name = backup_name(work.file, f"{work.clock():%Y%m%dT%H%M%S.%fZ}")
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
        error.amend(fix=f"look at {work.file} ({second.what}); {where}")
    else:
        error.amend(fix="; ".join(filter(None, (f"{work.file} is as it was", error.fix))))


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
    if known and memory.exact and now is not None and sha256(now.data) == memory.written:
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
