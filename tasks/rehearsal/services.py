"""What Kubernetes makes beside a Service."""

from __future__ import annotations

from tasks.rehearsal import pods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.objects import Object, Record
    from tasks.rehearsal.workloads import World


def follow(world: World, record: Record, before: Object | None) -> None:
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
        world.doc.put(each, world.active)
