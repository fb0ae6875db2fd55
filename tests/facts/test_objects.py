"""What is in a cluster, read once for all parts of a plan; every kind of the API, once."""

import threading
import time

import pytest

from tasks.facts.facts import concurrently
from tasks.facts.objects import kinds
from tasks.facts.running import read_live
from tasks.kube.client import ApiError
from tasks.kube.objects import Key
from tests.given_live import FakeApi, deployment, job, manifest, node, obj, stored

HELMS = "labelSelector=owner%3Dhelm&fieldSelector=type%3Dhelm.sh%2Frelease.v1"
SPACE, MAP = obj("Namespace", "shop"), obj("ConfigMap", "m", "shop")
DNS = deployment("coredns", "kube-system")


def test_wanted_objects_are_found_or_known_to_be_missing() -> None:
    keys = [Key("v1", "Namespace", None, "shop"), Key("v1", "ConfigMap", "shop", "m"), Key("x/v1", "Odd", None, "o")]
    found = read_live(FakeApi(SPACE), keys, {}).objects
    assert list(found.values()) == [SPACE, None, None]


def test_nodes_are_told_apart_by_readiness_and_by_address() -> None:
    found = read_live(FakeApi(node("b"), node("a"), node("c", ready=False, address="10.1.2.3")), [], {})
    assert found.nodes == ("a", "b")
    assert found.nodes_unready == ("c",)
    assert {"172.18.0.2/32", "10.1.2.3/32", "10.42.0.0/31"} == set(found.node_blocks)


def test_endpoints_that_fail_are_told_and_those_that_answer() -> None:
    api = FakeApi(answers={"/healthz/etcd": (500, "[-]etcd failed: x"), "/apis": (404, "")})
    found = read_live(api, [], {})
    assert found.failing == ("/healthz/etcd: etcd",)
    assert found.served[:3] == ("/api", "/healthz", "/readyz")


def test_system_workloads_and_the_jobs_that_install_more() -> None:
    api = FakeApi(DNS, job("helm-install-traefik", done=False), job("backup", done=False), deployment("web", "default"))
    assert read_live(api, [], {}).system == {"deployment/coredns": "", "job/helm-install-traefik": "it is not done"}


def test_of_a_release_its_missing_objects_and_late_workloads_are_told() -> None:
    late, there = deployment("late", "shop", ready=False), obj("Service", "s", "shop")
    remaining = stored(
        name="web", namespace="shop", manifest=manifest(late, there, obj("ConfigMap", "c"), deployment("x", "shop"))
    )
    found = read_live(FakeApi(remaining, late, there), [], {("shop", "web"): False})
    assert set(found.gone["shop", "web"]) == {
        Key("v1", "ConfigMap", "shop", "c"),
        Key("apps/v1", "Deployment", "shop", "x"),
    }
    assert found.unready["shop", "web"] == ("deployment/late: 0 of 1 replicas are available",)


@pytest.mark.parametrize(
    ("manager", "reported"), [("kubectl-edit", True), ("kube-controller-manager", False), ("helm", False)]
)
def test_what_a_person_has_set_is_told_and_not_what_a_controller_has(manager: str, reported: bool) -> None:
    held = {"f:spec": {"f:replicas": dict[str, str]()}}
    there = deployment("web", "shop")
    there["spec"] = {"replicas": 3}
    there["metadata"]["managedFields"] = [{"manager": manager, "subresource": "scale", "fieldsV1": held}]
    remaining = stored(name="web", namespace="shop", manifest=manifest(deployment("web", "shop")))
    found = read_live(FakeApi(remaining, there), [], {("shop", "web"): False})
    why = (f"deployment/web: spec.replicas was set by {manager} (scale)",)
    assert found.edited == ({("shop", "web"): why} if reported else {})


