"""Merges values into a daemon.json: validated, backed up, written, recorded, reloaded, and restored on failure."""

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
from tasks.host.writer import FileState, Writer, existing, writer_for
from tasks.process.programs import Programs

_SUFFIX = ".openframe"
_BACKUP = ".openframe-backup-"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ChangeRecord:
    """Changes of this project to one daemon.json."""

    written: str
    """Digest of the file as written: another one means that it was changed since."""
    changes: Mapping[str, Change] = field(default_factory=dict)
    backup: str | None = None
    """File name of the backup, in the same folder; None: there was no file."""
    exact: bool = True
    """Whether all differences to the backup are this project's."""
    applied: bool = False
    """Whether Docker has confirmed the reload."""


def record_path(file: Path) -> Path:
    """The path of the record of a daemon.json."""
    return file.with_name(f"{file.name}{_SUFFIX}")


def backup_name(file: Path, stamp: str) -> str:
    """Name of a backup; `stamp` is a time in UTC."""
    return f"{file.name}{_BACKUP}{stamp}"


def dump_record(record: ChangeRecord) -> bytes:
    """The record as a file."""
    document = {"schema": SCHEMA, "what": "changes by `invoke docker-tune`; --undo takes them back", **asdict(record)}
    return (json.dumps(document, indent=1) + "\n").encode()


def load_record(data: bytes, file: Path) -> ChangeRecord | None:
    """The inverse of `dump_record`; None for anything else."""
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
    """The recorded changes of a daemon.json."""
    found = read(record_path(file))
    return load_record(found.data, file) if found is not None else None


def _is_backup(file: Path, name: Any) -> bool:  # noqa: ANN401 - of a file that anybody may have written
    """Whether a backup has this project's name, or is None: root reads and removes the file in a record."""
    return name is None or (isinstance(name, str) and name.startswith(f"{file.name}{_BACKUP}") and "/" not in name)


class Untouched(LaunchError):
    """Nothing was changed; a launch can continue without it."""


def work_at(place: Place, programs: Programs) -> Work:
    """The inputs of a change with this user's rights. Raises `NoRights`."""
    return Work(programs=programs, writer=writer_for(place.file, programs), place=place)


