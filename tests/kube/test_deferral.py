"""Pods of metrics-server are refused for a time that the API server's own clock ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.kube.deferral import NAME, defer, policy, release

START = "2026-01-02T03:04:05Z"


class Recorded:
    """An API that keeps what it is sent, and answers with these statuses in turn."""

    def __init__(self, *codes: int) -> None:
        self.codes, self.sent = list(codes), list[tuple[str, str, Any]]()

    def get(self, _path: str) -> Any:
        return {"metadata": {"creationTimestamp": START}}

    def raw(self, _path: str) -> tuple[int, str]:
        raise AssertionError

    def send(self, method: str, path: str, body: str) -> tuple[int, str]:
        self.sent.append((method, path.rsplit("/", 1)[-1], json.loads(body)))
        return self.codes.pop(0), "no\n"


def test_it_ends_by_itself_at_a_time_of_the_api_servers_clock() -> None:
    api = Recorded(201, 201)
    assert defer(api) is None
    (_, _, made), (_, _, binding) = api.sent
    (row,) = made["spec"]["validations"]
    assert "timestamp('2026-01-02T03:04:25Z')" in row["expression"]
    assert made["spec"]["failurePolicy"] == "Ignore"
    assert binding["spec"] == {"policyName": NAME, "validationActions": ["Deny"]}


def test_only_pods_of_metrics_server_in_kube_system_are_refused() -> None:
    spec = policy(datetime(2026, 1, 1, tzinfo=UTC))[0]["spec"]
    assert "startsWith('metrics-server-')" in spec["validations"][0]["expression"]
    matched = spec["matchConstraints"]
    assert matched["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kube-system"}
    assert [each["operations"] for each in matched["resourceRules"]] == [["CREATE"]]


@pytest.mark.parametrize(
    ("codes", "why"),
    [((404,), "this Kubernetes has no such policies"), ((403,), "no"), ((409, 409), None), ((201, 500), "no")],
)
def test_where_it_cannot_be_done_nothing_fails(codes: tuple[int, ...], why: str | None) -> None:
    assert defer(Recorded(*codes)) == why


@pytest.mark.parametrize(("codes", "done"), [((200, 200), True), ((404, 404), True), ((200, 500), False)])
def test_it_is_taken_away(codes: tuple[int, ...], done: bool) -> None:
    api = Recorded(*codes)
    assert release(api) is done
    assert [(method, name) for method, name, _ in api.sent] == [("DELETE", NAME)] * 2
