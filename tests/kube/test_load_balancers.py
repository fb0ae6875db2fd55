"""Services that get no address, because another one has their ports."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.kube.client import ApiError
from tasks.kube.load_balancers import SERVICE_NAME, SERVICE_NAMESPACE, balanced, without_address
from tasks.kube.objects import Key
from tests.given_live import FakeApi, obj

PODS = "/api/v1/namespaces/kube-system/pods?labelSelector=svccontroller.k3s.cattle.io/svcnamespace"
SHOP, BLOG = Key("v1", "Service", "shop", "web"), Key("v1", "Service", "blog", "web")


def service(key: Key, *ports: int, address: str = "") -> Any:
    spec = {"type": "LoadBalancer", "ports": [{"port": each} for each in ports]}
    return obj(
        "Service",
        key.name,
        key.namespace,
        spec=spec,
        status={"loadBalancer": {"ingress": [{"ip": address}] * bool(address)}},
    )


def pod(key: Key, message: str = "") -> Any:
    labels = {SERVICE_NAMESPACE: key.namespace, SERVICE_NAME: key.name}
    rows = [{"type": "PodScheduled", "status": "False" if message else "True", "message": message}]
    return obj("Pod", f"svclb-{key.namespace}", "kube-system", labels=labels, status={"conditions": rows})


def served(*pods: Any) -> FakeApi:
    there = [service(SHOP, 80, 443, address="172.18.0.3"), service(BLOG, 80, 9000)]
    return FakeApi(*there, answers={PODS: {"items": list(pods)}})


def test_the_one_that_has_the_port_is_named() -> None:
    taken = "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."
    (told,) = without_address(served(pod(SHOP), pod(BLOG, taken)), [SHOP, BLOG])
    assert told.startswith("service blog/web gets no address: service shop/web has 80. Give one of them another port")


@pytest.mark.parametrize(
    ("pods", "services"),
    [
        ([pod(SHOP), pod(BLOG)], [SHOP, BLOG]),
        ([pod(BLOG, "0/1 nodes are available: 1 node(s) had untolerated taint(s).")], [BLOG]),
        ([pod(BLOG, "didn't have free ports")], [SHOP]),
    ],
    ids=["all have theirs", "its node comes", "another's"],
)
def test_what_may_come_is_not_told(pods: list[Any], services: list[Key]) -> None:
    assert without_address(served(*pods), services) == []


def test_where_it_cannot_be_asked_nothing_is_told() -> None:
    assert without_address(FakeApi(answers={PODS: ApiError(403, "no")}), [SHOP]) == []


def test_only_load_balancers_of_a_manifest_are_asked_for() -> None:
    here = {"kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "LoadBalancer"}}
    inside = {"kind": "Service", "metadata": {"name": "db"}, "spec": {}}
    assert balanced([here, inside, {"kind": "Deployment"}], "shop") == (SHOP,)
