"""What this project remembers of its changes: a small file beside daemon.json, as readable as that.

Beside it and not in a user's state folder: who undoes need not be who did (`sudo`, another member of the team), and a
snap takes the folder along into its next revision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tasks.tune.merge import Change

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


def digest(data: bytes) -> str:
    """Of a file's content."""
    return hashlib.sha256(data).hexdigest()


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
