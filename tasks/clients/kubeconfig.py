"""Kubeconfig files: the private one of a cluster, and the user's own, edited under kubectl's lock.

Everything in the user's file that does not belong to this project stays as written: entries, unknown keys, order,
quotes and comments.
"""

import contextlib
import errno
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import no_file, rewrite, write_whole
from tasks.core.lock import exclusive_file, locked_itself
from tasks.core.paths import home
from tasks.core.redact import bare_address
from tasks.core.yaml_text import edited

_EXTENSION = "openframe"
_LISTS = ("clusters", "users", "contexts")
_AUTHORITY = "certificate-authority-data"
_HERE = frozenset({"localhost", "0.0.0.0", "::", "::1", "host.docker.internal"})  # noqa: S104 - as k3d writes it
_PATIENCE = 10.0
"""Seconds to wait for another program that holds kubectl's lock; it needs milliseconds."""


class NotWritten(BadInput):
    """The user's kubeconfig is unchanged: it cannot be written."""

    def __init__(self, path: Path, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"your kubeconfig {path} cannot be written: {reason}",
            why="the cluster's entry goes into the first file of KUBECONFIG",
            fix="make it writable, or set kubeconfig.merge=false",
        )


class Unfit(BadInput):
    """The file is not a kubeconfig; it stays unchanged."""

    def __init__(self, path: Path, why: str) -> None:
        self.reason = f"it is not a kubeconfig: {why}"
        super().__init__(
            f"your kubeconfig {path} is not a kubeconfig",
            why=why,
            fix="repair it (it was not changed), set KUBECONFIG to another one, or set kubeconfig.merge=false",
        )


def private(text: str, cluster: str, server: str) -> str:
    """A node's kubeconfig with k3d's names for a cluster, and the address at which this machine reaches it."""
    from tasks.core import yaml

    document = yaml.load(text)
    name, user = f"k3d-{cluster}", f"admin@k3d-{cluster}"
    data = dict(document["clusters"][0]["cluster"], server=server)
    return yaml.dump(
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
    """Write atomically with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, text, mode=0o600)


def target(environ: Mapping[str, str]) -> Path:
    """The user's file for entries: the first of KUBECONFIG, else ~/.kube/config."""
    return files(environ)[0]


def files(environ: Mapping[str, str]) -> list[Path]:
    """The user's files, in the order in which entries are looked for."""
    given = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part] or ["~/.kube/config"]
    return [home(environ) / each[2:] if each.startswith("~/") else Path(each) for each in given]


def file_of_user(environ: Mapping[str, str], name: str) -> Path | None:
    """The user's file that has a user of that name: the first one counts, as for kubectl."""
    return next((path.absolute() for path in files(environ) if _row(readable(path), "users", name)), None)


def contexts(environ: Mapping[str, str]) -> list[str]:
    """Names of the contexts in the user's files. Raises `Unfit`."""
    found = [_read(path)[1] for path in files(environ)]
    return [str(row["name"]) for each in found for row in each.get("contexts") or () if "name" in row]


def merge(path: Path, entry: str) -> bool:
    """Add or replace the entry of a private kubeconfig; True if the file changed. Raises `BadInput`, `LaunchError`.

    The user's additions to the context (a namespace) stay.
    """
    new = _entry(entry)

    def edit(document: dict[str, Any]) -> None:
        for part, row in new:
            if fault := _elsewhere(document, row["name"]):
                raise NotWritten(path, fault)
            _put(document, part, row)

    return _update(path, edit)


def switch(path: Path, context: str) -> bool:
    """Make it the current context, and record the previous one in its entry; returns whether the file changed.

    The previous one may be in another file of KUBECONFIG: then it is recorded as `elsewhere`.
    """

    def edit(document: dict[str, Any]) -> None:
        before = document.get("current-context") or ""
        row = _row(document, "contexts", context)
        if before == context or row is None:
            return
        ours = dict(row.get("context") or {})
        extensions = [each for each in ours.pop("extensions", None) or () if each.get("name") != _EXTENSION]
        if before:
            here = _row(document, "contexts", before) is not None
            remembered = {"previous": before} if here else {"previous": before, "elsewhere": True}
            extensions.append({"name": _EXTENSION, "extension": remembered})
        row["context"] = {**ours, "extensions": extensions} if extensions else ours
        document["current-context"] = context

    return _update(path, edit)


