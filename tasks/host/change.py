"""One daemon.json with what it takes to change it: who writes, who reads it, and what is remembered of it."""

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
from tasks.engine.step import Context
from tasks.host.daemon import Place
from tasks.host.daemon_json import MIRRORS, Change, Merged, NotPlain, Wishes, get, merged, mirrors, put
from tasks.host.reload import reload
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
