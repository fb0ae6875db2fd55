"""What controllers make of objects: pods of workloads, states, and what belongs to namespaces, services and others."""

from __future__ import annotations

import json

from tasks.rehearsal import objects, pods
from tasks.rehearsal.engine import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from tasks.rehearsal.conditions import Faults, Times
    from tasks.rehearsal.objects import Object, Record, Transaction

RELEASE = "meta.helm.sh/release-name"
"""Helm's annotation on all that belongs to a release."""
_REVISION = "deployment.kubernetes.io/revision"


class ControlPlane:
    """What controllers know beside the objects."""

    def __init__(self, doc: Transaction, now: float, times: Times, faults: Faults) -> None:
        self.doc, self.now, self.times, self.faults = doc, now, times, faults

    @property
    def active(self) -> float:
        """From when on controllers work; now, if they do."""
        return max(self.now, float(self.doc.fact("controllers") or 0.0))

    def outcome(self, obj: Object) -> tuple[float, str]:
        """Seconds from `active` until pods of a workload are ready, and whether they ever are.

        Those of k3s count from the API's readiness, a release's from the end of its installation: what controllers
        begin late is no later for it.
        """
        meta = obj["metadata"]
        release = (meta.get("annotations") or {}).get(RELEASE, "")
        own = f"{meta['namespace']}/{meta['name']}"
        due = self.active + self.times.seconds("workload ready", own, meta["name"])
        if meta["namespace"] == "kube-system" and not release:
            due = float(self.doc.fact("ready") or self.now) + self.times.seconds("system ready", meta["name"])
        elif release:
            names = (f"{meta['namespace']}/{release}", release)
            due = self.now + self.times.seconds("install", *names) + self.times.seconds("release ready", *names)
        seconds = max(0.0, due - self.active)
        about = [own, *([f"{meta['namespace']}/{release}"] if release else [])]
        images = [str(each.get("image", "")) for each in _containers(obj)]
        if self.faults.strike("image-missing", *about, *images):
            return seconds, pods.NO_IMAGE
        if self.faults.strike("release-never-ready", *about):
            return seconds, pods.NEVER_READY
        return seconds, pods.READY


def _containers(obj: Object) -> list[Mapping[str, Any]]:
    spec = obj["spec"] if obj["kind"] == "Pod" else obj["spec"].get("template", {}).get("spec") or {}
    return spec.get("containers") or []


def follow(plane: ControlPlane, record: Record, before: Object | None) -> None:
    """What controllers do about an object that was made or changed; `before`: what it was."""
    obj = record["object"]
    act = _CONTROLLERS.get(obj["kind"])
    if act is not None:
        act(plane, record, before)


def delete(plane: ControlPlane, obj: Object, at: float) -> None:
    """Take away an object and all that was made for it."""
    if obj["kind"] == "Namespace":
        _empty(plane, obj)
        return
    plane.doc.remove(obj, at)
    for record in plane.doc.owned(obj):
        if record.get("until") is None:
            delete(plane, record["object"], at)


def _empty(plane: ControlPlane, namespace: Object) -> None:
    """A namespace is there until all that is in it has gone."""
    name = namespace["metadata"]["name"]
    gone = plane.active + plane.times.seconds("namespace gone")
    record = plane.doc.get("v1", "Namespace", "", name, plane.now)
    if record is None or record["object"]["metadata"].get("deletionTimestamp"):
        return
    changed = objects.settle(record, plane.now)
    changed["metadata"]["deletionTimestamp"] = stamp(plane.now, 0)
    changed["status"] = {"phase": "Terminating"}
    plane.doc.put(changed, plane.now, until=gone)
    for each in plane.doc.housed(name):
        plane.doc.remove(each["object"], gone)


