"""When objects of each kind are ready, by their own status."""

from typing import Any

import pytest

from tasks.kube.readiness import node_ready, waits_for, will_run_on, workload_ready


def item(
    kind: str, spec: dict[str, Any], status: dict[str, Any], *, group: str = "apps/v1", generation: int = 2
) -> Any:
    return {"apiVersion": group, "kind": kind, "metadata": {"generation": generation}, "spec": spec, "status": status}


def condition(kind: str, status: str = "True") -> dict[str, Any]:
    return {"conditions": [{"type": "Other", "status": "True"}, {"type": kind, "status": status}]}


SEEN = {"observedGeneration": 2}
BY_HAND = {"updateStrategy": {"type": "OnDelete"}}
REVISED: dict[str, Any] = {"updatedReplicas": 1, "updateRevision": "b", "currentRevision": "a"}


def scaled(kind: str, expected: int, more: dict[str, Any] | None = None, **status: Any) -> Any:
    """A workload of so many replicas that its controller has seen; `more` of its specification."""
    return item(kind, {"replicas": expected, **(more or {})}, {**SEEN, **status})


def deployment(expected: int, there: int, updated: int, available: int = 0) -> Any:
    return scaled("Deployment", expected, replicas=there, updatedReplicas=updated, availableReplicas=available)


def daemons(scheduled: int, ready: int, updated: int, more: dict[str, Any] | None = None) -> Any:
    counts = {"desiredNumberScheduled": scheduled, "numberReady": ready, "updatedNumberScheduled": updated}
    return item("DaemonSet", more or {}, {**SEEN, **counts})


PARTITION = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
CRD = "apiextensions.k8s.io/v1"
CASES: list[tuple[str, Any, bool, str]] = [
    ("unseen", item("Deployment", {"replicas": 1}, {"observedGeneration": 1}), False, "has not seen"),
    ("no status at all", item("Deployment", {"replicas": 1}, {}), False, "has not seen"),
    ("not updated", deployment(2, 1, 1), False, "1 of 2"),
    ("old ones left", deployment(1, 2, 1, 2), False, "1 old"),
    ("not available", deployment(2, 2, 2, 1), False, "1 of 2 replicas are available"),
    ("available", deployment(2, 2, 2, 2), True, "2 of 2"),
    ("scaled to none", scaled("Deployment", 0), True, "0 of 0"),
    ("replicas by default one", {**deployment(1, 1, 1, 1), "spec": {}}, True, "1 of 1"),
    ("set unready", scaled("StatefulSet", 3, readyReplicas=2), False, "2 of 3"),
    (
        "set of the old version",
        scaled("StatefulSet", 3, readyReplicas=3, **REVISED),
        False,
        "1 of 3",
    ),
    (
        "set with a partition",
        scaled("StatefulSet", 3, PARTITION, readyReplicas=3, **REVISED),
        True,
        "3 of 3",
    ),
    ("set updated by hand", scaled("StatefulSet", 1, BY_HAND, readyReplicas=1, **REVISED), True, "1 of 1"),
    (
        "set updated by hand, whose pods wait for somebody (Vault, sealed)",
        scaled("StatefulSet", 3, BY_HAND, readyReplicas=0),
        True,
        "0 of 3 replicas are ready; they are updated by hand",
    ),
    ("set updated by hand, unseen", item("StatefulSet", {"replicas": 3, **BY_HAND}, {}), False, "not seen"),
    ("set scaled to none", scaled("StatefulSet", 0), True, "0 of 0"),
    ("paused", item("Deployment", {"paused": True}, {**SEEN, "replicas": 1}), True, "it is paused"),
    ("replica set unseen", item("ReplicaSet", {"replicas": 0}, {}, generation=0), False, "not seen"),
    ("daemons unseen", item("DaemonSet", {}, {}, generation=0), False, "not seen"),
    ("daemons updated by hand", daemons(2, 1, 0, BY_HAND), True, "1 of 2"),
    ("daemons", daemons(2, 2, 2), True, "2 of 2"),
    ("a daemon is late", daemons(2, 1, 2), False, "1 of 2"),
    ("daemons nowhere", item("DaemonSet", {}, SEEN), True, "0 of 0"),
    ("job", item("Job", {}, condition("Complete"), group="batch/v1"), True, "done"),
    ("job at work", item("Job", {}, {"active": 1}, group="batch/v1"), False, "not done"),
    ("job failed", item("Job", {}, condition("Failed"), group="batch/v1"), False, "failed"),
    ("job suspended", item("Job", {"suspend": True}, {}, group="batch/v1"), True, "suspended"),
    ("pod", item("Pod", {}, {"phase": "Running", **condition("Ready")}, group="v1"), True, "running"),
    ("pod starts", item("Pod", {}, {"phase": "Pending", **condition("Ready", "False")}, group="v1"), False, "pending"),
    ("pod done", item("Pod", {}, {"phase": "Succeeded"}, group="v1"), True, "succeeded"),
    ("CRD served", item("CustomResourceDefinition", {}, condition("Established"), group=CRD), True, "established"),
    ("CRD not served", item("CustomResourceDefinition", {}, {}, group=CRD), False, "not established"),
    ("API of an aggregated server", item("APIService", {}, {}, group="apiregistration.k8s.io/v1"), False, "not avail"),
    (
        "an aggregated server that is not there",
        item(
            "APIService",
            {},
            {"conditions": [{"type": "Available", "status": "False", "message": "service/x is not present"}]},
            group="apiregistration.k8s.io/v1",
        ),
        False,
        "not available: service/x is not present",
    ),
    ("a Deployment of someone else", item("Deployment", {}, {}, group="example.com/v1"), True, ""),
    ("no notion of readiness", item("ConfigMap", {}, {}, group="v1"), True, ""),
]