def remove(path: Path, name: str) -> bool:
    """Remove a cluster's entry; if it was the current context, restore the previous one, if that still exists."""
    if not os.path.exists(path):  # noqa: PTH110 - unlike Path.exists, false without permission
        return False

    def edit(document: dict[str, Any]) -> None:
        row = _row(document, "contexts", name)
        before, elsewhere = _previous(row) if row is not None else ("", False)
        for part, gone in (("contexts", name), ("clusters", name), ("users", f"admin@{name}")):
            if isinstance(document.get(part), list):
                document[part] = [each for each in document[part] if each.get("name") != gone or not _is_of(each, name)]
        if document.get("current-context") == name and _row(document, "contexts", name) is None:
            exists = elsewhere or _row(document, "contexts", before) is not None
            document["current-context"] = before if exists else ""

    return _update(path, edit)


def readable(path: Path) -> dict[str, Any]:
    """A file's value as kubectl reads it; empty if it cannot be read."""
    try:
        return _read(path)[1]
    except LaunchError:
        return {}


def names_context(path: Path, name: str) -> bool:
    """Whether the file has a context of that name. An unreadable file has none."""
    return _row(readable(path), "contexts", name) is not None


def leads_to(path: Path, name: str, own: str, port: int | None) -> bool:
    """Whether the file's entry of that name belongs to the cluster of the private kubeconfig `own`.

    A cluster on another engine may have the same name. Compared by certificate authority; without a private one,
    by the port of this machine at which the cluster's API is published.
    """
    found = _cluster(readable(path), name)
    with contextlib.suppress(AttributeError, KeyError, ValueError):  # nothing is known of an incomplete one
        return bool(found.get(_AUTHORITY) == dict(_entry(own))["clusters"]["cluster"][_AUTHORITY])
    with contextlib.suppress(ValueError):  # a port that is none
        return port is not None and _is_here(found) and urlsplit(str(found.get("server"))).port == port
    return False


def current_context(path: Path) -> str:
    """The file's current context; empty if it has none."""
    return str(readable(path).get("current-context") or "")


def has_entry(path: Path, entry: str) -> bool:
    """Whether the file has the entry of a private kubeconfig as desired."""
    document, rows = readable(path), _entry(entry)
    return bool(rows) and all(_same(_row(document, part, row["name"]), row) for part, row in rows)


def unwritable(path: Path, name: str) -> str:
    """Why no entry of this name can be written to a kubeconfig, as far as that is visible without trying; else ''.

    It can be neither replaced nor written in place, or it is not a kubeconfig, which stays unchanged; or it has
    an entry of that name for a cluster elsewhere.
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
        return _elsewhere(_read(path)[1], name)
    except Unfit as error:
        return error.reason


def _entry(kubeconfig: str) -> list[tuple[str, dict[str, Any]]]:
    """The entries of a private kubeconfig, each with the name of its list."""
    from tasks.core import yaml

    document = yaml.load(kubeconfig) or {}
    return [(part, row) for part in _LISTS for row in document.get(part) or ()]


def _put(document: dict[str, Any], part: str, row: dict[str, Any]) -> None:
    """Replace an entry of that name where it is, or add it."""
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
    """Whether an entry is as desired; the user's additions to a context do not count."""
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


