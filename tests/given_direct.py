"""An API that can be written to and that tells of changes, served from objects."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from tasks.kube.objects import key, root
from tests.given_live import KINDS, FakeApi, Object, uid_given
from tests.given_watch import Told

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
    """Objects go in by `patch`, and all changes are told to those who watch."""

    def __init__(self, *objects: Mapping[str, Any], answers: Mapping[str, Any] | None = None) -> None:
        self.patched: list[tuple[str, Object]] = []
        """Path with query, and object."""
        self.sent: list[tuple[str, str, Object]] = []
        """Method, path with query, and body."""
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
        """A list tells the version from which on it can be watched."""
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
