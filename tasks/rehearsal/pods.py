"""Pods: made by their owners, placed on nodes, and what becomes of them."""

from __future__ import annotations

from tasks.core.imageref import parse
from tasks.rehearsal.engine import fake_digest, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tasks.rehearsal.objects import Object, Transaction

READY, NEVER_READY, NO_IMAGE, DONE = "ready", "never ready", "no image", "done"
"""What becomes of a pod."""
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What generated names consist of (Kubernetes: `apimachinery/pkg/util/rand`)."""


def suffix(text: str, digits: int = 5) -> str:
    """Letters for a name, the same each time for the same text."""
    number, found = int(fake_digest(text)[:24], 16), ""
    while len(found) < digits:
        number, letter = divmod(number, len(_LETTERS))
        found += _LETTERS[letter]
    return found


def nodes(view: Transaction, now: float) -> list[tuple[str, float]]:
    """Nodes that are registered or will be, with the moment from which each is ready; the first ready one first."""
    found = [
        (str(record["object"]["metadata"]["name"]), float(record["ready"]))
        for record in view.records("v1", "Node")
        if record.get("until", float("inf")) > now
    ]
    return sorted(found, key=lambda each: (each[1], each[0]))


def assign(view: Transaction, number: int, now: float) -> tuple[str, float]:
    """Where the n-th pod goes, and when: among nodes that are ready now, else to the first that will be."""
    found = nodes(view, now)
    ready = [each for each in found if each[1] <= now]
    if ready:
        name, _ = ready[number % len(ready)]
        return name, now
    return found[0] if found else ("", float("inf"))


def put(
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
    """One pod; the moment when it has come to its end or is ready. `seconds` count from now, or from its node's."""
    where, placed = (node, now) if node else assign(doc, number, now)
    meta = template.get("metadata") or {}
    made = {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": dict(meta.get("labels") or {}),
        **({"annotations": meta["annotations"]} if meta.get("annotations") else {}),
        "ownerReferences": [reference(owner)],
    }
    spec = dict(template.get("spec") or {})
    obj: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**owner["metadata"]} if owner["kind"] == "Pod" else made,
        "spec": spec,
        "status": _pending(False),
    }
    due = max(now + seconds, placed)
    stages = [(placed, {"status": _pending(True), "spec": {"nodeName": where}})]
    stages += [(moment, {"status": status}) for moment, status in _outcome(obj, outcome, placed, due)]
    doc.put(obj, now, stages=[each for each in stages if each[0] != float("inf")])
    if outcome not in (NEVER_READY, NO_IMAGE):
        return due
    if due != float("inf"):
        _event(doc, obj, outcome, due)
    return float("inf")


def reference(owner: Object) -> dict[str, Any]:
    """How an object names who made it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _pending(placed: bool) -> dict[str, Any]:
    if placed:
        return {"phase": "Pending", "conditions": [_condition("PodScheduled", "True")]}
    why = {"reason": "Unschedulable", "message": "0/1 nodes are available: 1 node(s) had untolerated taint(s)."}
    return {"phase": "Pending", "conditions": [{**_condition("PodScheduled", "False"), **why}]}


def _condition(kind: str, value: str) -> dict[str, Any]:
    return {"type": kind, "status": value}


def _outcome(obj: Object, outcome: str, placed: float, due: float) -> list[tuple[float, dict[str, Any]]]:
    """Moments and what the pod's status is from then on."""
    named, at = obj["spec"].get("containers") or [], stamp(due, 0)
    if outcome == NO_IMAGE:
        pulls, backs = [], []
        for each in named:
            image, said = str(each.get("image", "")), not_found(str(each.get("image", "")))
            pulls.append(_row(each, {"waiting": {"reason": "ErrImagePull", "message": said}}))
            said = f'Back-off pulling image "{image}": ErrImagePull: {said}'
            backs.append(_row(each, {"waiting": {"reason": "ImagePullBackOff", "message": said}}))
        again = placed + (due - placed) / 2
        return [(again, _status("Pending", pulls)), (due, _status("Pending", backs))]
    if outcome == DONE:
        ended = {"exitCode": 0, "reason": "Completed", "finishedAt": at}
        return [(due, _status("Succeeded", [_row(each, {"terminated": ended}) for each in named]))]
    ready = outcome == READY
    rows = [_row(each, {"running": {"startedAt": at}}, ready=ready) for each in named]
    return [(due, _status("Running", rows, ready=ready))]


def _row(container: Mapping[str, Any], state: Mapping[str, Any], *, ready: bool = False) -> dict[str, Any]:
    about = {"name": container.get("name"), "image": str(container.get("image", ""))}
    return {**about, "ready": ready, "restartCount": 0, "state": state}


def _status(phase: str, rows: Sequence[Mapping[str, Any]], *, ready: bool = False) -> dict[str, Any]:
    conditions = [_condition("PodScheduled", "True"), _condition("Ready", str(ready))]
    return {"phase": phase, "conditions": conditions, "containerStatuses": rows}


def not_found(image: str) -> str:
    """What containerd says of an image that its registry does not have."""
    whole = parse(image).full
    return f'failed to pull and unpack image "{whole}": failed to resolve reference "{whole}": {whole}: not found'


def _event(doc: Transaction, pod: Object, outcome: str, at: float) -> None:
    """A warning, as the kubelet tells it."""
    meta = pod["metadata"]
    image = str((pod["spec"].get("containers") or [{}])[0].get("image", ""))
    reason, message = ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    if outcome == NO_IMAGE:
        reason, message = ("Failed", f'Failed to pull image "{image}": {not_found(image)}')
    event: Object = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name']}.{suffix(meta['name'], 12)}", "namespace": meta["namespace"]},
        "involvedObject": {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "apiVersion": "v1"},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "count": 1,
        "firstTimestamp": stamp(at, 0),
        "lastTimestamp": stamp(at, 0),
        "source": {"component": "kubelet"},
    }
    doc.put(event, at, **{"from": at})
