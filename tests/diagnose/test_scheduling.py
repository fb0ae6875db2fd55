"""Why no node takes a pod; messages of the scheduler of Kubernetes 1.32 unless another version is named."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.diagnose.scheduling import scheduling_trouble, too_much
from tests.causes.items import node, unschedulable

_PREEMPTION = " preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."


@pytest.mark.parametrize(
    ("message", "cause", "says"),
    [
        ("0/2 nodes are available: 2 Insufficient memory." + _PREEMPTION, "memory-short", "memory that it asks for"),
        (
            (
                "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption "
                "victims found for "
                "incoming pod."
            ),
            "cpu-short",
            "CPU",
        ),
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu." + _PREEMPTION, "resource-short", "nvidia.com/gpu"),
        (
            "0/2 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint "
            "{node-role.kubernetes.io/control-plane: "
            "true}." + _PREEMPTION,
            "memory-short",
            "memory",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }."
            + _PREEMPTION,
            "disk-full",
            "disk",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }." + _PREEMPTION,
            "nodes-unready",
            "no node is ready",
        ),
        (
            (
                "0/1 nodes are available: 1 node(s) had untolerated taint "
                "{node.cloudprovider.kubernetes.io/uninitialized: true}."
            ),
            "nodes-unready",
            "no node is ready",
        ),
        # Kubernetes 1.21
        (
            "0/1 nodes are available: 1 node(s) had taint {dedicated: db}, that the pod didn't tolerate.",
            "taint",
            "dedicated: db",
        ),
        (
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector." + _PREEMPTION,
            "selector-unmet",
            "labels",
        ),
        (
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports." + _PREEMPTION,
            "host-port-taken",
            "port",
        ),
        (
            "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules." + _PREEMPTION,
            "spread-unmet",
            "share a node",
        ),
        ("0/1 nodes are available: 1 Too many pods." + _PREEMPTION, "pods-full", "no more pods"),
        (
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims." + _PREEMPTION,
            "claim-pending",
            "volume",
        ),
        ('0/1 nodes are available: persistentvolumeclaim "data" not found.' + _PREEMPTION, "claim-missing", "'data'"),
        (
            "0/2 nodes are available: 1 node(s) had volume node affinity conflict, 1 Insufficient memory.",
            "claim-elsewhere",
            "lies",
        ),
        ("0/1 nodes are available: 1 node(s) were unschedulable." + _PREEMPTION, "node-cordoned", "cordoned"),
        ("no nodes available to schedule pods", "nodes-unready", "no node yet"),
        ("something new", "unschedulable", "cannot be scheduled"),
    ],
)
def test_what_the_scheduler_says(message: str, cause: str, says: str) -> None:
    trouble = scheduling_trouble("pod web/app-1", message)
    assert trouble.cause == cause
    assert trouble.what.startswith("pod web/app-1 cannot be scheduled")
    assert says in trouble.what
    assert "reemption" not in trouble.why
    assert not trouble.hopeless
    assert trouble.fix


@pytest.mark.parametrize(
    ("requests", "nodes", "expected"),
    [
        (
            {"memory": "4Gi"},
            [node("2Gi"), node("3Gi")],
            "it asks for 4 GiB of memory, and the largest node has 3 GiB of memory",
        ),
        ({"cpu": "2500m"}, [node("2Gi", "2")], "it asks for 2.5 CPUs, and the largest node has 2 CPUs"),
        ({"memory": "1Gi", "cpu": "1"}, [node("2Gi")], ""),
        ({}, [node("2Gi")], ""),
        ({"memory": "4Gi"}, [{"status": {}}], ""),
        ({"memory": "4Gi"}, [], ""),
    ],
)
def test_what_is_beyond_every_node(requests: dict[str, str], nodes: list[Any], expected: str) -> None:
    assert too_much(unschedulable("x", requests=requests), nodes) == expected


def test_init_containers_count_by_the_largest() -> None:
    pod = unschedulable("x", requests={"memory": "1Gi"})
    pod["spec"]["initContainers"] = [
        {"resources": {"requests": {"memory": "5Gi"}}},
        {"resources": {"requests": {"memory": "2Gi"}}},
    ]
    assert too_much(pod, [node("4Gi")]).startswith("it asks for 5 GiB")
