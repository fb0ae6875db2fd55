"""What controllers make of objects: pods of workloads, states, and what belongs to namespaces, services and others."""

from __future__ import annotations

import json

from tasks.rehearsal import objects, pods
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from tasks.rehearsal.faults import Faults
    from tasks.rehearsal.objects import Object, Record, Transaction
    from tasks.rehearsal.times import Times

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
            for each in plane.doc.owned(record["object"]):
                delete(plane, each["object"], plane.now)
            plane.doc.sweep(plane.now)
            follow(plane, record, None)


# -- workloads --------------------------------------------------------------------------------------------


def _template(obj: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = obj["spec"].get("template") or {}
    return found


def _count(obj: Object) -> int:
    found = obj["spec"].get("replicas")
    return 1 if found is None else int(found)


def _deployment(plane: ControlPlane, record: Record, before: Object | None) -> None:
    """A ReplicaSet for each version of its pods; the newest has them."""
    obj, count = record["object"], _count(record["object"])
    meta = obj["metadata"]
    same = before is not None and _template(before) == _template(obj) and _count(before) == count
    if before is not None and same:
        record["stages"] = [
            [plane.now, {"status": {"observedGeneration": meta["generation"]}}],
            *record.get("stages", []),
        ]
        return
    revision = int(((before or obj)["metadata"].get("annotations") or {}).get(_REVISION, "0")) + 1
    meta.setdefault("annotations", {})[_REVISION] = str(revision)
    mark = pods.suffix(json.dumps(_template(obj), sort_keys=True), 10)
    template = _labelled(_template(obj), "pod-template-hash", mark)
    owner: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{meta['name']}-{mark}",
            "namespace": meta["namespace"],
            "labels": dict(template["metadata"]["labels"]),
            "annotations": {_REVISION: str(revision)},
            "ownerReferences": [pods.reference(obj)],
            "generation": 1,
        },
        "spec": {"replicas": count, "selector": obj["spec"].get("selector") or {}, "template": template},
    }
    due = _pods(plane, obj, owner, template, count)
    old = [
        each["object"]
        for each in plane.doc.owned(obj)
        if objects.exists(each, plane.now) and each["object"]["metadata"]["name"] != owner["metadata"]["name"]
    ]
    leaving = sum(_count(each) for each in old)
    for each in old:
        delete(plane, each, due)
    status = {"observedGeneration": meta["generation"], "updatedReplicas": count}
    soon = {**status, "replicas": count + leaving, "availableReplicas": leaving, "unavailableReplicas": count}
    _stages(
        plane, record, due, soon, {**status, **_all("replicas readyReplicas availableReplicas", count)}, "Available"
    )


def _pods(plane: ControlPlane, obj: Object, owner: Object, template: Mapping[str, Any], count: int) -> float:
    """The owner with its pods; when the last of them is ready."""
    seconds, outcome = plane.outcome(obj)
    record = plane.doc.put(owner, plane.now)
    due = plane.active if count == 0 else 0.0
    for number in range(count):
        name = f"{owner['metadata']['name']}-{pods.suffix(f'{number} {owner}')}"
        made = pods.put(
            plane.doc, owner, name, template, now=plane.active, seconds=seconds, number=number, outcome=outcome
        )
        due = max(due, made)
    replicas = {**_all("replicas", count), "observedGeneration": 1}
    _stages(plane, record, due, replicas, {**replicas, **_all("readyReplicas availableReplicas", count)}, "")
    return due


def _stages(
    plane: ControlPlane, record: Record, due: float, soon: Mapping[str, Any], then: Mapping[str, Any], condition: str
) -> None:
    """What a workload tells when its controller has seen it, and when all of it is ready."""

    def shown(status: Mapping[str, Any], word: str) -> dict[str, Any]:
        if not condition:
            return {"status": dict(status)}
        rows = [{"type": condition, "status": word}, {"type": "Progressing", "status": "True"}]
        return {"status": {**status, "conditions": rows, "unavailableReplicas": status.get("unavailableReplicas")}}

    record["object"].pop("status", None)
    stages: list[list[Any]] = [[plane.active, shown(soon, "False")]]
    if due != float("inf"):
        stages.append([due, shown(then, "True")])
    record["stages"] = stages


def _all(names: str, count: int) -> dict[str, int]:
    return dict.fromkeys(names.split(), count)


def _labelled(template: Mapping[str, Any], key: str, value: str) -> dict[str, Any]:
    meta = template.get("metadata") or {}
    return {**template, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), key: value}}}


def _stateful_set(plane: ControlPlane, record: Record, before: Object | None) -> None:
    obj, count = record["object"], _count(record["object"])
    meta = obj["metadata"]
    seconds, outcome = plane.outcome(obj)
    revision = f"{meta['name']}-{pods.suffix(json.dumps(_template(obj), sort_keys=True), 10)}"
    template = _labelled(_template(obj), "controller-revision-hash", revision)
    if before is not None:
        _clear_pods(plane, obj)
    due = plane.active
    for number in range(count):
        name = f"{meta['name']}-{number}"
        due = max(
            due,
            pods.put(plane.doc, obj, name, template, now=plane.active, seconds=seconds, number=number, outcome=outcome),
        )
    status = {"observedGeneration": meta["generation"], "updateRevision": revision, "currentRevision": revision}
    soon = {**status, **_all("replicas updatedReplicas", count)}
    _stages(plane, record, due, soon, {**soon, **_all("readyReplicas availableReplicas currentReplicas", count)}, "")


def _daemon_set(plane: ControlPlane, record: Record, before: Object | None) -> None:
    obj = record["object"]
    meta = obj["metadata"]
    seconds, outcome = plane.outcome(obj)
    mark = pods.suffix(json.dumps(_template(obj), sort_keys=True), 10)
    template = _labelled(_template(obj), "controller-revision-hash", mark)
    if before is not None:
        _clear_pods(plane, obj)
    due, there = plane.active, pods.nodes(plane.doc, plane.now)
    for node, ready in there:
        start = max(plane.active, ready)
        name = f"{meta['name']}-{pods.suffix(f'{node} {mark}')}"
        due = max(due, pods.put(plane.doc, obj, name, template, now=start, seconds=seconds, outcome=outcome, node=node))
    status = {"observedGeneration": meta["generation"], "numberMisscheduled": 0}
    soon = {**status, **_all("desiredNumberScheduled currentNumberScheduled updatedNumberScheduled", len(there))}
    soon["numberReady"] = 0
    _stages(plane, record, due, soon, {**soon, **_all("numberReady numberAvailable", len(there))}, "")


def _clear_pods(plane: ControlPlane, owner: Object) -> None:
    for each in plane.doc.owned(owner):
        plane.doc.remove(each["object"], plane.now)


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
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "Pod": _pod,
    "Service": _service,
    "Namespace": _namespace,
    "ResourceQuota": _resource_quota,
    "CustomResourceDefinition": _definition,
    "APIService": _api_service,
    "PersistentVolumeClaim": _volume_claim,
}
