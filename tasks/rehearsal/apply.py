"""Server-side apply, as far as it shows: objects are made or merged, and say who has set which of their fields."""

from __future__ import annotations

import json

from tasks.rehearsal import admission, objects, workloads
from tasks.rehearsal.admission import Refusal
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tasks.rehearsal.objects import Object, Record
    from tasks.rehearsal.workloads import World

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
"""Lists whose items are known by some of their fields; all other lists are whole values (Kubernetes: `listMapKey`)."""
_SERVERS = ("uid", "creationTimestamp", "resourceVersion", "generation", "managedFields", "deletionTimestamp")
_NO_GENERATION = frozenset({"ConfigMap", "Secret", "Namespace", "ServiceAccount", "ResourceQuota", "LimitRange"})


def apply(
    world: World, body: Object, manager: str, *, part: str = "", dry: bool = False, strict: bool = True
) -> tuple[int, Object]:
    """Code and object. `part`: `status`, where only that is set. Raises `Refusal`."""
    doc, now = world.doc, world.now
    meta = body["metadata"]
    namespace, name = meta.get("namespace", ""), meta["name"]
    if namespace:
        _open(world, namespace, body)
    if strict:
        admission.undeclared(body)
    old = doc.get(body["apiVersion"], body["kind"], namespace, name, now)
    if part:
        return _status(world, old, body, part)
    before = objects.settle(old, now) if old is not None else None
    applied: dict[str, Object] = dict((old or {}).get("applied") or {})
    mine = _own(admission.coded(body))
    made = _merged(before, mine, applied.get(manager), [each for who, each in applied.items() if who != manager])
    made = admission.filled(made)
    admission.invalid(made, before)
    applied[manager] = mine
    if before is not None and _same(before, made) and (old or {}).get("applied") == applied:
        return 200, objects.seen(old, now) if old is not None else made
    _sign(made, before, applied, now)
    if dry:
        return (200 if old is not None else 201), made
    record = _keep(world, made, old, applied)
    workloads.follow(world, record, before)
    _special(world, record, before)
    return (200 if old is not None else 201), objects.seen(record, now)


def _open(world: World, namespace: str, body: Object) -> None:
    record = world.doc.get("v1", "Namespace", "", namespace, world.now)
    if record is None:
        raise Refusal(404, "NotFound", f'namespaces "{namespace}" not found')
    if record["object"]["metadata"].get("deletionTimestamp"):
        plural, name = body["kind"].lower() + "s", body["metadata"]["name"]
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise Refusal(403, "Forbidden", f'{plural} "{name}" is forbidden: {why}')


def _status(world: World, old: Record | None, body: Object, part: str) -> tuple[int, Object]:
    if old is None:
        name = body["metadata"]["name"]
        raise Refusal(404, "NotFound", f'{body["kind"].lower()}s "{name}" not found')
    made = objects.settle(old, world.now)
    made[part] = objects.merged(made.get(part), body.get(part))
    later = [each for each in old.get("stages", ()) if each[0] > world.now]
    kept = {key: value for key, value in old.items() if key in ("from", "until", "applied", "served", "ready")}
    record = world.doc.put(made, world.now, stages=later, **kept)
    return 200, objects.seen(record, world.now)


def _own(body: Object) -> Object:
    """What an applied object sets."""
    meta = {key: value for key, value in body["metadata"].items() if key not in _SERVERS and value is not None}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": meta}


def _merged(before: Object | None, mine: Object, last: Object | None, others: list[Object]) -> Object:
    """Ours over what is there, less what we had set before and do not any more."""
    if before is None:
        return {**mine, "metadata": dict(mine["metadata"])}
    cleared = _without(before, last, mine, others) if last is not None else before
    found: Object = _over(cleared, mine, "")
    return found


def _over(there: Any, mine: Any, name: str) -> Any:  # noqa: ANN401 - any JSON values
    if isinstance(there, dict) and isinstance(mine, dict):
        return {**there, **{key: _over(there.get(key), value, key) for key, value in mine.items()}}
    if isinstance(there, list) and isinstance(mine, list) and name in _KEYS:
        known = {_key(each, name): each for each in there}
        ours = {_key(each, name): each for each in mine}
        kept = [_over(each, ours[key], "") if key in ours else each for key, each in known.items()]
        return kept + [each for key, each in ours.items() if key not in known]
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


def _same(before: Object, made: Object) -> bool:
    def bare(obj: Object) -> Object:
        meta = {key: value for key, value in obj["metadata"].items() if key not in _SERVERS}
        return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": meta}

    return bare(before) == bare(made)


def _sign(made: Object, before: Object | None, applied: Mapping[str, Object], now: float) -> None:
    """What the server itself writes into metadata."""
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
    """The names of all that is set and still has that value (Kubernetes: `FieldsV1`)."""
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


def _keep(world: World, made: Object, old: Record | None, applied: Mapping[str, Object]) -> Record:
    later = [each for each in (old or {}).get("stages", ()) if each[0] > world.now]
    more = {key: (old or {})[key] for key in ("served", "ready") if key in (old or {})}
    return world.doc.put(made, world.now, stages=later, applied=dict(applied), **more)


def _special(world: World, record: Record, before: Object | None) -> None:
    """What the server and its controllers do beside workloads."""
    obj, now = record["object"], world.now
    meta = obj["metadata"]
    if obj["kind"] == "Namespace" and before is None:
        for kind, name in (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")):
            more: Object = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": meta["name"]}}
            world.doc.put(more, now)
    elif obj["kind"] == "ResourceQuota":
        hard = (obj.get("spec") or {}).get("hard") or {}
        if before is None or (before.get("spec") or {}).get("hard") != hard:
            used = dict.fromkeys(hard, "0")
            record["stages"] = [[world.active, {"status": {"hard": hard, "used": used}}]]
    elif obj["kind"] == "CustomResourceDefinition" and before is None:
        record["served"] = now + world.times.seconds("crd established")
        rows = [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]
        record["stages"] = [[record["served"], {"status": {"conditions": rows}}]]
    elif obj["kind"] == "APIService":
        record["stages"] = [[now, {"status": {"conditions": [{"type": "Available", "status": "True"}]}}]]
    elif obj["kind"] == "PersistentVolumeClaim" and before is None:
        record["stages"] = [[world.active, {"status": {"phase": "Bound"}}]]
