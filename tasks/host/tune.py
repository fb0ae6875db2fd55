"""Merging into a daemon.json: checked, backed up, written, recorded, reloaded, and put back where that fails."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import sha256
from tasks.engine.step import Context, Report
from tasks.host.daemon import NotReloaded, Place, Read, reload, validate
from tasks.host.daemon_json import MIRRORS, Change, Desired, Merged, NotPlain, merged, mirrors, parse
from tasks.host.daemon_json import dump as dump_json
from tasks.host.writer import FileState, Writer, existing
from tasks.process.programs import Programs

_SUFFIX = ".openframe"
_BACKUP = ".openframe-backup-"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ChangeRecord:
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


def record_path(file: Path) -> Path:
    """Where the record of a daemon.json is."""
    return file.with_name(f"{file.name}{_SUFFIX}")


def backup_name(file: Path, stamp: str) -> str:
    """Name of a backup; `stamp` is a time in UTC."""
    return f"{file.name}{_BACKUP}{stamp}"


def dump_record(record: ChangeRecord) -> bytes:
    """The file."""
    document = {"schema": SCHEMA, "what": "changes by `invoke docker-tune`; --undo takes them back", **asdict(record)}
    return (json.dumps(document, indent=1) + "\n").encode()


def load_record(data: bytes, file: Path) -> ChangeRecord | None:
    """What `dump` wrote; None for anything else."""
    try:
        document = json.loads(data)
        if document.pop("schema") != SCHEMA:
            return None
        document.pop("what")
        changes = {key: Change(**each) for key, each in document.pop("changes").items()}
        record = ChangeRecord(changes=changes, **document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if isinstance(record.written, str) and _is_backup(file, record.backup) else None


def recorded(file: Path, read: Read) -> ChangeRecord | None:
    """What is remembered of a daemon.json."""
    found = read(record_path(file))
    return load_record(found.data, file) if found is not None else None


def _is_backup(file: Path, name: Any) -> bool:  # noqa: ANN401 - of a file that anybody may have written
    """Whether a backup is one of ours, or none: what a record names is read and removed by root."""
    return name is None or (isinstance(name, str) and name.startswith(f"{file.name}{_BACKUP}") and "/" not in name)


class Untouched(LaunchError):
    """Nothing was changed; a launch can go on without."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a change needs."""

    programs: Programs
    writer: Writer
    place: Place
    context: Context | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def file(self) -> Path:
        """The daemon.json."""
        return self.place.file

    def within(self, context: Context) -> Work:
        """The same as part of a step: its programs end with it, and write to its log."""
        return replace(self, context=context, writer=self.writer.within(context))

    def record(self) -> ChangeRecord | None:
        """What is remembered of it."""
        return recorded(self.file, self.writer.read)

    def keep(self, record: ChangeRecord | None, like: FileState) -> None:
        """Remember this, for everybody who may read the file itself; or nothing any more."""
        if record is None:
            self.writer.remove(record_path(self.file))
        else:
            self.writer.write(record_path(self.file), replace(like, data=dump_record(record)))

    def beside(self, name: str) -> Path:
        """A file in the same folder."""
        return self.file.with_name(name)

    def put(self, after: FileState | None) -> None:
        """The file as given; None: no file."""
        if after is None:
            self.writer.remove(self.file)
        else:
            self.writer.write(self.file, after)

    def bring(self, now: FileState | None, after: FileState | None) -> None:
        """Put the file there and have Docker work with it. Raises `NotReloaded`.

        Docker keeps mirrors that a file does not name any more (moby: `daemon/reload.go`): it is told first, by a
        file that lives for a moment, that there are none.
        """
        assert self.place.running is not None
        pid, text = self.place.running.pid, text_of(self.file, after)
        like = after or now
        if like is not None and _mirrored(now) and MIRRORS not in parse(text):
            none = dump_json({**parse(text), MIRRORS: []}, text)
            self.put(replace(like, data=none.encode()))
            try:
                reload(self.programs, self.writer, pid, none, self.context)
            finally:
                self.put(after)
        else:
            self.put(after)
        reload(self.programs, self.writer, pid, text, self.context)


def text_of(file: Path, state: FileState | None) -> str:
    """The text of a daemon.json; empty where there is no file. Raises `BadInput`."""
    try:
        return "" if state is None else state.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unfit(file, f"its byte {error.start} is no UTF-8") from None


def unfit(file: Path, why: str) -> BadInput:
    """A file that is left as it is, because nobody could say what a change would make of it."""
    return BadInput(
        f"{file} is not plain JSON: nothing was changed",
        why=why,
        fix="correct it (`dockerd --validate` tells what Docker wants), and run it again",
    )


def plan(place: Place, state: FileState | None, record: ChangeRecord | None, desired: Desired) -> Merged:
    """What a merge makes of the file. Raises `BadInput`."""
    earlier = record.changes if record is not None and written(state, record) else {}
    try:
        return merged(
            text_of(place.file, state), desired, earlier, place.running.given if place.running is not None else ()
        )
    except NotPlain as error:
        raise unfit(place.file, str(error)) from None


def settled(state: FileState | None, record: ChangeRecord | None, made: Merged) -> bool:
    """Whether nothing is left to do: the file is as wished, and Docker works with it as far as is known."""
    unfinished = record is not None and not record.applied and written(state, record)
    return not made.messages and not unfinished


def written(state: FileState | None, record: ChangeRecord) -> bool:
    """Whether what is remembered was ever written: a run may have ended between the two."""
    return record.applied or (state is not None and sha256(state.data) == record.written)


