"""Simulated controllers: pods of workloads, their scheduling and states, and dependent objects of
namespaces, services and others.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tasks.core.imageref import parse
from tasks.kube.ownership import RELEASE_NAME
from tasks.rehearsal import objects
from tasks.rehearsal.engine import fake_digest, stamp
from tasks.rehearsal.faults import Faults, Times
from tasks.rehearsal.objects import Object, Record, Transaction

_REVISION = "deployment.kubernetes.io/revision"
READY, NEVER_READY, NO_IMAGE, DONE = "ready", "never ready", "no image", "done"
"""Outcomes of a pod."""
_UNSCHEDULABLE = "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Characters of generated names (Kubernetes: `apimachinery/pkg/util/rand`)."""


class ControlPlane:
    """State of controllers besides the objects."""

    def __init__(self, doc: Transaction, now: float, times: Times, faults: Faults) -> None:
        self.doc, self.now, self.times, self.faults = doc, now, times, faults

    @property
    def active(self) -> float:
        """When controllers start to work; now, if they already do."""
        return max(self.now, float(self.doc.fact("controllers") or 0.0))

    def outcome(self, obj: Object) -> tuple[float, str]:
        """Seconds from `active` until pods of a workload are ready, and whether they ever are.

        Those of k3s count from the API's readiness, a release's from the end of its installation: a late start of
        controllers does not delay them further.
        """
        meta = obj["metadata"]
        release = (meta.get("annotations") or {}).get(RELEASE_NAME, "")
        own = f"{meta['namespace']}/{meta['name']}"
        due = self.active + self.times.seconds("workload ready", own, meta["name"])
        if meta["namespace"] == "kube-system" and not release:
            due = float(self.doc.fact("ready") or self.now) + self.times.seconds("system ready", meta["name"])
        elif release:
            names = (f"{meta['namespace']}/{release}", release)
            due = self.now + self.times.seconds("install", *names) + self.times.seconds("release ready", *names)
        seconds = max(0.0, due - self.active)
        about = [own, *([f"{meta['namespace']}/{release}"] if release else [])]
        spec = obj["spec"] if obj["kind"] == "Pod" else _template(obj).get("spec") or {}
        images = [str(each.get("image", "")) for each in spec.get("containers") or []]
        if self.faults.strike("image-missing", *about, *images):
            return seconds, NO_IMAGE
        if self.faults.strike("release-never-ready", *about):
            return seconds, NEVER_READY
        return seconds, READY


def follow(plane: ControlPlane, record: Record, before: Object | None) -> None:
    """The reaction of controllers to a created or changed object; `before`: its previous state."""
    act = _CONTROLLERS.get(record["object"]["kind"])
    if act is not None:
        act(plane, record, before)


def delete(plane: ControlPlane, obj: Object) -> None:
    """Delete an object and its dependents. No task deletes a namespace here."""
    plane.doc.remove(obj, plane.now)
    for record in plane.doc.owned(obj):
        delete(plane, record["object"])


def heal(plane: ControlPlane) -> None:
    """Recreate pods that would never become ready: their fault may be over."""
    for kind in _COUNTS:
        for record in plane.doc.existing("apps/v1", kind, plane.now):
            status = objects.seen(record, float("inf")).get("status") or {}
            if any(status.get(name) for name in ("readyReplicas", "numberAvailable")):
                continue
            follow(plane, record, None)


# -- workloads --------------------------------------------------------------------------------------------

_COUNTS = {
    "Deployment": ("replicas updatedReplicas unavailableReplicas", "readyReplicas availableReplicas"),
    "StatefulSet": ("replicas updatedReplicas", "readyReplicas availableReplicas currentReplicas"),
    "DaemonSet": (
        "desiredNumberScheduled currentNumberScheduled updatedNumberScheduled",
        "numberReady numberAvailable",
    ),
}
"""Fields of a status that count all pods, and ready ones."""


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
    mark = _suffix(json.dumps(template, sort_keys=True), 10)
    template = _labelled(template, "pod-template-hash" if kind == "Deployment" else "controller-revision-hash", mark)
    for each in plane.doc.owned(obj):
        delete(plane, each["object"])
    owner = _replica_set(plane, obj, template, mark) if kind == "Deployment" else obj
    seconds, outcome = plane.outcome(obj)
    placed, due = _places(plane, owner, mark), plane.active
    for number, (name, start, node) in enumerate(placed):
        times: dict[str, Any] = {"now": start, "seconds": seconds, "outcome": outcome}
        due = max(due, _put(plane.doc, owner, name, template, number=number, node=node, **times))
    _report(plane, record, len(placed), due)


