"""API objects for tests of diagnoses: only what is read of them."""

from collections.abc import Mapping
from typing import Any


def pod(
    *statuses: Mapping[str, Any],
    phase: str = "Pending",
    init: tuple[Mapping[str, Any], ...] = (),
    conditions: Mapping[str, tuple[str, str, str]] | None = None,
    requests: Mapping[str, str] | None = None,
    image: str = "registry.lan/app:1",
    **status: Any,
) -> dict[str, Any]:
    """A pod `web/app-1`; conditions are type: (status, reason, message)."""
    names = [str(row["name"]) for row in statuses] or ["app"]
    return {
        "kind": "Pod",
        "metadata": {"name": "app-1", "namespace": "web"},
        "spec": {
            "containers": [{"name": name, "image": image, "resources": {"requests": requests or {}}} for name in names],
            "initContainers": [{"name": str(row["name"]), "image": image} for row in init],
        },
        "status": {
            "phase": phase,
            "conditions": [
                {"type": kind, "status": each[0], "reason": each[1], "message": each[2]}
                for kind, each in (conditions or {}).items()
            ],
            "containerStatuses": list(statuses),
            "initContainerStatuses": list(init),
            **status,
        },
    }


def waiting(
    reason: str, message: str = "", *, name: str = "app", restarts: int = 0, last: Any = None
) -> dict[str, Any]:
    """The status of a container that waits."""
    found: dict[str, Any] = {
        "name": name,
        "ready": False,
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason, "message": message}},
    }
    if last is not None:
        found["lastState"] = {"terminated": last}
    return found


def unschedulable(message: str, **more: Any) -> dict[str, Any]:
    """A pod that the scheduler cannot place."""
    return pod(conditions={"PodScheduled": ("False", "Unschedulable", message)}, **more)


def node(memory: str, cpu: str = "2") -> dict[str, Any]:
    """A node with what it can give."""
    return {"kind": "Node", "status": {"allocatable": {"memory": memory, "cpu": cpu}}}


def event(
    reason: str, message: str, *, kind: str = "Pod", name: str = "app-1", at: str = "10:00:00", **more: Any
) -> dict[str, Any]:
    """A warning of the core API."""
    return {
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {"kind": kind, "namespace": "web", "name": name},
        "lastTimestamp": f"2026-11-24T{at}Z",
        **more,
    }
