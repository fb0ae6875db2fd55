"""The API of a rehearsed cluster without a process: what `tasks.kube.client.Direct` asks of one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tasks.kube.client import ApiError, content
from tasks.rehearsal import kinds, objects
from tasks.rehearsal.kube import Kube, Silent, Where, find
from tasks.rehearsal.place import MARK, Place, of

_LOOK = 0.02
"""Seconds between two looks whether something has changed: a file tells of that, for next to nothing."""
_OVERLAP = 1_000_000
"""Microseconds: what was changed so long before the version that a watch begins with is told again."""


class RehearsalApi:
    """An API at a port of this machine. Thread-safe."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._kube = Kube(Place(folder))

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""
        code, text = self.raw(path)
        return content(path, code, text)

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text."""
        return self._ask("GET", path)

    def patch(self, path: str, body: str) -> tuple[int, str]:
        """Server-side apply of one object."""
        return self._ask("PATCH", path, body)

    def watch(self, path: str) -> Changes:
        """The lines of a watch. Raises `ApiError` where it is refused, or nothing answers."""
        bare, _, query = path.partition("?")
        self.get(bare)
        given = {key: values[-1] for key, values in parse_qs(query).items()}
        try:
            cluster = self._kube.server(self.port)["labels"]["k3d.cluster"]
        except Silent as error:
            raise self._silent(error) from None
        lasts = float(given.get("timeoutSeconds", "300"))
        return Changes(self._kube, cluster, self.port, bare, int(given.get("resourceVersion", "0")), lasts)

    def _ask(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        try:
            return self._kube.request(method, self.port, path, body)
        except Silent as error:
            raise self._silent(error) from None

    def _silent(self, error: Silent) -> ApiError:
        return ApiError(0, f"the API at 127.0.0.1:{self.port} does not answer", f"[Errno 111] {error}")


class Changes:
    """A watch: see `tasks.kube.client.Stream`."""

    def __init__(self, kube: Kube, cluster: str, port: int, path: str, version: int, lasts: float) -> None:
        self._kube, self._cluster, self._port, self._path = kube, cluster, port, path
        self._from, self._until = version - _OVERLAP, time.monotonic() + lasts
        self._over = threading.Event()

    def close(self) -> None:
        """End it; from any thread."""
        self._over.set()

    def __iter__(self) -> Iterator[str]:
        store = self._kube.objects(self._cluster)
        where = find(self._path, self._kube.served(store.read(), time.time()))
        key = kinds.bucket(where.kind[0], where.kind[1])
        known: dict[str, int] = {}
        mark: tuple[int, ...] = ()
        first, due = True, 0.0
        while time.monotonic() < self._until and not self._over.is_set():
            now, fresh = time.time(), store.mark()
            if fresh == mark and now < due and not first:
                self._over.wait(_LOOK)
                continue
            if not self._kube.answers(self._port):
                return
            mark = fresh
            doc = store.read()
            due = objects.next_change(doc, [key], now)
            yield from self._told(doc, where, key, known, now, first=first)
            first = False

    def _told(
        self,
        doc: dict[str, Any],
        where: Where,
        key: str,
        known: dict[str, int],
        now: float,
        *,
        first: bool,
    ) -> Iterator[str]:
        there = {}
        for record in objects.records(doc, where.kind[0], where.kind[1], now):
            meta = record["object"]["metadata"]
            if where.namespace in ("", meta.get("namespace", "")):
                there[objects.place(meta.get("namespace", ""), meta["name"])] = record
        for place, record in there.items():
            version, before = objects.version_of(record, now), known.get(place)
            known[place] = version
            if version != before and (not first or version >= self._from):
                yield _line("ADDED" if before is None else "MODIFIED", objects.seen(record, now), where.kind)
        gone = {place for place in known if place not in there}
        for moment, of_kind, obj in doc["gone"]:
            place = objects.place(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            new = place in gone or (first and place not in there and objects.micro(moment) >= self._from)
            if of_kind == key and new:
                gone.discard(place)
                known.pop(place, None)
                yield _line("DELETED", obj, where.kind)
        for place in gone:
            known.pop(place)
            record = doc["objects"].get(key, {}).get(place)
            namespace, _, name = place.partition("/")
            obj = record["object"] if record else {"metadata": {"namespace": namespace, "name": name}}
            yield _line("DELETED", obj, where.kind)


def _line(word: str, obj: dict[str, Any], kind: tuple[str, str, str, bool]) -> str:
    return json.dumps({"type": word, "object": {**obj, "apiVersion": kind[0], "kind": kind[1]}}) + "\n"


def recognise(kubeconfig: str) -> RehearsalApi | None:
    """The API of a kubeconfig that a rehearsed cluster has written; None for any other."""
    if MARK not in kubeconfig:
        return None
    from tasks.core import yaml

    document = yaml.load(kubeconfig)
    current = document.get("current-context")
    context: dict[str, Any] = next(
        (each["context"] for each in document.get("contexts") or () if each["name"] == current), {}
    )
    for each in document.get("clusters") or ():
        if each.get("name") != context.get("cluster"):
            continue
        for row in each["cluster"].get("extensions") or ():
            if row.get("name") == MARK:
                port = urlsplit(str(each["cluster"].get("server"))).port or 443
                return RehearsalApi(Path(row["extension"]["folder"]), port)
    return None


def port_answers(environ: dict[str, str], port: int) -> bool | None:
    """Whether a rehearsed server speaks at a port of this machine; None if nothing is rehearsed."""
    place = of(environ)
    return None if place is None else Kube(place).answers(port)
