"""The objects of a rehearsed cluster: a SQLite database that several processes read and change concurrently.

A record is `{"object", "stamp", "stages", "from"}`. `stages` are times with changes (JSON merge patches) that
controllers and kubelets will have made by then; before `from` the object does not exist yet. The version of an object
is the time of its last change in microseconds.

One row per object, with an index for each query: the cost of an operation does not depend on other objects
in the cluster. SQLite keeps changes atomic if a writer is killed, and queues writers.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.rehearsal.engine import stamp

Object = dict[str, Any]
Record = dict[str, Any]
Key = tuple[str, str, str]
"""Bucket of the kind, namespace and name."""

Kind = tuple[str, str, str, bool]
"""Version, kind, plural, and whether it is namespaced."""
_ROWS = [line.split() for line in Path(__file__).with_name("kinds.txt").read_text(encoding="utf-8").splitlines()]
BUILT_IN: tuple[Kind, ...] = tuple((row[0], row[1], row[2], len(row) == 3) for row in _ROWS)
"""Built-in kinds, as far as manifests use them (Kubernetes 1.33 and k3s): in kinds.txt, each line has a
version, a kind and its plural; `-`: cluster-scoped."""
_GROUPS = frozenset(version.rpartition("/")[0] for version, *_ in BUILT_IN)
_PATIENCE = 30.0
"""Seconds to wait for other writers; each needs milliseconds."""
_ONE = "bucket = ? AND namespace = ? AND name = ?"
_REMEMBERED = 1000
"""Deletions that are stored for watches."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS object (
    bucket TEXT, namespace TEXT, name TEXT, owner TEXT, seq INTEGER, record TEXT,
    PRIMARY KEY (bucket, namespace, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS changed ON object (bucket, seq);
CREATE INDEX IF NOT EXISTS owned ON object (owner) WHERE owner IS NOT NULL;
CREATE TABLE IF NOT EXISTS gone (id INTEGER PRIMARY KEY, moment REAL, bucket TEXT, seq INTEGER, object TEXT);
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT);
"""


def bucket(api_version: str, kind: str) -> str:
    """The bucket of a kind in a cluster's database: all served versions are the same objects."""
    if kind == "HorizontalPodAutoscaler":
        api_version = "autoscaling/v2"
    group = api_version.rpartition("/")[0]
    return f"{api_version} {kind}" if group in _GROUPS else f"{group} {kind}"


def micro(moment: float) -> int:
    """A version for a time."""
    return round(moment * 1e6)


def uid() -> str:
    """In the format of Kubernetes."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def exists(record: Mapping[str, Any], now: float) -> bool:
    """Whether its object exists now."""
    return bool(record.get("from", 0.0) <= now)


def seen(record: Record, now: float) -> Object:
    """The current object; changing it changes the record."""
    made = record["object"]
    for moment, change in record.get("stages", ()):
        if moment <= now:
            made = merged(made, change)
    return {**made, "metadata": {**made["metadata"], "resourceVersion": str(version_of(record, now))}}


def version_of(record: Record, now: float) -> int:
    """The version that `seen` would show. It rises with each stage, even for one earlier than the record."""
    version: int = max(record["stamp"], micro(record.get("from", 0.0)))
    for moment, _ in record.get("stages", ()):
        if moment <= now:
            version = max(version + 1, micro(moment))
    return version


def next_change(record: Record, now: float) -> float:
    """When it will change on its own; infinite if it will not."""
    moments = [record.get("from", 0.0), *(moment for moment, _ in record.get("stages", ()))]
    return float(min((moment for moment in moments if moment > now), default=float("inf")))


def settle(record: Record, now: float) -> Object:
    """The object with all stages applied that have passed, for a change by others; pending ones are dropped."""
    made = seen(record, now)
    made["metadata"].pop("resourceVersion", None)
    return made


def merged(value: Any, change: Any) -> Any:  # noqa: ANN401 - any JSON values
    """A JSON merge patch (RFC 7386): null removes."""
    if not isinstance(change, dict):
        return change
    found = dict(value) if isinstance(value, dict) else {}
    for name, part in change.items():
        if part is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), part)
    return found


class Objects:
    """The database of one cluster. Thread-safe; its connection is closed with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            if not self.path.exists():
                _create(self.path)
            self._open = _connect(self.path)
            weakref.finalize(self, self._open.close)
        return self._open

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """Its content, in one consistent state; changes are not stored."""
        with self._lock:
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                yield Transaction(connection)
            finally:
                connection.execute("COMMIT")

    @contextlib.contextmanager
    def change(self) -> Iterator[Transaction]:
        """Its content, for changes; stored if the block succeeds."""
        with self._lock:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            made = Transaction(connection)
            try:
                yield made
                made.write()
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def seq(self) -> int:
        """The number of the last change."""
        with self._lock:
            return _seq(self._connection())


def _connect(path: Path) -> sqlite3.Connection:
    made = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    made.execute("PRAGMA synchronous = OFF")
    return made


