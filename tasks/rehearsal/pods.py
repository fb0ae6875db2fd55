"""Pods: made by their owners, placed on nodes, and what becomes of them."""

from __future__ import annotations

from tasks.core.imageref import parse
from tasks.rehearsal.engine import fake_digest, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tasks.rehearsal.objects import Object, Transaction, View

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


def nodes(view: View, now: float) -> list[tuple[str, float]]:
    """Nodes that are registered or will be, with the moment from which each is ready; the first ready one first."""
    found = [
        (str(record["object"]["metadata"]["name"]), float(record["ready"]))
        for record in view.records("v1", "Node")
        if record.get("until", float("inf")) > now
    ]
    return sorted(found, key=lambda each: (each[1], each[0]))


def assign(view: View, number: int, now: float) -> tuple[str, float]:
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
    stages += [(moment, {"status": status}) for moment, status in _outcome(obj, outcome, placed, due, number)]
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


def _outcome(obj: Object, outcome: str, placed: float, due: float, number: int) -> list[tuple[float, dict[str, Any]]]:
    """Moments and what the pod's status is from then on."""
    named = obj["spec"].get("containers") or []
    if outcome == NO_IMAGE:
        again = placed + (due - placed) / 2
        return [(again, _waiting(named, "ErrImagePull")), (due, _waiting(named, "ImagePullBackOff"))]
    fine = outcome != NEVER_READY
    done = outcome == DONE
    rows = [_row(each, fine=fine, done=done, at=due) for each in named]
    word = "True" if fine and not done else "False"
    conditions = [_condition(kind, "True") for kind in ("PodScheduled", "Initialized", "PodReadyToStartContainers")]
    for kind in ("ContainersReady", "Ready"):
        more = {} if fine else {"reason": "ContainersNotReady", "message": "containers with unready status"}
        conditions.append({**_condition(kind, word), **more, "lastTransitionTime": stamp(due, 0)})
    host = f"10.42.{len(obj['metadata']['name']) % 4}.{2 + number}"
    phase = "Succeeded" if done else "Running"
    status = {"phase": phase, "podIP": host, "startTime": stamp(placed, 0) if placed < due else stamp(due, 0)}
    return [(due, {**status, "conditions": conditions, "containerStatuses": rows})]


def _row(container: Mapping[str, Any], *, fine: bool, done: bool, at: float) -> dict[str, Any]:
    state = {"running": {"startedAt": stamp(at, 0)}}
    if done:
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": stamp(at, 0)}}  # type: ignore[dict-item]
    image = str(container.get("image", ""))
    return {
        "name": container.get("name"),
        "image": image,
        "imageID": f"sha256:{fake_digest(image)}",
        "ready": fine and not done,
        "started": not done,
        "restartCount": 0,
        "state": state,
    }


def not_found(image: str) -> str:
    """What containerd says of an image that its registry does not have."""
    whole = parse(image).full
    return f'failed to pull and unpack image "{whole}": failed to resolve reference "{whole}": {whole}: not found'


def _waiting(named: Sequence[Mapping[str, Any]], reason: str) -> dict[str, Any]:
    rows = []
    for each in named:
        image = str(each.get("image", ""))
        said = not_found(image)
        if reason == "ImagePullBackOff":
            said = f'Back-off pulling image "{image}": ErrImagePull: {said}'
        waiting = {"reason": reason, "message": said}
        rows.append(
            {"name": each.get("name"), "image": image, "ready": False, "restartCount": 0, "state": {"waiting": waiting}}
        )
    conditions = [_condition("PodScheduled", "True"), _condition("Ready", "False")]
    return {"phase": "Pending", "conditions": conditions, "containerStatuses": rows}


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