def test_a_deployment_scaled_to_nothing_is_told_though_nobody_holds_the_field_then() -> None:
    there = deployment("web", "shop")
    there["spec"] = {"replicas": 0}
    there["metadata"]["managedFields"] = [{"manager": "helm", "fieldsV1": {"f:metadata": {"f:labels": {}}}}]
    expected = deployment("web", "shop")
    expected["spec"] |= {"paused": True, "strategy": {"type": "Recreate"}}  # the server has dropped them
    remaining = stored(name="web", namespace="shop", manifest=manifest(expected))
    found = read_live(FakeApi(remaining, there), [], {("shop", "web"): False})
    assert found.edited["shop", "web"] == ("deployment/web: spec.replicas is not as it was installed",)


@pytest.mark.parametrize(("waits", "reported"), [(True, ("job/seed: it is not done",)), (False, ())])
def test_a_job_at_work_is_late_only_where_its_release_waits_for_jobs(waits: bool, reported: tuple[str, ...]) -> None:
    seed = {**job("seed", "shop", done=False), "status": {"active": 1, "startTime": "2026-11-24T02:31:00Z"}}
    api = FakeApi(stored(name="web", namespace="shop", manifest=manifest(seed)), seed)
    assert read_live(api, [], {("shop", "web"): waits}).unready.get(("shop", "web"), ()) == reported


def test_daemons_are_not_ready_before_the_node_that_is_to_run_them() -> None:
    daemons = obj("DaemonSet", "agent", "kube-system", spec={}, status={"desiredNumberScheduled": 0})
    output = read_live(FakeApi(daemons, node("a", ready=False)), [], {}).system
    assert output == {"daemonset/agent": "node a is to run it, and is not ready yet"}


def test_a_release_that_is_whole_has_nothing_to_tell() -> None:
    web = deployment("web", "shop")
    found = read_live(
        FakeApi(stored(name="web", namespace="shop", manifest=manifest(web)), web), [], {("shop", "web"): False}
    )
    assert (found.gone, found.unready) == ({}, {})


def test_releases_of_others_are_known_but_not_looked_into() -> None:
    api = FakeApi(stored(name="other", namespace="shop", manifest=manifest(obj("Service", "s"), obj("Service", "t"))))
    found = read_live(api, [], {("shop", "web"): False})
    assert list(found.releases) == [("shop", "other")]
    assert found.gone == {}
    assert not any("services" in path for path in api.requests)


def test_an_api_that_refuses_is_an_error() -> None:
    with pytest.raises(ApiError, match="no answer"):
        read_live(FakeApi(answers={"/api/v1/nodes": ApiError(500, "no answer")}), [], {})


def test_a_login_that_is_limited_to_namespaces_sees_what_it_needs() -> None:
    """The rest is unknown, and no reason to fail; releases that it is to change must be readable."""
    denied = ApiError(403, "no rights")
    api = FakeApi(SPACE, stored(namespace="shop"))
    api.answers = {
        "/api/v1/nodes": denied,
        "/apis/apps/v1/namespaces/kube-system/deployments": denied,
        "/api/v1/namespaces": denied,
        "/api/v1/namespaces/hidden": denied,
        f"/api/v1/secrets?{HELMS}": denied,
        f"/api/v1/namespaces/hidden/secrets?{HELMS}": denied,
    }
    keys = [Key("v1", "Namespace", None, name) for name in ("shop", "hidden")]
    found = read_live(api, keys, {("shop", "web"): False})
    assert list(found.releases) == [("shop", "web")]
    assert (found.nodes_hidden, found.nodes, found.system) == (True, (), {})
    assert [found.objects[each] is not None for each in keys] == [True, True]
    with pytest.raises(ApiError, match="no rights"):
        read_live(api, keys, {("hidden", "web"): False})


def test_after_an_error_nobody_waits_for_other_questions() -> None:
    answered = threading.Event()

    def ask() -> None:
        with concurrently(2) as pool:
            pool.submit(answered.wait, 5.0)
            raise ApiError(0, "no answer")

    begin = time.monotonic()
    with pytest.raises(ApiError):
        ask()
    assert time.monotonic() - begin < 2
    answered.set()


def test_without_an_error_all_questions_are_answered_at_the_end() -> None:
    with concurrently(2) as pool:
        late = pool.submit(time.sleep, 0.05)
    assert late.done()


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
