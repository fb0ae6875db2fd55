"""What is the matter with what makes pods."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.diagnose.pods import workload_trouble


def _item(kind: str, *conditions: tuple[str, str, str, str]) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": "app", "namespace": "web"},
        "status": {
            "conditions": [{"type": a, "status": b, "reason": c, "message": d} for a, b, c, d in conditions],
        },
    }


def test_a_quota_that_admits_no_pod() -> None:
    trouble = workload_trouble(
        _item(
            "Deployment",
            ("Progressing", "True", "NewReplicaSetCreated", "Created new replica set"),
            (
                "ReplicaFailure",
                "True",
                "FailedCreate",
                (
                    'pods "app-7c-x" is forbidden: exceeded quota: openframe, requested: requests.memory=4Gi, used: '
                    "requests.memory=15Gi, limited: requests.memory=16Gi"
                ),
            ),
        )
    )
    assert trouble is not None
    assert trouble.what == "deployment web/app cannot make its pods: the quota openframe of the namespace is used up"
    assert "requested: requests.memory=4Gi" in trouble.why
    assert not trouble.hopeless


def test_a_quota_that_asks_for_what_the_pod_does_not_name_never_admits_it() -> None:
    trouble = workload_trouble(
        _item(
            "ReplicaSet",
            (
                "ReplicaFailure",
                "True",
                "FailedCreate",
                'pods "x" is forbidden: failed quota: q: must specify requests.cpu',
            ),
        )
    )
    assert trouble is not None
    assert (trouble.cause, trouble.hopeless) == ("quota-unset", True)


@pytest.mark.parametrize("reason", ["BackoffLimitExceeded", "DeadlineExceeded"])
def test_a_job_that_has_given_up(reason: str) -> None:
    trouble = workload_trouble(_item("Job", ("Failed", "True", reason, "Job has reached the specified limit")))
    assert trouble is not None
    assert (trouble.what, trouble.hopeless) == ("job web/app has failed", True)
    assert trouble.why == f"{reason}: Job has reached the specified limit"
    assert trouble.fix == "kubectl logs job/app -n web"


def test_a_deployment_that_makes_no_progress() -> None:
    trouble = workload_trouble(
        _item(
            "Deployment",
            ("Progressing", "False", "ProgressDeadlineExceeded", 'ReplicaSet "app-7c" has timed out progressing.'),
        )
    )
    assert trouble is not None
    assert (trouble.cause, trouble.hopeless) == ("progress-deadline", True)


@pytest.mark.parametrize(
    "item",
    [
        _item(
            "Deployment",
            ("Progressing", "True", "ReplicaSetUpdated", ""),
            ("Available", "False", "MinimumReplicasUnavailable", ""),
        ),
        _item("Deployment", ("ReplicaFailure", "False", "", "")),
        _item("Job"),
        _item("StatefulSet", ("Failed", "True", "x", "x")),
        {},
    ],
)
def test_what_says_nothing_of_trouble(item: dict[str, Any]) -> None:
    assert workload_trouble(item) is None