def _places(plane: ControlPlane, owner: Object, mark: str) -> list[tuple[str, float, str]]:
    """Names of an owner's pods, with the time of creation and the bound node."""
    own = owner["metadata"]["name"]
    if owner["kind"] == "DaemonSet":
        return [
            (f"{own}-{_suffix(f'{node} {mark}')}", max(plane.active, ready), node) for node, ready in _nodes(plane.doc)
        ]
    names = [str(number) for number in range(_count(owner))]
    if owner["kind"] == "ReplicaSet":
        names = [_suffix(f"{number} {owner['metadata']['uid']}") for number in names]
    return [(f"{own}-{each}", plane.active, "") for each in names]


def _replica_set(plane: ControlPlane, obj: Object, template: Mapping[str, Any], mark: str) -> Object:
    """The ReplicaSet of a Deployment for this version of its pods."""
    meta, count = obj["metadata"], _count(obj)
    notes = meta["annotations"] = dict(meta.get("annotations") or {})
    notes[_REVISION] = str(int(notes.get(_REVISION, "0")) + 1)
    about = {
        "name": f"{meta['name']}-{mark}",
        "namespace": meta["namespace"],
        "labels": dict(template["metadata"]["labels"]),
        "annotations": {_REVISION: notes[_REVISION]},
        "ownerReferences": [_reference(obj)],
        "generation": 1,
    }
    spec = {"replicas": count, "selector": obj["spec"].get("selector") or {}, "template": template}
    status = {"replicas": count, "observedGeneration": 1}
    made: Object = plane.doc.put(_object("apps/v1", "ReplicaSet", about, spec=spec, status=status), plane.now)["object"]
    return made


def _report(plane: ControlPlane, record: Record, count: int, due: float) -> None:
    """A workload's status when its controller has observed it, and when everything is ready."""
    obj = record["object"]
    every, ready = (dict.fromkeys(names.split(), count) for names in _COUNTS[obj["kind"]])
    late, available = ([_condition("Available", word), _condition("Progressing", "True")] for word in ("False", "True"))
    soon = {"observedGeneration": obj["metadata"]["generation"], "conditions": late, **every}
    then = {**soon, **ready, "conditions": available, "unavailableReplicas": None}
    obj.pop("status", None)
    record["stages"] = [[plane.active, {"status": soon}], *([[due, {"status": then}]] if due != float("inf") else [])]


def _labelled(template: Mapping[str, Any], key: str, value: str) -> dict[str, Any]:
    meta = template.get("metadata") or {}
    return {**template, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), key: value}}}


def _job(plane: ControlPlane, record: Record, before: Object | None) -> None:
    if before is not None:
        return
    obj, meta, (_, outcome) = record["object"], record["object"]["metadata"], plane.outcome(record["object"])
    seconds = plane.times.seconds("job done", f"{meta['namespace']}/{meta['name']}", meta["name"])
    name = f"{meta['name']}-{_suffix(meta['uid'])}"
    outcome = DONE if outcome == READY else outcome
    due = _put(plane.doc, obj, name, _template(obj), now=plane.active, seconds=seconds, outcome=outcome)
    done = {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1, "active": None}
    record["stages"] = [[plane.active, {"status": {"active": 1, "startTime": stamp(plane.active, 0)}}]]
    if due != float("inf"):
        record["stages"].append([due, {"status": done}])


def _pod(plane: ControlPlane, record: Record, before: Object | None) -> None:
    obj = record["object"]
    if before is not None or obj["metadata"].get("ownerReferences"):
        return
    seconds, outcome = plane.outcome(obj)
    _put(plane.doc, obj, obj["metadata"]["name"], obj, now=plane.now, seconds=seconds, outcome=outcome)


