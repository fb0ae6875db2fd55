"""The API of a rehearsed cluster without a process: what `tasks.kube.client.Direct` asks of one."""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tasks.kube.client import ApiError, content
from tasks.rehearsal import kinds, objects
from tasks.rehearsal.apiserver import ApiServer, Silent, find

if TYPE_CHECKING:
    from tasks.rehearsal.folder import Folder
    from tasks.rehearsal.objects import Record

Place = tuple[str, str]
"""Namespace and name."""
_LOOK = 0.02
"""Seconds between two looks whether something has changed."""
_OVERLAP = 1_000_000
"""Microseconds: what was changed so long before the version that a watch begins with is sent again."""


class RehearsalApi:
    """An API at a port of this machine. Thread-safe."""

    def __init__(self, folder: Folder, port: int) -> None:
        self.port = port
        self._server = ApiServer(folder)

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
            cluster = self._server.server(self.port)["labels"]["k3d.cluster"]
        except Silent as error:
            raise self._silent(error) from None
        lasts = float(given.get("timeoutSeconds", "300"))
        return Changes(self._server, cluster, self.port, bare, int(given.get("resourceVersion", "0")), lasts)

    def _ask(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        try:
            return self._server.request(method, self.port, path, body)
        except Silent as error:
            raise self._silent(error) from None

    def _silent(self, error: Silent) -> ApiError:
        return ApiError(0, f"the API at 127.0.0.1:{self.port} does not answer", f"[Errno 111] {error}")


class Changes:
    """A watch: see `tasks.kube.client.Stream`."""

    def __init__(self, server: ApiServer, cluster: str, port: int, path: str, version: int, lasts: float) -> None:
        self._server, self._cluster, self._port, self._path = server, cluster, port, path
        self._from, self._until = version - _OVERLAP, time.monotonic() + lasts
        self._over = threading.Event()
        self._records: dict[Place, Record] = {}
        self._sent: dict[Place, int] = {}
        """Versions of the objects that exist, as they were sent last."""
        self._due: list[tuple[float, Place]] = []
        """A heap: when an object will change by itself."""

    def close(self) -> None:
        """End it; from any thread."""
        self._over.set()

    def __iter__(self) -> Iterator[str]:
        store = self._server.objects(self._cluster)
        with store.read() as view:
            kind = find(self._path, self._server.served(view, time.time()))
        self._kind, self._bucket = kind.kind, kinds.bucket(kind.kind[0], kind.kind[1])
        seq = -1
        while time.monotonic() < self._until and not self._over.is_set():
            now = time.time()
            due = bool(self._due) and self._due[0][0] <= now
            if seq >= 0 and not due and store.seq() == seq:
                self._over.wait(_LOOK)
                continue
            if not self._server.answers(self._port):
                return
            first, (seq, changed, gone) = seq < 0, store.changed(self._bucket, seq)
            places = [self._take(record) for record in changed if self._wanted(record["object"], kind.namespace)]
            while self._due and self._due[0][0] <= now:
                places.append(heapq.heappop(self._due)[1])
            for place in dict.fromkeys(places):
                yield from self._changed(place, now, first=first)
            for moment, obj in gone:
                if self._wanted(obj, kind.namespace):
                    yield from self._deleted(moment, obj, first=first)

    @staticmethod
    def _wanted(obj: dict[str, Any], namespace: str) -> bool:
        return namespace in ("", obj["metadata"].get("namespace", ""))

    def _take(self, record: Record) -> Place:
        place = _place(record["object"])
        self._records[place] = record
        return place

    def _changed(self, place: Place, now: float, *, first: bool) -> Iterator[str]:
        """What has become of an object; when it will change by itself is noted."""
        record = self._records.get(place)
        if record is None:
            return
        due = objects.next_change(record, now)
        if due < float("inf"):
            heapq.heappush(self._due, (due, place))
        before = self._sent.get(place)
        if objects.exists(record, now):
            version = self._sent[place] = objects.version_of(record, now)
            if version != before and (not first or version >= self._from):
                yield self._line("ADDED" if before is None else "MODIFIED", objects.seen(record, now))
        else:
            if record.get("until", due) <= now:
                del self._records[place]
            if self._sent.pop(place, None) is not None:
                yield self._line("DELETED", record["object"])

    def _deleted(self, moment: float, obj: dict[str, Any], *, first: bool) -> Iterator[str]:
        """A deletion that was not seen to come; another object of that name may exist by now."""
        place = _place(obj)
        if self._records.get(place, {"object": obj})["object"]["metadata"]["uid"] != obj["metadata"]["uid"]:
            return
        self._records.pop(place, None)
        if self._sent.pop(place, None) is not None or (first and objects.micro(moment) >= self._from):
            yield self._line("DELETED", obj)

    def _line(self, word: str, obj: dict[str, Any]) -> str:
        version, kind, *_ = self._kind
        return json.dumps({"type": word, "object": {**obj, "apiVersion": version, "kind": kind}}) + "\n"


def _place(obj: dict[str, Any]) -> Place:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