def heal(plane: ControlPlane) -> None:
    """Pods that would never get ready are recreated: what was wrong with them may be over."""
    for api_version, kind in (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet")):
        for record in plane.doc.existing(api_version, kind, plane.now):
            status = objects.seen(record, float("inf")).get("status") or {}
            if any(status.get(name) for name in ("readyReplicas", "numberAvailable")):
                continue
            follow(plane, record, None)
            plane.doc.sweep(plane.now)


# -- workloads --------------------------------------------------------------------------------------------

_COUNTS = {
    "Deployment": ("replicas updatedReplicas unavailableReplicas", "readyReplicas availableReplicas"),
    "StatefulSet": ("replicas updatedReplicas", "readyReplicas availableReplicas currentReplicas"),
    "DaemonSet": (
        "desiredNumberScheduled currentNumberScheduled updatedNumberScheduled",
        "numberReady numberAvailable",
    ),
}
"""Fields of a status that count all pods, and those that are ready."""


def _template(obj: Object) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"].get("template") or {}
    return found


def _count(obj: Object) -> int:
    found = obj["spec"].get("replicas")
    return 1 if found is None else int(found)


def _workload(plane: ControlPlane, record: Record, before: Object | None) -> None:
    """Pods for each version of their template; those of a Deployment belong to a ReplicaSet."""
    obj = record["object"]
    kind, meta, template = obj["kind"], obj["metadata"], _template(obj)
    same = before is not None and _template(before) == template and _count(before) == _count(obj)
    if same and kind != "DaemonSet":
        seen = [plane.now, {"status": {"observedGeneration": meta["generation"]}}]
        record["stages"] = [seen, *record.get("stages", [])]
        return
    mark = pods.suffix(json.dumps(template, sort_keys=True), 10)
    template = _labelled(template, "pod-template-hash" if kind == "Deployment" else "controller-revision-hash", mark)
    for each in plane.doc.owned(obj):
        delete(plane, each["object"], plane.now)
    owner = _replica_set(plane, obj, template, mark) if kind == "Deployment" else obj
    seconds, outcome = plane.outcome(obj)
    placed, due = _places(plane, owner, mark), plane.active
    for number, (name, start, node) in enumerate(placed):
        times: dict[str, Any] = {"now": start, "seconds": seconds, "outcome": outcome}
        due = max(due, pods.put(plane.doc, owner, name, template, number=number, node=node, **times))
    _report(plane, record, len(placed), due)


def _places(plane: ControlPlane, owner: Object, mark: str) -> list[tuple[str, float, str]]:
    """Names of an owner's pods, from when on each is there, and the node that it is bound to."""
    own = owner["metadata"]["name"]
    if owner["kind"] == "DaemonSet":
        return [
            (f"{own}-{pods.suffix(f'{node} {mark}')}", max(plane.active, ready), node)
            for node, ready in pods.nodes(plane.doc, plane.now)
        ]
    numbered = [str(number) for number in range(_count(owner))]
    if owner["kind"] == "ReplicaSet":
        numbered = [pods.suffix(f"{number} {owner['metadata']['uid']}") for number in numbered]
    return [(f"{own}-{each}", plane.active, "") for each in numbered]


def _replica_set(plane: ControlPlane, obj: Object, template: Mapping[str, Any], mark: str) -> Object:
    """Of a Deployment, for this version of its pods."""
    meta, count = obj["metadata"], _count(obj)
    notes = meta["annotations"] = dict(meta.get("annotations") or {})
    notes[_REVISION] = str(int(notes.get(_REVISION, "0")) + 1)
    owner: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta['name']}-{mark}",
            "namespace": meta["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": {_REVISION: notes[_REVISION]},
            "ownerReferences": [pods.reference(obj)],
            "generation": 1,
        },
        "spec": {"replicas": count, "selector": obj["spec"].get("selector") or {}, "template": template},
        "status": {"replicas": count, "observedGeneration": 1},
    }
    made: Object = plane.doc.put(owner, plane.now)["object"]
    return made


def _report(plane: ControlPlane, record: Record, count: int, due: float) -> None:
    """What a workload's status is when its controller has seen it, and when all of it is ready."""
    obj = record["object"]
    every, ready = (dict.fromkeys(names.split(), count) for names in _COUNTS[obj["kind"]])
    conditions = [{"type": "Available", "status": "False"}, {"type": "Progressing", "status": "True"}]
    soon = {"observedGeneration": obj["metadata"]["generation"], "conditions": conditions, **every}
    available = [{"type": "Available", "status": "True"}, conditions[1]]
    obj.pop("status", None)
    record["stages"] = [[plane.active, {"status": soon}]]
    if due != float("inf"):
        then = {**soon, **ready, "conditions": available, "unavailableReplicas": None}
        record["stages"].append([due, {"status": then}])