def _cluster(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = (_row(document, "clusters", name) or {}).get("cluster")
    return found if isinstance(found, Mapping) else {}


def _is_here(cluster: Mapping[str, Any]) -> bool:
    """Whether an entry points to this machine, like those of k3d (k3d: `pkg/client/kubeconfig.go`), or nowhere."""
    try:
        name = urlsplit(str(cluster.get("server") or "")).hostname or "localhost"
    except ValueError:
        return False
    return name in _HERE or name.endswith(".localhost") or name.startswith("127.")


def _elsewhere(document: Mapping[str, Any], name: str) -> str:
    """Describes an entry of that name for a cluster on another machine; empty if there is none."""
    row = _row(document, "contexts", name)
    if row is not None and not _is_of(row, name):
        return f"its context {name} is another cluster's, {row['context']['cluster']}"
    found = _cluster(document, name)
    return "" if _is_here(found) else f"its {name} is another cluster's, {bare_address(str(found['server']))}"


def _is_of(context: Mapping[str, Any], cluster: str) -> bool:
    """Whether a context belongs to the cluster entry of this name, or to none."""
    part = context.get("context")
    return not isinstance(part, Mapping) or part.get("cluster") in (None, "", cluster)


def _previous(row: Mapping[str, Any]) -> tuple[str, bool]:
    """The previously current context, and whether it is in another file."""
    for each in (row.get("context") or {}).get("extensions") or ():
        if each.get("name") == _EXTENSION:
            remembered = each.get("extension") or {}
            return str(remembered.get("previous") or ""), bool(remembered.get("elsewhere"))
    return "", False


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """A file's text and its value as kubectl reads it. Raises `Unfit`."""
    from tasks.core import yaml

    if why := no_file(path):  # KUBECONFIG=/dev/null, say
        raise Unfit(path, why)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return "", {}
    except (OSError, UnicodeDecodeError) as error:
        raise Unfit(path, str(error)) from None
    for event in yaml.events(text):
        if getattr(event, "tag", None) not in yaml.NO_TYPE:
            raise Unfit(path, f"line {event.start_mark.line + 1}: the tag {event.tag} is not supported here")
    try:
        document = yaml.load(text)
    except yaml.YamlError as error:
        raise Unfit(path, f"line {error.line}: {error.reason}") from None
    if document is None:
        return text, {}
    if not isinstance(document, dict):
        raise Unfit(path, f"it holds a {'list' if isinstance(document, list) else 'text'}, not a mapping")
    for part in _LISTS:
        rows = document.get(part)
        if rows is not None and (not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows)):
            raise Unfit(path, f"'{part}' is not a list of entries")
    return text, document


def _update(path: Path, edit: Callable[[dict[str, Any]], None]) -> bool:
    """Edit a file under kubectl's own lock; returns whether it changed. Links, mode and owner are preserved.

    Nothing is written without a change. Raises `BadInput` for a file that is not a kubeconfig; it stays unchanged.
    """
    real = Path(os.path.realpath(path))
    if why := no_file(real):  # nor is it opened for a lock
        raise Unfit(path, why)
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as locks:
            for each in dict.fromkeys((path.absolute(), real)):  # kubectl locks the link; others lock the file
                locks.enter_context(_locked(each))
            locks.enter_context(locked_itself(real, _PATIENCE))
            text, document = _read(real)
            before = deepcopy(document)
            edit(document)
            if document == before:
                return False
            base = {"apiVersion": "v1", "kind": "Config", **{part: [] for part in _LISTS}}
            rewrite(real, edited(text, {**{key: base[key] for key in base if key not in document}, **document}))
    except OSError as error:
        raise NotWritten(path, error.strerror or str(error)) from None
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Kubectl's own lock on a kubeconfig: FILE.lock (client-go: `clientcmd.lockFile`).

    If no file can be created beside it, but the file is writable, there is no lock: kubectl cannot write there.
    """
    lock = path.with_name(f"{path.name}.lock")
    with contextlib.ExitStack() as held:
        if os.access(path.parent, os.W_OK) or not os.access(path, os.W_OK):
            try:
                held.enter_context(exclusive_file(lock, _PATIENCE))
            except TimeoutError:
                raise LaunchError(
                    f"your kubeconfig {path} is locked by another program",
                    why=f"{lock} has existed for more than {_PATIENCE:g} s: kubectl creates it while it writes",
                    fix=f"if no kubectl is running, a killed one left it: rm {shlex.quote(str(lock))}",
                    transient=True,
                ) from None
        yield
