"""Quotas: of namespaces without pods their use is written, all others are counted by their controller."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.step import Report
from tasks.facts.facts import Facts
from tasks.kube.client import ApiError
from tasks.kube.wait import NotInTime
from tasks.kube.watch import Watched
from tasks.manifests import counted_step
from tests import given
from tests.given_direct import DirectApi, refusal
from tests.given_live import FakeApi, Object, eager, obj, reached
from tests.given_watch import until, watching

HARD = {"pods": "100", "requests.cpu": "4", "requests.memory": "8Gi"}
USED = dict.fromkeys(HARD, "0")
LIST, PODS = "/api/v1/resourcequotas", "/api/v1/pods"
BUSY = ApiError(503, "the API answered 503")


def quota(namespace: str, status: Object | None = None, *, name: str = "q", **spec: Any) -> Object:
    return obj("ResourceQuota", name, namespace, spec={"hard": HARD, **spec}, status=status or {})


def counted(namespace: str, hard: Object | None = None, **changes: Any) -> Object:
    """As its controller leaves it."""
    hard = hard or HARD
    return quota(namespace, {"hard": hard, "used": dict.fromkeys(hard, "1"), **changes}, hard=hard)


def pod(namespace: str) -> Object:
    return obj("Pod", "p", namespace)


@pytest.fixture
def facts(tmp_path: Path) -> Iterator[Facts]:
    made = given.facts(tmp_path)
    yield made
    made.close()
    until(lambda: not watching())


def wait(facts: Facts, *quotas: Object, deadline: float = 20.0, said: list[str] | None = None) -> Report:
    """For the quotas as they are configured: without a status."""
    wanted = [{name: part for name, part in each.items() if name != "status"} for each in quotas]
    step = counted_step(facts, "counted", wanted, needs=("applied",), skip=None)
    report = step.action(eager(deadline=deadline, said=said))
    assert report is not None
    return report


def test_of_namespaces_without_pods_the_use_is_written(facts: Facts) -> None:
    api = DirectApi(quota("a"), quota("b"), pod("kube-system"))
    reached(facts, api)
    report = wait(facts, quota("a"), quota("b"))
    assert report.why == "2 of 2 are of namespaces without pods"
    assert api.patched == [
        (
            f"/api/v1/namespaces/{namespace}/resourcequotas/q/status?fieldManager=openframe&force=true",
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "q", "namespace": namespace},
                "status": {"hard": HARD, "used": USED},
            },
        )
        for namespace in ("a", "b")
    ]


def test_one_without_a_namespace_is_of_the_default_one(facts: Facts) -> None:
    there = quota("default")
    wanted = {**there, "metadata": {"name": "q"}}
    api = reached(facts, DirectApi(there))
    assert wait(facts, wanted).why == "1 of 1 are of namespaces without pods"
    assert isinstance(api, DirectApi)
    assert api.patched[0][0].startswith("/api/v1/namespaces/default/resourcequotas/q/status?")


def counts(api: DirectApi, *items: Object) -> None:
    """The controller counts when somebody watches."""
    api.changes[PODS, 1] = lambda: api.put(*items)


@pytest.mark.parametrize(
    ("spec", "ours"),
    [
        ({}, True),
        ({"hard": {"limits.cpu": "1", "limits.memory": "1Gi", "requests.ephemeral-storage": "1Gi"}}, True),
        ({"hard": {"cpu": "1", "memory": "1Gi", "requests.nvidia.com/gpu": 1}}, True),
        ({"hard": {**HARD, "services": "5"}}, False),
        ({"hard": {"count/configmaps": "5"}}, False),
        ({"hard": {"count/pods": "5"}}, False),
        ({"hard": {**HARD, "persistentvolumeclaims": "5"}}, False),
        ({"hard": {**HARD, "requests.storage": "5Gi"}}, False),
        ({"hard": {"fast.storageclass.storage.k8s.io/requests.storage": "5Gi"}}, False),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopeSelector": {"matchExpressions": [{"operator": "Exists", "scopeName": "PriorityClass"}]}}, False),
    ],
)
def test_only_what_pods_alone_use_is_written(facts: Facts, spec: dict[str, Any], ours: bool) -> None:
    api = DirectApi(quota("a", **spec))
    reached(facts, api)
    if not ours:
        counts(api, counted("a", spec.get("hard")))
    report = wait(facts, quota("a", **spec))
    assert [obj["status"]["used"] for _path, obj in api.patched] == (
        [dict.fromkeys(spec.get("hard", HARD), "0")] * ours
    )
    assert bool(report.why) is ours


def test_where_pods_are_their_controller_counts(facts: Facts) -> None:
    api = DirectApi(quota("a"), quota("b"), pod("b"))
    reached(facts, api)
    counts(api, counted("b"))
    assert wait(facts, quota("a"), quota("b")).why == "1 of 2 are of namespaces without pods"
    assert [obj["metadata"]["namespace"] for _path, obj in api.patched] == ["a"]


@pytest.mark.parametrize("status", [{"hard": HARD, "used": USED}, {"hard": {"pods": "1"}, "used": {"pods": "1"}}])
def test_what_was_counted_is_left_alone(facts: Facts, status: Object) -> None:
    """Also where other bounds are configured now: only the controller knows what is in use."""
    api = DirectApi(quota("a", status))
    reached(facts, api)
    counts(api, counted("a"))
    assert wait(facts, quota("a")).why == ""
    assert api.patched == []


@pytest.mark.parametrize("code", [404, 409, 422, 503])
def test_one_that_cannot_be_written_is_waited_for(facts: Facts, code: int) -> None:
    api = DirectApi(quota("a"), quota("b"))
    api.refused["/api/v1/namespaces/a/resourcequotas/q/status"] = [refusal(code, "no")]
    reached(facts, api)
    counts(api, counted("a"))
    assert wait(facts, quota("a"), quota("b")).why == "1 of 2 are of namespaces without pods"


@pytest.mark.parametrize("error", [BUSY, ApiError(403, "no rights"), ApiError(0, "no answer")])
@pytest.mark.parametrize("path", [PODS, LIST])
def test_an_api_that_cannot_answer_at_that_moment_fails_nothing(facts: Facts, path: str, error: ApiError) -> None:
    api = DirectApi(counted("a"), answers={path: error})
    api.changes[path, 2] = api.answers.clear
    reached(facts, api)
    assert wait(facts, quota("a")).why == ""
    assert api.patched == []


def test_it_waits_until_each_is_counted_as_it_is_configured(facts: Facts) -> None:
    """The bounds of before, no use yet, other words for the same bound: told by the one that reads them."""
    api = DirectApi(
        quota("a", {"hard": {**HARD, "pods": "1"}, "used": USED}),
        quota("b", {"hard": HARD, "used": {"pods": "3"}}),
        quota("c", {"hard": {**HARD, "requests.cpu": "4000m"}, "used": USED}),
        *map(pod, "abc"),
    )
    reached(facts, api)
    said: list[str] = []
    with pytest.raises(NotInTime) as caught:
        wait(facts, quota("a"), quota("b"), quota("c"), quota("d"), deadline=0, said=said)
    assert caught.value.why == "not counted yet: a/q, b/q, d/q"
    assert said == ["1 of 4 quotas"]
    api.put(counted("a"), counted("b"))
    wait(facts, quota("a"), quota("b"), quota("c"), said=said)
    assert said[-1] == "3 of 3 quotas"


def test_another_quota_of_the_namespace_is_not_ours(facts: Facts) -> None:
    api = DirectApi(quota("a", {"hard": HARD, "used": USED}, name="other"), pod("a"))
    reached(facts, api)
    with pytest.raises(NotInTime, match="not there within"):
        wait(facts, quota("a"), deadline=0)


def test_it_ends_when_the_api_tells_of_the_last_one(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.kube.wait._LOOK_ANYWAY", 60.0)
    api = DirectApi(quota("a"), pod("a"))
    reached(facts, api)
    said: list[str] = []

    class Says(list[str]):
        def append(self, line: str) -> None:
            said.append(line)
            if len(said) == 1:
                api.put(counted("a"))

    watched = facts.watched()
    assert isinstance(watched, Watched)
    watched.get(LIST)
    until(lambda: watched._feeds[LIST].current)
    wait(facts, quota("a"), said=Says())
    assert said == ["0 of 1 quotas", "1 of 1 quotas", "1 of 1 quotas"]


def test_through_kubectl_nothing_is_written(facts: Facts) -> None:
    api = reached(facts, FakeApi(quota("a")))
    api.at(LIST, 2, counted("a"))
    said: list[str] = []
    assert wait(facts, quota("a"), said=said).why == ""
    assert said == ["0 of 1 quotas", "1 of 1 quotas"]
    assert api.asked == [LIST, LIST]


def test_in_a_cluster_of_somebody_else_nothing_is_written_and_its_pods_are_not_read(tmp_path: Path) -> None:
    made = given.facts(tmp_path, engine="existing")
    api = DirectApi(quota("a"))
    reached(made, api)
    api.at(LIST, 2, counted("a"))
    assert wait(made, quota("a")).why == ""
    assert api.patched == []
    assert set(api.asked) == {LIST}
    assert api.watched == []