def _create(path: Path) -> None:
    """An empty database that appears atomically, with mode 0600 since it contains secrets; SQLite's own log, too."""
    fresh = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    made = _connect(fresh)
    made.execute("PRAGMA journal_mode = WAL")
    made.executescript(_SCHEMA)
    made.close()
    with contextlib.suppress(FileExistsError):  # created by another process
        os.link(fresh, path)
    fresh.unlink()


def _seq(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM fact WHERE name = 'seq'").fetchone()
    return int(row[0]) if row else 0


class Transaction:
    """Queries and changes. A record that was read may be changed in place."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._seq = _seq(connection) + 1
        self._loaded: dict[Key, tuple[Record, str]] = {}
        """With its text in the database."""

    def write(self) -> None:
        """Write records that were changed in place."""
        for key, (record, text) in self._loaded.items():
            if _text(record) != text:
                self._store(key, record)
        self.set_fact("seq", self._seq)

    def fact(self, name: str) -> Any:  # noqa: ANN401 - any JSON value
        """Facts of the cluster besides its objects; None if missing."""
        row = self._connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def set_fact(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Store a fact of the cluster besides its objects."""
        self._connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value)))

    def get(self, api_version: str, kind: str, namespace: str, name: str, now: float) -> Record | None:
        """The record of an object that exists now."""
        key = bucket(api_version, kind), namespace, name
        return next((each for each in self._records(_ONE, *key) if exists(each, now)), None)

    def records(self, api_version: str, kind: str, namespace: str = "") -> Iterator[Record]:
        """All of a kind, in one namespace or in all; including those that do not exist yet."""
        more = ("bucket = ? AND namespace = ?", namespace) if namespace else ("bucket = ?",)
        return self._records(more[0], bucket(api_version, kind), *more[1:])

    def existing(self, api_version: str, kind: str, now: float, namespace: str = "") -> Iterator[Record]:
        """All existing ones of a kind, in one namespace or in all."""
        return (each for each in self.records(api_version, kind, namespace) if exists(each, now))

    def changed(self, of_kind: str, since: int) -> tuple[int, list[Record], list[tuple[float, Object]]]:
        """The number of the last change; records of a kind changed after another; its deleted objects, and when."""
        gone = self._connection.execute(
            "SELECT moment, object FROM gone WHERE bucket = ? AND seq > ? ORDER BY id", (of_kind, since)
        )
        deleted = [(moment, json.loads(text)) for moment, text in gone]
        return self._seq - 1, list(self._records("bucket = ? AND seq > ?", of_kind, since)), deleted

    def owned(self, owner: Object) -> list[Record]:
        """Dependents of an object."""
        return list(self._records("owner = ?", owner["metadata"]["uid"]))

    def put(self, obj: Object, now: float, **more: Any) -> Record:
        """Store an object. `more`: stages, from; without them nothing is pending."""
        meta = obj["metadata"]
        meta.setdefault("uid", uid())
        meta.setdefault("creationTimestamp", stamp(max(now, more.get("from", now)), 0))
        latest = max(micro(time.time()), (self.fact("stamp") or 0) + 1)
        self.set_fact("stamp", latest)
        record = {"object": obj, "stamp": latest, **more}
        self._store(_key(obj), record)
        return record

    def remove(self, obj: Object, now: float) -> None:
        """Delete it; watches report that for a while."""
        key = _key(obj)
        for record in self._records(_ONE, *key):
            row = (now, key[0], self._seq, json.dumps(seen(record, now)))
            self._connection.execute("INSERT INTO gone (moment, bucket, seq, object) VALUES (?, ?, ?, ?)", row)
            self._connection.execute(f"DELETE FROM object WHERE {_ONE}", key)  # noqa: S608 - own conditions
            del self._loaded[key]
        self._connection.execute("DELETE FROM gone WHERE id <= (SELECT max(id) FROM gone) - ?", (_REMEMBERED,))

    def clear(self) -> None:
        """The cluster is removed, with all its objects."""
        self._loaded.clear()
        for table in ("object", "gone", "fact"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - own names

    def _records(self, where: str, *values: object) -> Iterator[Record]:
        query = f"SELECT bucket, namespace, name, record FROM object WHERE {where}"  # noqa: S608 - own conditions
        for *key, text in self._connection.execute(query, values).fetchall():
            place = (key[0], key[1], key[2])
            if place not in self._loaded:
                self._loaded[place] = json.loads(text), text
            yield self._loaded[place][0]

    def _store(self, key: Key, record: Record) -> None:
        text, owners = _text(record), record["object"]["metadata"].get("ownerReferences") or [{}]
        row = (*key, owners[0].get("uid"), self._seq, text)
        self._connection.execute("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?)", row)
        self._loaded[key] = record, text


def _key(obj: Object) -> Key:
    meta = obj["metadata"]
    return bucket(obj["apiVersion"], obj["kind"]), meta.get("namespace", ""), meta["name"]


def _text(record: Record) -> str:
    return json.dumps(record, separators=(",", ":"))
