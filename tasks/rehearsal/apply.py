"""Simulated server-side apply: objects are created or merged, with the manager of each field."""

import json
from collections.abc import Mapping
from typing import Any

from tasks.kube.objects import as_stored
from tasks.rehearsal import controllers, objects
from tasks.rehearsal.controllers import ControlPlane
from tasks.rehearsal.engine import stamp
from tasks.rehearsal.objects import Object, Record

_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "port", "protocol"),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "hostAliases": ("ip",),
}
"""Lists whose items have keys; all other lists are atomic (Kubernetes: `listMapKey`)."""
_SERVERS = ("uid", "creationTimestamp", "resourceVersion", "generation", "managedFields", "deletionTimestamp")
_NO_GENERATION = frozenset({"ConfigMap", "Secret", "Namespace", "ServiceAccount", "ResourceQuota", "LimitRange"})


class Refusal(Exception):
    """The API's response to a request that it rejects."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def status(self) -> dict[str, Any]:
        """As sent by the API."""
        status = {"status": "Failure", "message": self.message, "reason": self.reason, "code": self.code}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **status}


def apply(plane: ControlPlane, body: Object, manager: str, *, part: str = "", dry: bool = False) -> tuple[int, Object]:
    """Code and object. `part`: `status`, if only that is set. Raises `Refusal`."""
    doc, now = plane.doc, plane.now
    meta = body["metadata"]
    namespace, name = meta.get("namespace", ""), meta["name"]
    if namespace and doc.get("v1", "Namespace", "", namespace, now) is None:
        raise Refusal(404, "NotFound", f'namespaces "{namespace}" not found')
    old = doc.get(body["apiVersion"], body["kind"], namespace, name, now)
    if part and old is not None:
        return _status(plane, old, body)
    before = objects.settle(old, now) if old is not None else None
    applied: dict[str, Object] = dict((old or {}).get("applied") or {})
    mine = _own({key: value for key, value in as_stored(body).items() if key != "stringData"})
    others = [each for who, each in applied.items() if who != manager]
    made = _filled(_merged(before, mine, applied.get(manager), others))
    applied[manager] = mine
    if old is not None and before is not None and _own(before) == _own(made) and old.get("applied") == applied:
        return 200, objects.seen(old, now)
    _sign(made, before, applied, now)
    if dry:
        return (200 if old is not None else 201), made
    record = doc.put(made, now, **{**_kept(old or {}, now), "applied": applied})
    controllers.follow(plane, record, before)
    return (200 if old is not None else 201), objects.seen(record, now)


def _status(plane: ControlPlane, old: Record, body: Object) -> tuple[int, Object]:
    made = objects.settle(old, plane.now)
    made["status"] = objects.merged(made.get("status"), body.get("status"))
    record = plane.doc.put(made, plane.now, **_kept(old, plane.now))
    return 200, objects.seen(record, plane.now)


def _kept(old: Record, now: float) -> Record:
    """The parts of a record that survive a change of its object, including pending stages."""
    kept = {key: value for key, value in old.items() if key not in ("object", "stamp")}
    return {**kept, "stages": [each for each in old.get("stages", ()) if each[0] > now]}


def _own(body: Object) -> Object:
    """The fields set by an applied object."""
    meta = {key: value for key, value in body["metadata"].items() if key not in _SERVERS and value is not None}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": meta}


def _merged(before: Object | None, mine: Object, last: Object | None, others: list[Object]) -> Object:
    """Our fields over the existing ones, without those that we had set before and no longer do."""
    if before is None:
        return mine
    cleared = _without(before, last, mine, others) if last is not None else before
    found: Object = _over(cleared, mine, "")
    return found


def _over(there: Any, mine: Any, name: str) -> Any:  # noqa: ANN401 - any JSON values
    if isinstance(there, dict) and isinstance(mine, dict):
        return {**there, **{key: _over(there.get(key), value, key) for key, value in mine.items()}}
    if isinstance(there, list) and isinstance(mine, list) and name in _KEYS:
        known = {_key(each, name): each for each in there}
        ours = {_key(each, name): each for each in mine}
        merged = [_over(each, ours[key], "") if key in ours else each for key, each in known.items()]
        return merged + [each for key, each in ours.items() if key not in known]
    return mine


def _key(item: Any, name: str) -> tuple[Any, ...]:  # noqa: ANN401 - an item of a list
    return tuple(item.get(each) for each in _KEYS[name]) if isinstance(item, dict) else (str(item),)


def _without(there: Any, last: Any, mine: Any, others: list[Any], name: str = "") -> Any:  # noqa: ANN401 - JSON
    if isinstance(there, dict) and isinstance(last, dict) and isinstance(mine, dict):
        found = {}
        for key, value in there.items():
            theirs = [each[key] for each in others if isinstance(each, dict) and key in each]
            if key in last and key not in mine and not theirs:
                continue
            found[key] = _without(value, last[key], mine[key], theirs, key) if key in last and key in mine else value
        return found
    if isinstance(there, list) and isinstance(last, list) and isinstance(mine, list) and name in _KEYS:
        gone = {_key(each, name) for each in last} - {_key(each, name) for each in mine}
        return [each for each in there if _key(each, name) not in gone]
    return there


def _sign(made: Object, before: Object | None, applied: Mapping[str, Object], now: float) -> None:
    """Metadata that the server itself writes."""
    meta = made["metadata"] = dict(made["metadata"])
    if made["kind"] not in _NO_GENERATION:
        changed = before is None or before.get("spec") != made.get("spec")
        meta["generation"] = ((before or {}).get("metadata", {}).get("generation") or 0) + changed
    meta["managedFields"] = [
        {
            "manager": manager,
            "operation": "Apply",
            "apiVersion": made["apiVersion"],
            "time": stamp(now, 0),
            "fieldsType": "FieldsV1",
            "fieldsV1": _fields({key: body[key] for key in body if key not in ("apiVersion", "kind")}, made),
        }
        for manager, body in applied.items()
    ]


def _fields(value: Object, there: Object) -> Object:
    """The names of all set fields that still have their value (Kubernetes: `FieldsV1`)."""
    found: Object = {}
    for key, each in value.items():
        live = there.get(key)
        if isinstance(each, dict) and each and isinstance(live, dict):
            own = {
                name: inner for name, inner in each.items() if key != "metadata" or name not in ("name", "namespace")
            }
            found |= {f"f:{key}": inner} if (inner := _fields(own, live)) else {}
        elif isinstance(each, list) and key in _KEYS and isinstance(live, list):
            items = [item for item in each if any(_contains(row, item) for row in live)]
            keys = [{name: item[name] for name in _KEYS[key] if name in item} for item in items]
            found |= {f"f:{key}": {f"k:{json.dumps(names)}": {} for names in keys}} if keys else {}
        elif each == live:
            found[f"f:{key}"] = {}
    return found


def _contains(there: Any, item: Any) -> bool:  # noqa: ANN401 - any JSON values
    if isinstance(there, dict) and isinstance(item, dict):
        return all(_contains(there.get(key), value) for key, value in item.items())
    return bool(there == item)


def _filled(obj: Object) -> Object:
    """With defaults of the API that others read."""
    made = dict(obj)
    if obj["kind"] == "Secret":
        made.setdefault("type", "Opaque")
    elif obj["kind"] == "Namespace":
        meta = made["metadata"]
        made["metadata"] = {
            **meta,
            "labels": {"kubernetes.io/metadata.name": meta["name"], **(meta.get("labels") or {})},
        }
        made.setdefault("status", {"phase": "Active"})
    return made