@pytest.mark.parametrize(("obj", "good", "detail"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_kind_is_judged_by_its_own_rule(obj: Any, good: bool, detail: str) -> None:
    found, reported = workload_ready(obj)
    assert found is good
    assert detail in reported


@pytest.mark.parametrize(
    ("spec", "status", "good", "detail"),
    [
        ({}, {"startTime": "2026-11-24T02:31:00Z", "active": 1}, True, "it runs"),
        ({}, {}, False, "not started"),
        ({"suspend": True}, {}, True, "suspended"),
        ({}, condition("Complete"), True, "done"),
        ({"suspend": True}, condition("Failed"), False, "failed"),
    ],
)
def test_an_unawaited_job_is_ready_early(spec: dict[str, Any], status: dict[str, Any], good: bool, detail: str) -> None:
    found, reported = workload_ready(item("Job", spec, status, group="batch/v1"), jobs=False)
    assert found is good
    assert detail in reported


def node(name: str, *, ready: bool = True, labels: dict[str, str] | None = None, taint: str = "") -> dict[str, Any]:
    key, _, effect = taint.partition(":")
    taints = [{"key": key, "effect": effect}] if taint else []
    metadata = {"name": name, "labels": labels or {}}
    return {"metadata": metadata, "spec": {"taints": taints}, "status": condition("Ready", str(ready))}


@pytest.mark.parametrize(
    ("nodes", "good", "detail"),
    [
        (None, True, "0 of 0"),
        ([], False, "no node has joined yet"),
        (
            [node("a", ready=False, taint="node.kubernetes.io/not-ready:NoSchedule")],
            False,
            "node a is to run it, and is",
        ),
        ([node("a", labels={"disk": "hdd"}), node("b", labels={"disk": "ssd"})], False, "node b is to run it, and has"),
        ([node("a", labels={"disk": "hdd"})], True, "0 of 0"),
    ],
    ids=["nodes are not known", "before the first node", "before it is ready", "before its pod", "nowhere"],
)
def test_daemons_without_pods_are_ready_only_without_a_node(nodes: list[Any] | None, good: bool, detail: str) -> None:
    selector = {"nodeSelector": {"disk": "ssd"}} if nodes and len(nodes[0]["metadata"]["labels"]) else {}
    found, reported = workload_ready(item("DaemonSet", {"template": {"spec": selector}}, SEEN), nodes=lambda: nodes)
    assert found is good
    assert detail in reported


@pytest.mark.parametrize(
    ("api_version", "kind", "waits"),
    [
        ("apps/v1", "Deployment", True),
        ("v1", "Pod", True),
        ("v1", "ConfigMap", False),
        ("example.com/v1", "Deployment", False),
        ("batch/v1", "Job", True),
        ("batch/v1", "CronJob", False),
        ("apps/v1", "DaemonSet", True),
    ],
)
def test_only_some_kinds_are_waited_for(api_version: str, kind: str, waits: bool) -> None:
    assert waits_for(api_version, kind) is waits


def test_a_node_is_ready_when_its_kubelet_says_so() -> None:
    assert node_ready({"status": condition("Ready")})
    assert not node_ready({"status": condition("Ready", "Unknown")})
    assert not node_ready({"status": {}})
    assert not node_ready({})


TAINTED = {"key": "role", "value": "db", "effect": "NoSchedule"}


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": required}}


def expression(key: str, operator: str, *values: str, part: str = "matchExpressions") -> dict[str, Any]:
    return {part: [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("pod", "taints", "runs"),
    [
        ({}, [], True),
        ({"nodeName": "b"}, [], False),
        ({"nodeSelector": {"disk": "ssd"}}, [], True),
        ({"nodeSelector": {"disk": "hdd"}}, [], False),
        (affinity(expression("disk", "In", "ssd", "nvme")), [], True),
        (affinity(expression("disk", "NotIn", "ssd")), [], False),
        (affinity(expression("gpu", "NotIn", "a")), [], True),
        (affinity(expression("gpu", "Exists")), [], False),
        (affinity(expression("gpu", "DoesNotExist")), [], True),
        (affinity(expression("cores", "Gt", "4")), [], True),
        (affinity(expression("cores", "Lt", "4")), [], False),
        (affinity(expression("gpu", "Gt", "4")), [], False),
        (affinity(expression("metadata.name", "In", "a", part="matchFields")), [], True),
        (affinity(expression("metadata.name", "In", "b", part="matchFields")), [], False),
        (affinity(expression("gpu", "Exists"), expression("disk", "In", "ssd")), [], True),
        (affinity({}), [], False),
        ({}, [TAINTED], False),
        ({}, [{**TAINTED, "effect": "PreferNoSchedule"}], True),
        ({"tolerations": [{"key": "role", "value": "db"}]}, [TAINTED], True),
        ({"tolerations": [{"key": "role", "value": "web"}]}, [TAINTED], False),
        ({"tolerations": [{"key": "role", "operator": "Exists", "effect": "NoExecute"}]}, [TAINTED], False),
        ({"tolerations": [{"operator": "Exists"}]}, [TAINTED], True),
        ({}, [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}], True),
        ({}, [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}], True),
    ],
)
def test_it_is_as_the_controller_has_it(pod: dict[str, Any], taints: list[dict[str, Any]], runs: bool) -> None:
    node = {"metadata": {"name": "a", "labels": {"disk": "ssd", "cores": "8"}}, "spec": {"taints": taints}}
    assert will_run_on({"spec": {"template": {"spec": pod}}}, node) is runs