def _mirrored(state: FileState | None) -> bool:
    if state is None:
        return False
    with contextlib.suppress(NotPlain, UnicodeDecodeError):
        return bool(mirrors(parse(state.data.decode("utf-8"))))
    return False


def tune(work: Work, desired: Desired) -> Report:
    """Merge the desired in. Raises `BadInput`, `Untouched` and other `LaunchError`s; the file is then as it was."""
    before, former = work.writer.read(work.file), work.record()
    made = plan(work.place, before, former, desired)
    if settled(before, former, made):
        return Report(why="; ".join((f"{work.file} is as configured", *made.left)), skipped=True)
    _ready(work)
    data = made.text.encode()
    _check(work, data, before)
    like = before if before is not None else _new(work.file)
    record = _remembered(work, before, former, made, data)
    try:
        work.keep(record, like)
        work.bring(before, replace(like, data=data))
    except LaunchError as error:
        _put_back(work, before, former, record, error)
        raise
    work.keep(replace(record, applied=True), like)
    backup = (f"what was there is in {record.backup}",) if record.backup else ()
    return Report(why="; ".join((*made.messages, *made.left, *backup)), exit_code=0)


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


def _check(work: Work, data: bytes, before: FileState | None) -> None:
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


def _new(file: Path) -> FileState:
    """How a file is made that is missing: readable for all, and its folder's owner's."""
    found = existing(file.parent).stat()
    return FileState(data=b"", mode=0o644, user=found.st_uid, group=found.st_gid)


def _remembered(
    work: Work, before: FileState | None, former: ChangeRecord | None, made: Merged, data: bytes
) -> ChangeRecord:
    """The record of the file to be written; what is there now is backed up, unless all of it is known."""
    fresh = ChangeRecord(written=sha256(data), changes=made.changes)
    if former is not None and not written(before, former):
        former = None
    if former is not None and before is not None and sha256(before.data) == former.written:
        return replace(fresh, backup=former.backup, exact=former.exact)
    if before is None:
        return fresh
    name = backup_name(work.file, f"{work.clock():%Y%m%dT%H%M%S.%fZ}")
    work.writer.write(work.beside(name), before)
    return replace(fresh, backup=name, exact=former is None)


def _put_back(
    work: Work, before: FileState | None, former: ChangeRecord | None, record: ChangeRecord, error: LaunchError
) -> None:
    """The file as it was, and Docker told once more; what cannot be put back is told."""
    try:
        now = work.writer.read(work.file)
        if now != before:
            work.put(before)
            if work.place.running is not None:
                work.writer.signal(work.place.running.pid)
        if before is not None or former is None:
            work.keep(former, before if before is not None else _new(work.file))
        if record.backup is not None and (former is None or former.backup != record.backup):
            work.writer.remove(work.beside(record.backup))
    except LaunchError as second:
        where = f"what was there is in {record.backup}, beside it" if record.backup else "there was no such file before"
        error.amend(fix=f"look at {work.file} ({second.what}); {where}")
    else:
        error.amend(fix="; ".join(filter(None, (f"{work.file} is as it was", error.fix))))


_NEXT_START = "Docker takes it when it starts again"


@dataclass(frozen=True, kw_only=True)
class _Back:
    """What the file becomes."""

    after: FileState | None
    messages: tuple[str, ...]
    exact: bool
    """It is as it was before we came."""


def undo(work: Work) -> Report:
    """What was there before. Raises `LaunchError`, `BadInput`; the file is then as it is."""
    now, record = work.writer.read(work.file), work.record()
    if record is None:
        return Report(why=f"nothing in {work.file} is this project's", skipped=True)
    back = _back(work, now, record)
    messages = [*back.messages]
    if not _same(now, back.after):
        messages += _bring(work, now, back.after)
    work.keep(None, now or FileState(data=b"", mode=0o644, user=0, group=0))
    if record.backup is not None:
        if back.exact:
            work.writer.remove(work.beside(record.backup))
        else:
            messages.append(f"the backup stays: {record.backup}")
    return Report(why="; ".join(messages), exit_code=0)


def _back(work: Work, now: FileState | None, record: ChangeRecord) -> _Back:
    backup = work.writer.read(work.beside(record.backup)) if record.backup is not None else None
    known = record.backup is None or backup is not None
    if known and _same(now, backup):
        return _Back(after=now, messages=(f"{work.file} was as before already",), exact=True)
    if known and record.exact and now is not None and sha256(now.data) == record.written:
        text = "it is as before, to the byte" if backup is not None else "it is gone, as before"
        return _Back(after=backup, messages=(f"{work.file}: {text}",), exact=True)
    if now is None:
        return _Back(after=None, messages=(f"{work.file} is gone, and stays so",), exact=False)
    try:
        made = merged(text_of(work.file, now), Desired(), record.changes)
        empty = record.backup is None and not parse(made.text)
    except NotPlain as error:
        raise unfit(work.file, str(error)) from None
    after = None if empty else replace(now, data=made.text.encode())
    text = f"{work.file} was changed by somebody since: only what is this project's was taken out"
    return _Back(after=after, messages=(text, *made.messages, *made.left), exact=False)


def _bring(work: Work, now: FileState | None, after: FileState | None) -> list[str]:
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


def _same(one: FileState | None, other: FileState | None) -> bool:
    return (one.data if one is not None else None) == (other.data if other is not None else None)
