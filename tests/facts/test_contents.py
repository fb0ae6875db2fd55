"""Every kind of the API, once; groups of measurements are nobody's objects."""

from __future__ import annotations

from tasks.facts.objects import kinds
from tasks.kube.client import ApiError
from tests.given_live import FakeApi

GROUPS = {
    "groups": [
        {"name": name, "preferredVersion": {"groupVersion": f"{name}/v1"}, "versions": [{"groupVersion": f"{name}/v1"}]}
        for name in ("apps", "metrics.k8s.io", "custom.metrics.k8s.io", "shop.example.org")
    ]
}


def test_a_group_that_does_not_answer_is_told_unless_it_only_measures() -> None:
    down = ApiError(503, "the server is currently unable to handle the request")
    rows = {
        "resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["list", "delete"]}]
    }
    answers = {"/apis": GROUPS, "/apis/apps/v1": rows, "/api/v1": {"resources": []}}
    late = {f"/apis/{group['name']}/v1": down for group in GROUPS["groups"][1:]}
    found, unseen = kinds(FakeApi(answers={**answers, **late}))
    assert [kind.kind for kind in found] == ["Deployment"]
    assert unseen == (f"shop.example.org/v1: {down.what}",)
