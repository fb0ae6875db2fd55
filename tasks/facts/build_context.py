"""The digest of what docker would get of a build's context: names, modes and contents, never times.

Contents are read once: their digests are kept with the size and times of each file, as an index of git does it.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from tasks.clients.dockerfile import Ignored
from tasks.core.files import file_digest, sha256, write_whole

_FRESH = 2_000_000_000
"""Nanoseconds: a file that was changed so lately may change again within the same time stamp, so it is read again."""
_FORM = 1
"""Of the file of known digests; another one is not read."""
Known = dict[str, list[Any]]
"""Marks and digest of each file, by its path."""


def context_digest(folder: Path, left_out: Ignored, index: Path) -> str:
    """Of all that is in a folder and is not left out. `index`: where digests are kept. Raises OSError."""
    known, found = _read(index), Known()
    rows: list[str] = []
    now = time.time_ns()
    pending = [""]
    while pending:
        inside = pending.pop()
        with os.scandir(folder / inside) as entries:
            for entry in entries:
                path = f"{inside}/{entry.name}" if inside else entry.name
                directory = entry.is_dir(follow_symlinks=False)
                if left_out(path, directory):
                    continue
                if directory:
                    pending.append(path)
                with contextlib.suppress(FileNotFoundError):  # an editor's, and gone again
                    what = entry.stat(follow_symlinks=False)
                    rows.append(f"{path}\0{what.st_mode:o}\0{_content(entry, path, what, known, found, now)}")
    if found != known:
        with contextlib.suppress(OSError):  # it is read again
            index.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(index, json.dumps({"form": _FORM, "files": found}))
    rows.sort()
    return sha256("\n".join(rows).encode("utf-8", "surrogateescape"))


def _content(entry: os.DirEntry[str], path: str, what: os.stat_result, known: Known, found: Known, now: int) -> str:
    if stat.S_ISLNK(what.st_mode):
        return str(Path(entry.path).readlink())
    if not stat.S_ISREG(what.st_mode):
        return ""
    marks = [what.st_mtime_ns, what.st_ctime_ns, what.st_size, what.st_ino]
    before = known.get(path)
    digest = before[4] if before is not None and before[:4] == marks else file_digest(Path(entry.path))
    if now - max(what.st_mtime_ns, what.st_ctime_ns) > _FRESH:
        found[path] = [*marks, digest]
    return str(digest)


def _read(index: Path) -> Known:
    try:
        document = json.loads(index.read_bytes())
        return dict(document["files"]) if document["form"] == _FORM else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
