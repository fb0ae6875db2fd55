"""When objects of each kind are ready, by their own status."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.facts.readiness import node_ready, waits_for, workload_ready


def item(
    kind: str, spec: dict[str, Any], status: dict[str, Any], *, group: str = "apps/v1", generation: int = 2
) -> Any:
    return {"apiVersion": group, "kind": kind, "metadata": {"generation": generation}, "spec": spec, "status": status}


def condition(kind: str, status: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": "Other", "status": "True"}, {"type": kind, "status": status}]}


SEEN = {"observedGeneration": 2}
CASES: list[tuple[str, Any, bool, str]] = [
    ("unseen", item("Deployment", {"replicas": 1}, {"observedGeneration": 1}), False, "has not seen"),
    ("no status at all", item("Deployment", {"replicas": 1}, {}), False, "has not seen"),
    (
        "not updated",
        item("Deployment", {"replicas": 2}, {**SEEN, "replicas": 1, "updatedReplicas": 1}),
        False,
        "1 of 2",
    ),
    (
        "old ones left",
        item("Deployment", {"replicas": 1}, {**SEEN, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}),
        False,
        "1 old",
    ),
    (
        "not available",
        item("Deployment", {"replicas": 2}, {**SEEN, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
        False,
        "1 of 2 replicas are available",
    ),
    (
        "available",
        item("Deployment", {"replicas": 2}, {**SEEN, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
        True,
        "2 of 2",
    ),
    ("scaled to none", item("Deployment", {"replicas": 0}, SEEN), True, "0 of 0"),
    (
        "replicas by default one",
        item("Deployment", {}, {**SEEN, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}),
        True,
        "1 of 1",
    ),
    ("set unready", item("StatefulSet", {"replicas": 3}, {**SEEN, "readyReplicas": 2}), False, "2 of 3"),
    (
        "set of the old version",
        item(
            "StatefulSet",
            {"replicas": 3},
            {**SEEN, "readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
        ),
        False,
        "1 of 3",
    ),
    (
        "set with a partition",
        item(
            "StatefulSet",
            {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            {**SEEN, "readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
        ),
        True,
        "3 of 3",
    ),
    (
        "set updated by hand",
        item(
            "StatefulSet",
            {"replicas": 1, "updateStrategy": {"type": "OnDelete"}},
            {**SEEN, "readyReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
        ),
        True,
        "1 of 1",
    ),
    (
        "daemons",
        item("DaemonSet", {}, {**SEEN, "desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}),
        True,
        "2 of 2",
    ),
    (
        "a daemon is late",
        item("DaemonSet", {}, {**SEEN, "desiredNumberScheduled": 2, "numberReady": 1, "updatedNumberScheduled": 2}),
        False,
        "1 of 2",
    ),
    ("daemons nowhere", item("DaemonSet", {}, SEEN), True, "0 of 0"),
    ("job", item("Job", {}, condition("Complete"), group="batch/v1"), True, "done"),
    ("job at work", item("Job", {}, {"active": 1}, group="batch/v1"), False, "not done"),
    ("job failed", item("Job", {}, condition("Failed"), group="batch/v1"), False, "failed"),
    ("job suspended", item("Job", {"suspend": True}, {}, group="batch/v1"), True, "suspended"),
    ("pod", item("Pod", {}, {"phase": "Running", **condition("Ready")}, group="v1"), True, "running"),
    ("pod starts", item("Pod", {}, {"phase": "Pending", **condition("Ready", "False")}, group="v1"), False, "pending"),
    ("pod done", item("Pod", {}, {"phase": "Succeeded"}, group="v1"), True, "succeeded"),
    (
        "CRD served",
        item("CustomResourceDefinition", {}, condition("Established"), group="apiextensions.k8s.io/v1"),
        True,
        "established",
    ),
    (
        "CRD not served",
        item("CustomResourceDefinition", {}, {}, group="apiextensions.k8s.io/v1"),
        False,
        "not established",
    ),
    ("API of an aggregated server", item("APIService", {}, {}, group="apiregistration.k8s.io/v1"), False, "not avail"),
    ("a Deployment of someone else", item("Deployment", {}, {}, group="example.com/v1"), True, ""),
    ("no notion of readiness", item("ConfigMap", {}, {}, group="v1"), True, ""),
]


@pytest.mark.parametrize(("obj", "good", "detail"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_kind_is_judged_by_its_own_rule(obj: Any, good: bool, detail: str) -> None:
    found, told = workload_ready(obj)
    assert found is good
    assert detail in told


@pytest.mark.parametrize(
    ("api_version", "kind", "waits"),
    [
        ("apps/v1", "Deployment", True),
        ("v1", "Pod", True),
        ("v1", "ConfigMap", False),
        ("example.com/v1", "Deployment", False),
        ("batch/v1", "Job", True),
    ],
)
def test_only_some_kinds_are_waited_for(api_version: str, kind: str, waits: bool) -> None:
    assert waits_for(api_version, kind) is waits


def test_a_node_is_ready_when_its_kubelet_says_so() -> None:
    assert node_ready({"status": condition("Ready")})
    assert not node_ready({"status": condition("Ready", "Unknown")})
    assert not node_ready({"status": {}})
    assert not node_ready({})
