"""Scripted watches, and a writable API that reports changes, served from objects."""

from __future__ import annotations

import json
import queue
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

from tasks.kube.client import ApiError
from tasks.kube.objects import key, root
from tests.given_live import KINDS, FakeApi, Object, uid_given

Status = tuple[int, str]


def refusal(code: int, message: str, reason: str = "") -> Status:
    """How the API says that it has not taken an object."""
    return code, json.dumps({"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code})


def _merged(there: Mapping[str, Any], obj: Object) -> Object:
    """What an apply leaves: labels of others, and what the server itself has written, stay."""
    before, now = there.get("metadata") or {}, obj["metadata"]
    labels = {**(before.get("labels") or {}), **(now.get("labels") or {})}
    return {**there, **obj, "metadata": {**before, **now, **({"labels": labels} if labels else {})}}


class DirectApi(FakeApi):
    """Objects are applied by `patch`, and all changes are sent to watches."""

    def __init__(self, *objects: Mapping[str, Any], answers: Mapping[str, Any] | None = None) -> None:
        self.patched: list[tuple[str, Object]] = []
        """Path with query, and object."""
        self.sent: list[tuple[str, str, Object]] = []
        """Method, path with query, and body."""
        self.granted: dict[str, list[Object]] | None = None
        """Rules of a login by namespace, if it may not do everything."""
        self.reviews: list[Object] = []
        """Questions about rights."""
        self.refused: dict[str, list[Status]] = {}
        """By path without query: the next answers there, before objects are taken."""
        self.watched: list[str] = []
        self._lock = threading.RLock()
        self._changes: list[tuple[str, str, Object]] = []
        """Path of a kind, what happened, and the object; a version is how many there were."""
        self._streams: dict[str, list[Told]] = defaultdict(list)
        super().__init__(*objects, answers=answers)

    def put(self, *objects: Mapping[str, Any]) -> None:
        with self._lock:
            for each in objects:
                kind = "MODIFIED" if key(each) in self.objects else "ADDED"
                super().put(each)
                self._tell(kind, each)

    def remove(self, *objects: Mapping[str, Any]) -> None:
        with self._lock:
            for each in objects:
                super().remove(each)
                self._tell("DELETED", each)

    def raw(self, path: str) -> tuple[int, str]:
        """A list has the resource version from which it can be watched."""
        with self._lock:
            code, text = super().raw(path)
            version = len(self._changes)
        found = json.loads(text) if code == 200 and text.startswith("{") else None
        if found is not None and "items" in found:
            return code, json.dumps({"metadata": {"resourceVersion": str(version)}, **found})
        return code, text

    def patch(self, path: str, body: str) -> Status:
        place, obj = path.partition("?")[0], json.loads(body)
        with self._lock:
            self.patched.append((path, obj))
            if self.refused.get(place):
                return self.refused[place].pop(0)
            there = self.objects.get(key(obj))
            if "dryRun=All" in path:
                return 200, json.dumps(_merged(there or {}, obj))
            if there is None and place.endswith("/status"):
                return refusal(404, f"{obj['metadata']['name']} not found", "NotFound")
            self.put(_merged(there or {}, obj))
            return (201 if there is None else 200), json.dumps(obj)

    def send(self, method: str, path: str, body: str) -> Status:
        """As the API server does: creating fails where an object is, deleting where it has another uid."""
        place, obj = path.partition("?")[0], json.loads(body)
        if place.startswith("/apis/authorization.k8s.io"):
            self.reviews.append(obj["spec"])
            return 201, json.dumps({"status": self.reviewed(obj["spec"])})
        with self._lock:
            self.sent.append((method, path, obj))
            if self.refused.get(place):
                return self.refused[place].pop(0)
            if method == "DELETE":
                return self._delete(place, obj["preconditions"]["uid"])
            if method == "POST" and key(obj) in self.objects:
                return refusal(409, f"{obj['metadata']['name']} already exists", "AlreadyExists")
            if method == "POST":
                labels: Object = {f"f:{name}": {} for name in obj["metadata"].get("labels") or {}}
                manager = parse_qs(path.partition("?")[2])["fieldManager"][0]
                fields: Object = {f"f:{name}": {} for name in obj if name not in ("apiVersion", "kind", "metadata")}
                fields["f:metadata"] = {"f:labels": labels}
                entry = {"manager": manager, "operation": "Update", "fieldsV1": fields}
                obj = uid_given({**obj, "metadata": {**obj["metadata"], "managedFields": [entry]}})
            self.put(obj)
            return (201 if method == "POST" else 200), json.dumps(obj)

    def reviewed(self, spec: Object) -> Object:
        """By `granted`; None: everything is."""
        if self.granted is None:
            return {"allowed": True}
        if "resourceAttributes" in spec:
            return {"allowed": False}
        return {"resourceRules": self.granted.get(spec["namespace"], []), "incomplete": False}

    def _delete(self, place: str, uid: str) -> Status:
        code, text = super().raw(place)
        if code != 200:
            return code, text
        found = json.loads(text)
        if found["metadata"].get("uid") != uid:
            return refusal(409, "the UID in the precondition is another", "Conflict")
        self.remove(found)
        return 200, text

    def watch(self, path: str) -> Told:
        stream, (place, _, query) = Told(), path.partition("?")
        since = int(parse_qs(query)["resourceVersion"][0])
        with self._lock:
            self.watched.append(path)
            self._streams[place].append(stream)
            for where, kind, item in self._changes[since:]:
                if where == place:
                    stream.tell(kind, item)
        return stream

    def _tell(self, kind: str, item: Mapping[str, Any]) -> None:
        api_version = str(item["apiVersion"])
        plural = KINDS.get((api_version, str(item["kind"])), ("", False))[0]
        where = f"{root(api_version)}/{plural}"
        self._changes.append((where, kind, dict(item)))
        for stream in self._streams[where]:
            stream.tell(kind, dict(item))

    @property
    def names(self) -> list[str]:
        """Kind and name of what was sent, in its order."""
        return [f"{obj['kind']}/{obj['metadata']['name']}" for _path, obj in self.patched]


class Told:
    """The lines of a watch: those that a test puts into it, until somebody ends it."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.closed = False

    def tell(self, kind: str, item: Object) -> None:
        self._lines.put(json.dumps({"type": kind, "object": item}) + "\n")

    def end(self) -> None:
        """As the server does it."""
        self._lines.put(None)

    def close(self) -> None:
        self.closed = True
        self.end()

    def __iter__(self) -> Iterator[str]:
        while (line := self._lines.get(timeout=20)) is not None:
            yield line


class Scripted:
    """Lists by path, and for each watch the next answer of its path: a stream, or an error."""

    def __init__(self, **lists: list[Object]) -> None:
        """`pods` is short for /api/v1/pods."""
        self.lists: dict[str, list[Object] | ApiError] = {f"/api/v1/{name}": items for name, items in lists.items()}
        self.version = 1
        self.refusals: list[ApiError] = []
        """What the next watches are refused with."""
        self.requests: list[str] = []
        self.watched: list[str] = []
        self.streams: list[Told] = []
        self.gate = threading.Event()
        """Watches wait for it; set."""
        self.gate.set()

    @property
    def stream(self) -> Told:
        """The open watch."""
        return self.streams[-1]

    def get(self, path: str) -> Any:
        self.requests.append(path)
        found = self.lists.get(path, ApiError(404, f"the API answered 404 to {path}"))
        if isinstance(found, ApiError):
            raise found
        return {"metadata": {"resourceVersion": str(self.version)}, "items": list(found)}

    def raw(self, path: str) -> tuple[int, str]:
        self.requests.append(path)
        return 200, "ok"

    def patch(self, path: str, body: str) -> tuple[int, str]:
        raise AssertionError(f"nothing is written by a watch: {path} {body}")

    def watch(self, path: str) -> Told:
        self.watched.append(path)
        assert self.gate.wait(20)
        if self.refusals:
            raise self.refusals.pop(0)
        self.streams.append(Told())
        return self.stream


def watching() -> list[str]:
    """Names of the threads that watch."""
    return [each.name for each in threading.enumerate() if each.name.startswith("watches ")]