# -- pods -------------------------------------------------------------------------------------------------


def _suffix(text: str, digits: int = 5) -> str:
    """Letters for a name, deterministic for a text."""
    number, found = int(fake_digest(text)[:24], 16), ""
    while len(found) < digits:
        number, letter = divmod(number, len(_LETTERS))
        found += _LETTERS[letter]
    return found


def _nodes(view: Transaction) -> list[tuple[str, float]]:
    """Nodes that are registered or will be, with the time when each becomes ready; the first one first."""
    found = [
        (str(record["object"]["metadata"]["name"]), float(record["ready"])) for record in view.records("v1", "Node")
    ]
    return sorted(found, key=lambda each: (each[1], each[0]))


def _assign(view: Transaction, number: int, now: float) -> tuple[str, float]:
    """Node and time for the n-th pod: among nodes that are ready now, else the first one to be ready."""
    found = _nodes(view)
    ready = [each for each in found if each[1] <= now]
    if ready:
        name, _ = ready[number % len(ready)]
        return name, now
    return found[0] if found else ("", float("inf"))


def _put(
    doc: Transaction,
    owner: Object,
    name: str,
    template: Mapping[str, Any],
    *,
    now: float,
    seconds: float,
    number: int = 0,
    outcome: str = READY,
    node: str = "",
) -> float:
    """Create a pod; returns when it is ready or done. `seconds` count from now, or from its node's readiness."""
    where, placed = (node, now) if node else _assign(doc, number, now)
    unbound = {**_condition("PodScheduled", "False"), "reason": "Unschedulable", "message": _UNSCHEDULABLE}
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if key in ("labels", "annotations")}
    made = {**meta, "name": name, "namespace": owner["metadata"]["namespace"], "ownerReferences": [_reference(owner)]}
    obj = _object("v1", "Pod", {**owner["metadata"]} if owner["kind"] == "Pod" else made)
    obj |= {"spec": dict(template.get("spec") or {}), "status": {"phase": "Pending", "conditions": [unbound]}}
    due = max(now + seconds, placed)
    bound = {"phase": "Pending", "conditions": [_condition("PodScheduled", "True")]}
    stages = [(placed, {"status": bound, "spec": {"nodeName": where}})]
    stages.append((due, {"status": _outcome(obj, outcome, due)} if due != float("inf") else {}))
    doc.put(obj, now, stages=[each for each in stages if each[0] != float("inf")])
    if outcome not in (NEVER_READY, NO_IMAGE):
        return due
    if due != float("inf"):
        _event(doc, obj, outcome, due)
    return float("inf")


def _object(api_version: str, kind: str, meta: Mapping[str, Any], **more: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **more}


def _reference(owner: Object) -> dict[str, Any]:
    """The owner reference of an object."""
    about = {key: owner[key] for key in ("apiVersion", "kind")}
    name, uid = owner["metadata"]["name"], owner["metadata"]["uid"]
    return {**about, "name": name, "uid": uid, "controller": True, "blockOwnerDeletion": True}


def _condition(kind: str, value: str) -> dict[str, Any]:
    return {"type": kind, "status": value}


def _outcome(obj: Object, outcome: str, due: float) -> dict[str, Any]:
    """The pod's final status."""
    named, at, ready = obj["spec"].get("containers") or [], stamp(due, 0), outcome == READY
    phase, states = "Running", [{"running": {"startedAt": at}}] * len(named)
    if outcome == NO_IMAGE:
        images = [str(each.get("image", "")) for each in named]
        messages = [f'Back-off pulling image "{image}": ErrImagePull: {_not_found(image)}' for image in images]
        phase, states = "Pending", [{"waiting": {"reason": "ImagePullBackOff", "message": each}} for each in messages]
    elif outcome == DONE:
        ended = {"exitCode": 0, "reason": "Completed", "finishedAt": at}
        phase, states = "Succeeded", [{"terminated": ended}] * len(named)  # type: ignore[dict-item]
    rows = [
        {"name": each.get("name"), "image": each.get("image"), "ready": ready, "restartCount": 0, "state": state}
        for each, state in zip(named, states, strict=True)
    ]
    conditions = [_condition("PodScheduled", "True"), _condition("Ready", str(ready))]
    return {"phase": phase, "conditions": conditions, "containerStatuses": rows}


