"""Kubeconfig files: the private one of a cluster, and the user's own, edited under kubectl's lock.

What is not ours stays as it is: entries, keys that nobody knows, their order. Comments are lost, as they are when
kubectl itself writes the file.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.clients.kubeconfig_file import dump, itself, load, locked
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import rewrite

_EXTENSION = "openframe"
_LISTS = ("clusters", "users", "contexts")


class NotWritten(BadInput):
    """The user's kubeconfig is as it was: it may not be written."""

    def __init__(self, path: Path, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"your kubeconfig {path} cannot be written: {reason}",
            why="the cluster's entry goes into the first file of KUBECONFIG",
            fix="give yourself the right to write it, or set kubeconfig.merge=false",
        )


class Unfit(BadInput):
    """What is there is no kubeconfig; it stays as it is."""

    def __init__(self, path: Path, why: str) -> None:
        self.reason = f"it is no kubeconfig: {why}"
        super().__init__(
            f"your kubeconfig {path} is not a kubeconfig",
            why=why,
            fix="repair it (it was left as it is), name another one in KUBECONFIG, or set kubeconfig.merge=false",
        )


def private(text: str, cluster: str, server: str) -> str:
    """A node's kubeconfig with k3d's names for a cluster, and the address at which this machine reaches it."""
    document = load(text)
    name, user = f"k3d-{cluster}", f"admin@k3d-{cluster}"
    data = dict(document["clusters"][0]["cluster"], server=server)
    return dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": data}],
            "users": [{"name": user, "user": document["users"][0]["user"]}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "current-context": name,
        }
    )


def write_private(path: Path, text: str) -> None:
    """Write with mode 0600, whole or not at all."""
    from tasks.core.files import write_whole

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, text, mode=0o600)


def certificate(kubeconfig: str) -> bytes:
    """The certificate authority of the first cluster, PEM."""
    data = load(kubeconfig)["clusters"][0]["cluster"]["certificate-authority-data"]
    return base64.b64decode(data)


def target(environ: Mapping[str, str]) -> Path:
    """The user's file that gets entries: the first of KUBECONFIG, else ~/.kube/config."""
    home = Path(environ.get("HOME") or Path.home())
    first = next((part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part), "")
    if first.startswith("~/"):
        return home / first[2:]
    return Path(first) if first else home / ".kube" / "config"


def merge(path: Path, entry: str) -> bool:
    """Put the entry of a private kubeconfig in; says whether the file changed. Raises `BadInput`, `LaunchError`."""
    new = load(entry)

    def edit(document: dict[str, Any]) -> None:
        for part in _LISTS:
            for row in new[part]:
                _put(document, part, row)

    return update(path, edit)


def switch(path: Path, context: str) -> bool:
    """Make it the current context, and remember in our entry which one it was before.

    That one may be of another file of KUBECONFIG: then it is remembered as `elsewhere`.
    """

    def edit(document: dict[str, Any]) -> None:
        before = document.get("current-context") or ""
        row = _row(document, "contexts", context)
        if before == context or row is None:
            return
        ours = dict(row.get("context") or {})
        kept = [each for each in ours.pop("extensions", None) or () if each.get("name") != _EXTENSION]
        if before:
            here = _row(document, "contexts", before) is not None
            memory = {"previous": before} if here else {"previous": before, "elsewhere": True}
            kept.append({"name": _EXTENSION, "extension": memory})
        row["context"] = {**ours, "extensions": kept} if kept else ours
        document["current-context"] = context

    return update(path, edit)


def remove(path: Path, name: str) -> bool:
    """Take a cluster's entry out; if it was the current context, the one before is it again, where still there."""
    if not os.path.exists(path):  # noqa: PTH110 - unlike Path.exists, false where we may not look
        return False

    def edit(document: dict[str, Any]) -> None:
        row = _row(document, "contexts", name)
        before, elsewhere = _previous(row) if row is not None else ("", False)
        for part, gone in (("contexts", name), ("clusters", name), ("users", f"admin@{name}")):
            if isinstance(document.get(part), list):
                document[part] = [each for each in document[part] if each.get("name") != gone]
        if document.get("current-context") == name:
            there = elsewhere or _row(document, "contexts", before) is not None
            document["current-context"] = before if there else ""

    return update(path, edit)


def names_context(path: Path, name: str) -> bool:
    """Whether the file has a context of that name. A file that cannot be read has none."""
    try:
        return _row(_read(path), "contexts", name) is not None
    except LaunchError:
        return False


