"""On which nodes the controller of a DaemonSet places pods."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.kube.readiness import will_run_on

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
