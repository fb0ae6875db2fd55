"""Reads answered from watches, and a counter of changes that wakes up waits.

Each kind that is read often is listed once and then watched, over all namespaces, on one long-lived connection
(Kubernetes: "Efficient detection of changes"). Kinds without a watch, or with a broken one, are read from the API
itself.
"""

import json
import re
import threading
from collections.abc import Mapping
from typing import Any

from tasks.engine.step import Cancel
from tasks.kube.client import Api, ApiError, Direct, Stream

Item = Mapping[str, Any]
Place = tuple[str, str]
"""Namespace and name."""
_PATH = re.compile(r"(/api/v1|/apis/[^/?]+/[^/?]+)(?:/namespaces/([^/?]+))?/([a-z]+)(?:/([^/?]+))?")
_KINDS: Mapping[tuple[str, str], str] = {
    ("/api/v1", "nodes"): "Node",
    ("/api/v1", "pods"): "Pod",
    ("/api/v1", "resourcequotas"): "ResourceQuota",
    ("/apis/apps/v1", "daemonsets"): "DaemonSet",
    ("/apis/apps/v1", "deployments"): "Deployment",
    ("/apis/apps/v1", "replicasets"): "ReplicaSet",
    ("/apis/apps/v1", "statefulsets"): "StatefulSet",
    ("/apis/batch/v1", "jobs"): "Job",
}
"""The kinds that a launch waits for. Other kinds are read once, or are large."""
_LASTS = 300
"""Seconds after which the server ends a watch; then it is restarted."""
_PAUSES = (0.2, 2.0)
"""Seconds before a broken watch is restarted: at first, and at most."""


class Changes:
    """Counts changes, and wakes those who wait for one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """Number of changes so far."""
        return self._count

    def notify(self) -> None:
        """Record a change."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait(self, seen: int, seconds: float) -> None:
        """Wait until the count differs from `seen`, for at most that many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._count != seen, seconds)


class _Feed:
    """The current objects of one kind."""

    def __init__(self, api: Direct, path: str, changes: Changes) -> None:
        self._api, self._path, self._changes = api, path, changes
        self._lock = threading.Lock()
        self._items: dict[Place, Item] = {}
        self._stream: Stream | None = None
        self._over = Cancel()
        self.current = False
        """Whether the watch is open: only then the items are current."""
        threading.Thread(target=self._follow, name=f"watches {path}", daemon=True).start()

    def items(self) -> dict[Place, Item]:
        with self._lock:
            return dict(self._items)

    def close(self) -> None:
        self._over.set()
        stream = self._stream
        if stream is not None:
            stream.close()

    def _follow(self) -> None:
        pause = _PAUSES[0]
        while not self._over.is_set():
            try:
                self._read(self._list())
                pause = _PAUSES[0]
            except ApiError:  # then reads go to the API itself, and raise it
                pause = min(_PAUSES[1], pause * 2)
            finally:
                self.current = False
                self._changes.notify()
            self._over.wait(pause)

    def _list(self) -> str:
        """List all objects; returns the resource version to watch from."""
        found = self._api.get(self._path)
        with self._lock:
            self._items = {_place(item): item for item in found["items"] or ()}
        return str(found["metadata"]["resourceVersion"])

    def _read(self, version: str) -> None:
        query = f"watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds={_LASTS}"
        stream = self._stream = self._api.watch(f"{self._path}?{query}")
        if self._over.is_set():
            stream.close()
        self.current = True
        self._changes.notify()
        for line in stream:
            event = json.loads(line)
            if event["type"] == "ERROR":  # the resource version is too old: list again
                return
            if event["type"] != "BOOKMARK":
                self._take(event["type"], event["object"])

    def _take(self, kind: str, item: Item) -> None:
        with self._lock:
            if kind == "DELETED":
                self._items.pop(_place(item), None)
            else:
                self._items[_place(item)] = item
        self._changes.notify()


class Watched:
    """An `Api` that answers from watches where it can. Thread-safe; `close` closes its connections."""

    def __init__(self, direct: Direct) -> None:
        self.direct = direct
        self.changes = Changes()
        self._lock = threading.Lock()
        self._feeds: dict[str, _Feed] = {}
        self._closed = False

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""
        match = _PATH.fullmatch(path)
        if match is None or (match[1], match[3]) not in _KINDS:
            return self.direct.get(path)
        feed = self._feed(f"{match[1]}/{match[3]}")
        if not feed.current:
            return self.direct.get(path)
        namespace, name = match[2] or "", match[4]
        items = feed.items()
        if name is None:
            return {"items": [item for place, item in items.items() if not namespace or place[0] == namespace]}
        if (namespace, name) not in items:
            raise ApiError(404, f"the API answered 404 to {path}", "it does not exist")
        # list items do not have their kind (apimachinery: the list has it for all), a single object does
        kind = _KINDS[match[1], match[3]]
        return {"apiVersion": match[1].split("/", 2)[2], "kind": kind, **items[namespace, name]}

    def raw(self, path: str) -> tuple[int, str]:
        """As for `get`, any status."""
        return self.direct.raw(path)

    def close(self) -> None:
        """Stop watching; reads still work."""
        with self._lock:
            self._closed = True
            feeds = list(self._feeds.values())
        for feed in feeds:
            feed.close()

    def _feed(self, path: str) -> _Feed:
        with self._lock:
            feed = self._feeds.get(path)
            if feed is None:
                feed = self._feeds[path] = _Feed(self.direct, path, self.changes)
                if self._closed:
                    feed.close()
            return feed


def _place(item: Item) -> Place:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def direct_of(api: Api) -> Api:
    """The API itself, without watches."""
    return api.direct if isinstance(api, Watched) else api