def current_context(path: Path) -> str:
    """The file's current context; empty if it has none."""
    try:
        return str(_read(path).get("current-context") or "")
    except LaunchError:
        return ""


def has_entry(path: Path, entry: str) -> bool:
    """Whether the file has the entry as it should be."""
    new = load(entry) or {}
    try:
        document = _read(path)
    except LaunchError:
        return False
    rows = [(part, row) for part in _LISTS for row in new.get(part) or ()]
    return bool(rows) and all(_same(_row(document, part, row["name"]), row) for part, row in rows)


def update(path: Path, edit: Callable[[dict[str, Any]], None]) -> bool:
    """Edit a file under kubectl's own lock. A link stays a link; mode and owner stay.

    Where nothing changes, nothing is written. Raises `BadInput` for a file that is no kubeconfig; it stays as it is.
    """
    import copy

    real = Path(os.path.realpath(path))
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as locks:
            for each in dict.fromkeys((path.absolute(), real)):  # kubectl locks the link, another link's user the file
                locks.enter_context(locked(each))
            locks.enter_context(itself(real))
            document = _read(real)
            before = copy.deepcopy(document)
            edit(document)
            if document == before:
                return False
            base = {"apiVersion": "v1", "kind": "Config", **{part: [] for part in _LISTS}}
            whole = {**{key: value for key, value in base.items() if key not in document}, **document}
            rewrite(real, dump(whole))
    except OSError as error:
        raise NotWritten(path, error.strerror or str(error)) from None
    return True


def unwritable(path: Path) -> str:
    """Why nothing can be put into a kubeconfig, as far as that shows without trying; else ''.

    It can be neither replaced nor written in place, or what is there is no kubeconfig, which stays as it is.
    """
    real = Path(os.path.realpath(path))
    try:
        while not os.path.lexists(real) and real != real.parent:
            real = real.parent
        if os.statvfs(real).f_flag & os.ST_RDONLY:
            return os.strerror(errno.EROFS)
    except OSError as error:
        return error.strerror or str(error)
    if not os.access(real, os.W_OK) and not os.access(real.parent, os.W_OK):
        return os.strerror(errno.EACCES)
    try:
        _read(path)
    except Unfit as error:
        return error.reason
    return ""


def _put(document: dict[str, Any], part: str, row: dict[str, Any]) -> None:
    """Replace a row of that name where it stands, or add it; what a context has more (a namespace) stays."""
    rows = document.get(part)
    if not isinstance(rows, list):
        rows = document[part] = []
    for place, old in enumerate(rows):
        if old.get("name") == row["name"]:
            if not _same(old, row):
                more = old.get("context") if part == "contexts" else None
                rows[place] = {**row, "context": {**more, **row["context"]}} if isinstance(more, dict) else row
            return
    rows.append(row)


def _same(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    """Whether an entry says what it should; of a context, what it says more is the reader's own."""
    if old is None:
        return False
    kind = next(key for key in ("cluster", "user", "context") if key in new)
    have, want = old.get(kind), new[kind]
    if not isinstance(have, Mapping):
        return False
    if kind == "context":
        have = {key: value for key, value in have.items() if key in want}
    return bool(dict(have) == want)


def _row(document: Mapping[str, Any], part: str, name: str) -> dict[str, Any] | None:
    rows = document.get(part)
    return next((row for row in rows if row.get("name") == name), None) if isinstance(rows, list) else None


def _previous(row: Mapping[str, Any]) -> tuple[str, bool]:
    """The context that was current before ours, and whether another file has it."""
    for each in (row.get("context") or {}).get("extensions") or ():
        if each.get("name") == _EXTENSION:
            memory = each.get("extension") or {}
            return str(memory.get("previous") or ""), bool(memory.get("elsewhere"))
    return "", False


def _read(path: Path) -> dict[str, Any]:
    from tasks.core.yaml import YamlError

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Unfit(path, str(error)) from None
    try:
        document = load(text)
    except YamlError as error:
        raise Unfit(path, f"line {error.line}: {error.reason}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise Unfit(path, f"it holds a {'list' if isinstance(document, list) else 'text'}, not a mapping")
    for part in _LISTS:
        rows = document.get(part)
        if rows is not None and (not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows)):
            raise Unfit(path, f"'{part}' is not a list of entries")
    return document
