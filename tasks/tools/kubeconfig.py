"""Kubeconfig files: the private one of a cluster, and the user's own, edited under kubectl's lock."""

from __future__ import annotations

import base64
import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.errors import BadInput, LaunchError

_PATIENCE = 10.0
"""Seconds that another program may hold kubectl's lock; it needs milliseconds."""
_EXTENSION = "openframe"
_LISTS = ("clusters", "users", "contexts")


def private(text: str, cluster: str, server: str) -> str:
    """A node's kubeconfig with k3d's names for a cluster, and the address at which this machine reaches it."""
    import yaml

    document = yaml.safe_load(text)
    name, user = f"k3d-{cluster}", f"admin@k3d-{cluster}"
    data = dict(document["clusters"][0]["cluster"], server=server)
    made: str = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": data}],
            "users": [{"name": user, "user": document["users"][0]["user"]}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "current-context": name,
        },
        sort_keys=False,
    )
    return made


def write_private(path: Path, text: str) -> None:
    """Write with mode 0600, whole or not at all."""
    from tasks.engine.folder import write_whole

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, text, mode=0o600)


def certificate(kubeconfig: str) -> bytes:
    """The certificate authority of the first cluster, PEM."""
    import yaml

    data = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]["certificate-authority-data"]
    return base64.b64decode(data)


def target(environ: Mapping[str, str], home: Path) -> Path:
    """The user's file that gets entries: the first of KUBECONFIG, else ~/.kube/config."""
    parts = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return Path(parts[0]).expanduser() if parts else home / ".kube" / "config"


def merge(path: Path, entry: str) -> bool:
    """Put the entry of a private kubeconfig in; says whether the file changed. Raises `BadInput`, `LaunchError`."""
    import yaml

    new = yaml.safe_load(entry)

    def edit(document: dict[str, Any]) -> None:
        for part in _LISTS:
            for row in new[part]:
                _put(document, part, row)

    return update(path, edit)


def switch(path: Path, context: str) -> bool:
    """Make it the current context, and remember in our entry which one it was before."""

    def edit(document: dict[str, Any]) -> None:
        before = document.get("current-context") or ""
        row = _row(document, "contexts", context)
        if before == context or row is None:
            return
        if before:
            kept = [e for e in row["context"].get("extensions") or () if e.get("name") != _EXTENSION]
            row["context"]["extensions"] = [*kept, {"name": _EXTENSION, "extension": {"previous": before}}]
        document["current-context"] = context

    return update(path, edit)


def remove(path: Path, name: str) -> bool:
    """Take a cluster's entry out; if it was the current context, the one before is it again, where still there."""
    if not path.exists():
        return False

    def edit(document: dict[str, Any]) -> None:
        row = _row(document, "contexts", name)
        before = _previous(row) if row is not None else ""
        for part, gone in (("contexts", name), ("clusters", name), ("users", f"admin@{name}")):
            if isinstance(document.get(part), list):
                document[part] = [each for each in document[part] if each.get("name") != gone]
        if document.get("current-context") == name:
            document["current-context"] = before if _row(document, "contexts", before) is not None else ""

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
    import yaml

    new = yaml.safe_load(entry) or {}
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

    import yaml

    real = Path(os.path.realpath(path))
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        with _locked(real):
            document = _read(real)
            before = copy.deepcopy(document)
            edit(document)
            if document == before:
                return False
            base = {"apiVersion": "v1", "kind": "Config", **{part: [] for part in _LISTS}}
            whole = {**{key: value for key, value in base.items() if key not in document}, **document}
            _replace(real, yaml.safe_dump(whole, sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise BadInput(
            f"your kubeconfig {path} cannot be written: {error.strerror or error}",
            why="the cluster's entry goes into the first file of KUBECONFIG",
            fix="give yourself the right to write it, or set kubeconfig.merge=false",
        ) from None
    return True


def _put(document: dict[str, Any], part: str, row: dict[str, Any]) -> None:
    """Replace a row of that name where it stands, or add it; its extensions stay."""
    rows = document.get(part)
    if not isinstance(rows, list):
        rows = document[part] = []
    for place, old in enumerate(rows):
        if old.get("name") == row["name"]:
            if not _same(old, row):
                rows[place] = row
            return
    rows.append(row)


def _same(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    """Whether an entry says what it should; extensions of a context are the reader's own."""
    if old is None:
        return False
    kind = next(key for key in ("cluster", "user", "context") if key in new)
    have, want = dict(old.get(kind) or {}), dict(new[kind])
    have.pop("extensions", None)
    return have == want


def _row(document: Mapping[str, Any], part: str, name: str) -> dict[str, Any] | None:
    rows = document.get(part)
    return next((row for row in rows if row.get("name") == name), None) if isinstance(rows, list) else None


def _previous(row: Mapping[str, Any]) -> str:
    for each in (row.get("context") or {}).get("extensions") or ():
        if each.get("name") == _EXTENSION:
            return str((each.get("extension") or {}).get("previous") or "")
    return ""


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _unfit(path, str(error)) from None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _unfit(path, " ".join(str(error).split())) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise _unfit(path, f"it holds a {type(document).__name__}, not a mapping")
    for part in _LISTS:
        rows = document.get(part)
        if rows is not None and (not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows)):
            raise _unfit(path, f"'{part}' is not a list of entries")
    return document


def _unfit(path: Path, why: str) -> BadInput:
    return BadInput(
        f"your kubeconfig {path} is not a kubeconfig",
        why=why,
        fix="repair it (it was left as it is), name another one in KUBECONFIG, or set kubeconfig.merge=false",
    )


def _replace(path: Path, text: str) -> None:
    """Whole or not at all, with the mode and owner of the file that it replaces."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            with contextlib.suppress(FileNotFoundError):
                old = path.stat()
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The lock of kubectl itself: FILE.lock, made exclusively (client-go: `clientcmd.lockFile`)."""
    lock = path.with_name(f"{path.name}.lock")
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
        except FileExistsError:
            if time.monotonic() >= end:
                raise LaunchError(
                    f"your kubeconfig {path} is locked by another program",
                    why=f"{lock} is there since more than {_PATIENCE:g} s: kubectl makes it while it writes",
                    fix=f"if no kubectl runs it was left behind by one that died: rm {lock}",
                    transient=True,
                ) from None
            time.sleep(0.05)
        else:
            break
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