@dataclass(frozen=True, kw_only=True)
class Work:
    """The inputs of a change."""

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
        """The recorded changes."""
        return recorded(self.file, self.writer.read)

    def keep(self, record: ChangeRecord | None, like: FileState) -> None:
        """Store the record, readable like the file itself; None removes it."""
        if record is None:
            self.writer.remove(record_path(self.file))
        else:
            self.writer.write(record_path(self.file), replace(like, data=dump_record(record)))

    def beside(self, name: str) -> Path:
        """A file in the same folder."""
        return self.file.with_name(name)

    def put(self, after: FileState | None) -> None:
        """Write the given file; None removes it."""
        if after is None:
            self.writer.remove(self.file)
        else:
            self.writer.write(self.file, after)

    def bring(self, now: FileState | None, after: FileState | None) -> None:
        """Write the file and reload Docker. Raises `NotReloaded`.

        Docker keeps mirrors that are no longer in the file (moby: `daemon/reload.go`): so a temporary file first sets
        an empty list.
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
    """The text of a daemon.json; empty if there is no file. Raises `BadInput`."""
    try:
        return "" if state is None else state.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unfit(file, f"its byte {error.start} is not UTF-8") from None


def unfit(file: Path, why: str) -> BadInput:
    """The error for a file that is left unchanged, since the result of a change would be unclear."""
    return BadInput(
        f"{file} is not plain JSON: nothing was changed",
        why=why,
        fix="correct it (`dockerd --validate` shows what Docker expects), and run it again",
    )


def plan(place: Place, state: FileState | None, record: ChangeRecord | None, desired: Desired) -> Merged:
    """The result of a merge. Raises `BadInput`."""
    earlier = record.changes if record is not None and written(state, record) else {}
    try:
        return merged(
            text_of(place.file, state), desired, earlier, place.running.given if place.running is not None else ()
        )
    except NotPlain as error:
        raise unfit(place.file, str(error)) from None


def settled(state: FileState | None, record: ChangeRecord | None, made: Merged) -> bool:
    """Whether nothing is left to do: the file is as desired, and Docker uses it as far as known."""
    unfinished = record is not None and not record.applied and written(state, record)
    return not made.messages and not unfinished


def written(state: FileState | None, record: ChangeRecord) -> bool:
    """Whether the recorded file was ever written: a run may have ended between the two."""
    return record.applied or (state is not None and sha256(state.data) == record.written)


def _mirrored(state: FileState | None) -> bool:
    if state is None:
        return False
    with contextlib.suppress(NotPlain, UnicodeDecodeError):
        return bool(mirrors(parse(state.data.decode("utf-8"))))
    return False


def tune(work: Work, desired: Desired) -> Report:
    """Merge the desired values. Raises `BadInput`, `Untouched` and other `LaunchError`s; the file is unchanged then."""
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
        _restore(work, before, former, record, error)
        raise
    work.keep(replace(record, applied=True), like)
    backup = (f"the previous file is {record.backup}",) if record.backup else ()
    return Report(why="; ".join((*made.messages, *made.left, *backup)), exit_code=0)


def _ready(work: Work) -> None:
    """Raises `Untouched` if Docker cannot be reloaded, or a reload would drop a setting."""
    running = work.place.running
    if running is None:
        raise Untouched(
            f"no dockerd that reads {work.file} is visible: nothing was changed",
            why="without its process it can be neither reloaded nor checked",
            fix="run it as root, or set docker.daemon_json to the file that dockerd reads",
        )
    if running.forgotten:
        raise Untouched(
            f"dockerd was started with {', '.join(f'--{name}' for name in running.forgotten)}: nothing was changed",
            why="a reload of daemon.json would reset these to the defaults",
            fix=f"move them into {work.file}, restart Docker, and run it again",
        )


def _check(work: Work, data: bytes, before: FileState | None) -> None:
    """Raises `Untouched` if dockerd would not start with the new file."""
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
    """Mode and owner of a new file: readable for all, with the owner of its folder."""
    found = existing(file.parent).stat()
    return FileState(data=b"", mode=0o644, user=found.st_uid, group=found.st_gid)


def _remembered(
    work: Work, before: FileState | None, former: ChangeRecord | None, made: Merged, data: bytes
) -> ChangeRecord:
    """The record of the file to be written; the current file is backed up, unless all of it is known."""
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


def _restore(
    work: Work, before: FileState | None, former: ChangeRecord | None, record: ChangeRecord, error: LaunchError
) -> None:
    """Restore the file and reload Docker; report what cannot be restored."""
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
        where = f"the previous file is {record.backup}" if record.backup else "there was no such file before"
        error.amend(fix=f"check {work.file} ({second.what}); {where}")
    else:
        error.amend(fix="; ".join(filter(None, (f"{work.file} was restored", error.fix))))


_NEXT_START = "Docker reads it at its next start"


@dataclass(frozen=True, kw_only=True)
class _Back:
    """The result of an undo."""

    after: FileState | None
    messages: tuple[str, ...]
    exact: bool
    """Whether it is the original file."""


def undo(work: Work) -> Report:
    """Restore the previous state. Raises `LaunchError`, `BadInput`; the file is unchanged then."""
    now, record = work.writer.read(work.file), work.record()
    if record is None:
        return Report(why=f"nothing in {work.file} is this project's", skipped=True)
    back = _back(work, now, record)
    messages = [*back.messages]
    if not _same(now, back.after):
        messages += _write_and_reload(work, now, back.after)
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
        return _Back(after=now, messages=(f"{work.file} was already as before",), exact=True)
    if known and record.exact and now is not None and sha256(now.data) == record.written:
        text = "it is as before, byte for byte" if backup is not None else "it is removed, as before"
        return _Back(after=backup, messages=(f"{work.file}: {text}",), exact=True)
    if now is None:
        return _Back(after=None, messages=(f"{work.file} does not exist, and was not created",), exact=False)
    try:
        made = merged(text_of(work.file, now), Desired(), record.changes)
        empty = record.backup is None and not parse(made.text)
    except NotPlain as error:
        raise unfit(work.file, str(error)) from None
    after = None if empty else replace(now, data=made.text.encode())
    text = f"{work.file} was changed since: only the changes of this project were removed"
    return _Back(after=after, messages=(text, *made.messages, *made.left), exact=False)


def _write_and_reload(work: Work, now: FileState | None, after: FileState | None) -> list[str]:
    """Write the file and reload Docker, which need not run: a file that keeps it from starting is restored, too."""
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