def _not_found(image: str) -> str:
    """Message of containerd about an image that its registry does not have."""
    whole = parse(image).full
    return f'failed to pull and unpack image "{whole}": failed to resolve reference "{whole}": {whole}: not found'


def _event(doc: Transaction, pod: Object, outcome: str, at: float) -> None:
    """A warning event of the kubelet."""
    meta = pod["metadata"]
    image = str((pod["spec"].get("containers") or [{}])[0].get("image", ""))
    reason, message = ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    if outcome == NO_IMAGE:
        reason, message = ("Failed", f'Failed to pull image "{image}": {_not_found(image)}')
    name = {"name": f"{meta['name']}.{_suffix(meta['name'], 12)}", "namespace": meta["namespace"]}
    about = {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "apiVersion": "v1"}
    event = {"type": "Warning", "reason": reason, "message": message, "count": 1, "lastTimestamp": stamp(at, 0)}
    doc.put(_object("v1", "Event", name, involvedObject=about, **event), at, **{"from": at})


# -- other kinds ------------------------------------------------------------------------------------------


def _service(plane: ControlPlane, record: Record, before: Object | None) -> None:
    """The addresses of a Service, as Endpoints and EndpointSlice. Rehearsed pods have none."""
    obj = record["object"]
    if before is not None or not obj["spec"].get("selector"):
        return
    meta = obj["metadata"]
    own = {"namespace": meta["namespace"], "ownerReferences": [_reference(obj)]}
    made = {**own, "name": f"{meta['name']}-{_suffix(meta['uid'])}", "generateName": f"{meta['name']}-"}
    made["labels"] = {"kubernetes.io/service-name": meta["name"]}
    more: dict[str, Any] = {"addressType": "IPv4", "endpoints": [], "ports": []}
    plane.doc.put(_object("v1", "Endpoints", {**own, "name": meta["name"]}), plane.active)
    plane.doc.put(_object("discovery.k8s.io/v1", "EndpointSlice", made, **more), plane.active)


def _namespace(plane: ControlPlane, record: Record, before: Object | None) -> None:
    if before is None:
        for kind, name in (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")):
            meta = {"name": name, "namespace": record["object"]["metadata"]["name"]}
            plane.doc.put(_object("v1", kind, meta), plane.now)


def _resource_quota(plane: ControlPlane, record: Record, before: Object | None) -> None:
    hard = (record["object"].get("spec") or {}).get("hard") or {}
    if before is None or (before.get("spec") or {}).get("hard") != hard:
        record["stages"] = [[plane.active, {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}]]


def _definition(plane: ControlPlane, record: Record, before: Object | None) -> None:
    if before is None:
        record["served"] = plane.now + plane.times.seconds("crd established")
        rows = [_condition("NamesAccepted", "True"), _condition("Established", "True")]
        record["stages"] = [[record["served"], {"status": {"conditions": rows}}]]


def _api_service(plane: ControlPlane, record: Record, _before: Object | None) -> None:
    record["stages"] = [[plane.now, {"status": {"conditions": [_condition("Available", "True")]}}]]


def _volume_claim(plane: ControlPlane, record: Record, before: Object | None) -> None:
    if before is None:
        record["stages"] = [[plane.active, {"status": {"phase": "Bound"}}]]


_CONTROLLERS: dict[str, Callable[[ControlPlane, Record, Object | None], None]] = {
    **dict.fromkeys(_COUNTS, _workload),
    "Job": _job,
    "Pod": _pod,
    "Service": _service,
    "Namespace": _namespace,
    "ResourceQuota": _resource_quota,
    "CustomResourceDefinition": _definition,
    "APIService": _api_service,
    "PersistentVolumeClaim": _volume_claim,
}