def _labelled(template: Mapping[str, Any], key: str, value: str) -> dict[str, Any]:
    meta = template.get("metadata") or {}
    return {**template, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), key: value}}}


def _job(plane: ControlPlane, record: Record, before: Object | None) -> None:
    if before is not None:
        return
    obj = record["object"]
    meta = obj["metadata"]
    _, outcome = plane.outcome(obj)
    seconds = plane.times.seconds("job done", f"{meta['namespace']}/{meta['name']}", meta["name"])
    name = f"{meta['name']}-{pods.suffix(meta['uid'])}"
    outcome = pods.DONE if outcome == pods.READY else outcome
    due = pods.put(plane.doc, obj, name, _template(obj), now=plane.active, seconds=seconds, outcome=outcome)
    done = {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1, "active": None}
    record["stages"] = [[plane.active, {"status": {"active": 1, "startTime": stamp(plane.active, 0)}}]]
    if due != float("inf"):
        record["stages"].append([due, {"status": done}])


def _pod(plane: ControlPlane, record: Record, before: Object | None) -> None:
    obj = record["object"]
    if before is not None or obj["metadata"].get("ownerReferences"):
        return
    seconds, outcome = plane.outcome(obj)
    pods.put(plane.doc, obj, obj["metadata"]["name"], obj, now=plane.now, seconds=seconds, outcome=outcome)


# -- other kinds ------------------------------------------------------------------------------------------


def _service(plane: ControlPlane, record: Record, before: Object | None) -> None:
    """What names the addresses behind it, in the old form and the new one. Rehearsed pods have none."""
    obj = record["object"]
    if before is not None or not obj["spec"].get("selector"):
        return
    meta = obj["metadata"]
    own = {"namespace": meta["namespace"], "ownerReferences": [pods.reference(obj)]}
    ends: dict[str, Any] = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {**own, "name": meta["name"]}}
    made = {**own, "name": f"{meta['name']}-{pods.suffix(meta['uid'])}", "generateName": f"{meta['name']}-"}
    part: dict[str, Any] = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**made, "labels": {"kubernetes.io/service-name": meta["name"]}},
        "addressType": "IPv4",
        "endpoints": [],
        "ports": [],
    }
    for each in (ends, part):
        plane.doc.put(each, plane.active)


def _namespace(plane: ControlPlane, record: Record, before: Object | None) -> None:
    if before is None:
        for kind, name in (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")):
            meta = {"name": name, "namespace": record["object"]["metadata"]["name"]}
            plane.doc.put({"apiVersion": "v1", "kind": kind, "metadata": meta}, plane.now)


def _resource_quota(plane: ControlPlane, record: Record, before: Object | None) -> None:
    hard = (record["object"].get("spec") or {}).get("hard") or {}
    if before is None or (before.get("spec") or {}).get("hard") != hard:
        record["stages"] = [[plane.active, {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}]]


def _definition(plane: ControlPlane, record: Record, before: Object | None) -> None:
    if before is None:
        record["served"] = plane.now + plane.times.seconds("crd established")
        rows = [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]
        record["stages"] = [[record["served"], {"status": {"conditions": rows}}]]


def _api_service(plane: ControlPlane, record: Record, _before: Object | None) -> None:
    record["stages"] = [[plane.now, {"status": {"conditions": [{"type": "Available", "status": "True"}]}}]]


def _volume_claim(plane: ControlPlane, record: Record, before: Object | None) -> None:
    if before is None:
        record["stages"] = [[plane.active, {"status": {"phase": "Bound"}}]]


_CONTROLLERS: dict[str, Callable[[ControlPlane, Record, Object | None], None]] = {
    "Deployment": _workload,
    "StatefulSet": _workload,
    "DaemonSet": _workload,
    "Job": _job,
    "Pod": _pod,
    "Service": _service,
    "Namespace": _namespace,
    "ResourceQuota": _resource_quota,
    "CustomResourceDefinition": _definition,
    "APIService": _api_service,
    "PersistentVolumeClaim": _volume_claim,
}
