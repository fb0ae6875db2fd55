"""Components of k3s: which are in use, one that starts late, and Services that get no address."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.kube import components
from tasks.kube.client import ApiError
from tasks.kube.objects import Key
from tests.given_live import FakeApi, Object, obj

DEFAULT = "storageclass.kubernetes.io/is-default-class"
LOCAL = obj("StorageClass", "local-path", provisioner="rancher.io/local-path")
OURS = obj("StorageClass", "openframe-local", provisioner="rancher.io/local-path")
OTHER = obj("StorageClass", "nfs", provisioner="example.org/nfs")
TRAEFIK_CLASS = obj("IngressClass", "traefik", spec={"controller": "traefik.io/ingress-controller"})
NGINX_CLASS = obj("IngressClass", "nginx", spec={"controller": "k8s.io/ingress-nginx"})


def default(item: Object, annotation: str = DEFAULT) -> Object:
    return {**item, "metadata": {**item["metadata"], "annotations": {annotation: "true"}}}


def claim(namespace: str = "web", **spec: Any) -> Object:
    return obj("PersistentVolumeClaim", "data", namespace, spec=spec)


def ingress(namespace: str = "web", **spec: Any) -> Object:
    return obj("Ingress", "shop", namespace, spec=spec)


def gateway(kind: str) -> Object:
    return obj("Gateway", "shop", "web", spec={"gatewayClassName": kind})


def gateway_class(name: str, controller: str) -> Object:
    return obj("GatewayClass", name, spec={"controllerName": controller})


def autoscaler(*kinds: str) -> Object:
    metrics = {"metrics": [{"type": kind} for kind in kinds]} if kinds else {}
    return obj("HorizontalPodAutoscaler", "shop", "web", spec=metrics)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("metrics-server", components.METRICS),
        ("local-path-provisioner", components.PROVISIONER),
        ("traefik", components.TRAEFIK),
        ("helm-install-traefik-crd", components.TRAEFIK),
        ("svclb-traefik-1a2b3c4d", components.TRAEFIK),
        ("svclb-shop-1a2b3c4d", None),
        ("coredns", None),
        ("traefikee", None),
    ],
)
def test_a_workload_belongs_to_a_component_by_its_name(name: str, found: str | None) -> None:
    assert components.component(name) == found


@pytest.mark.parametrize(
    ("objects", "needed"),
    [
        ([], {}),
        ([claim(storageClassName="local-path"), LOCAL], {components.PROVISIONER}),
        ([claim(storageClassName="openframe-local"), OURS], {components.PROVISIONER}),
        ([claim(), default(LOCAL)], {components.PROVISIONER}),
        ([claim(), LOCAL, default(OTHER)], set()),
        ([claim(storageClassName="nfs"), default(LOCAL), OTHER], set()),
        ([claim(storageClassName=""), default(LOCAL)], set()),
        ([claim("somebody", storageClassName="local-path"), LOCAL], set()),
        ([ingress(ingressClassName="traefik")], {components.TRAEFIK}),
        ([ingress()], {components.TRAEFIK}),  # the class comes with the controller
        ([ingress(ingressClassName="haproxy")], set()),
        ([ingress(), default(TRAEFIK_CLASS, "ingressclass.kubernetes.io/is-default-class")], {components.TRAEFIK}),
        ([ingress(ingressClassName="nginx"), NGINX_CLASS, TRAEFIK_CLASS], set()),
        ([obj("IngressRoute", "shop", "web")], {components.TRAEFIK}),
        ([obj("IngressRouteTCP", "shop", "web")], {components.TRAEFIK}),
        ([obj("IngressRoute", "dashboard", "kube-system")], set()),
        ([gateway("traefik")], {components.TRAEFIK}),  # its class comes with the controller
        ([gateway("mine"), gateway_class("mine", "traefik.io/gateway-controller")], {components.TRAEFIK}),
        ([gateway("istio"), gateway_class("istio", "istio.io/gateway-controller")], set()),
        ([autoscaler()], {components.METRICS}),
        ([autoscaler("Pods", "ContainerResource")], {components.METRICS}),
        ([autoscaler("External")], set()),
    ],
)
def test_what_an_object_needs(objects: list[Object], needed: set[str]) -> None:
    assert set(components.in_use(FakeApi(*objects), {"web"}).needed) == set(needed)


def test_an_ingress_is_expected_to_answer_once_its_class_is_there() -> None:
    assert components.in_use(FakeApi(ingress(ingressClassName="nginx")), {"web"}).ingresses == ()
    (found,) = components.in_use(FakeApi(ingress(ingressClassName="nginx"), NGINX_CLASS), {"web"}).ingresses
    assert found["metadata"]["name"] == "shop"


@pytest.mark.parametrize("code", [403, 404, 503])
def test_what_may_not_be_read_needs_nothing(code: int) -> None:
    path = "/apis/autoscaling/v2/horizontalpodautoscalers"
    assert components.in_use(FakeApi(autoscaler(), answers={path: ApiError(code, "refused")}), {"web"}).needed == {}


def test_an_api_that_fails_is_an_error() -> None:
    path = "/apis/autoscaling/v2/horizontalpodautoscalers"
    with pytest.raises(ApiError):
        components.in_use(FakeApi(answers={path: ApiError(500, "broken")}), {"web"})


@pytest.mark.parametrize(
    ("status", "reason", "message", "good"),
    [
        ("True", "ValidMetricFound", "", True),
        ("False", "FailedGetResourceMetric", "unable to get metrics for resource cpu: no metrics returned", False),
        ("False", "FailedGetResourceMetric", "failed to get cpu utilization: missing request for cpu", True),
        ("False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero", True),
    ],
)
def test_an_autoscaler_without_a_chance_is_not_awaited(status: str, reason: str, message: str, good: bool) -> None:
    row = {"type": "ScalingActive", "status": status, "reason": reason, "message": message}
    assert components.scales({"status": {"conditions": [row]}})[0] is good
    assert components.scales({})[0] is False


# -- pods of metrics-server, refused for a time that the API server's own clock ends

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
    assert components.defer(api) is None
    (_, _, result), (_, _, binding) = api.sent
    (row,) = result["spec"]["validations"]
    assert "timestamp('2026-01-02T03:04:25Z')" in row["expression"]
    assert result["spec"]["failurePolicy"] == "Ignore"
    assert binding["spec"] == {"policyName": components.POLICY, "validationActions": ["Deny"]}


def test_only_pods_of_metrics_server_in_kube_system_are_refused() -> None:
    spec = components.deferral_policy(datetime(2026, 1, 1, tzinfo=UTC))[0]["spec"]
    assert "startsWith('metrics-server-')" in spec["validations"][0]["expression"]
    matched = spec["matchConstraints"]
    assert matched["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kube-system"}
    assert [each["operations"] for each in matched["resourceRules"]] == [["CREATE"]]


@pytest.mark.parametrize(
    ("codes", "why"),
    [((404,), "this Kubernetes has no such policies"), ((403,), "no"), ((409, 409), None), ((201, 500), "no")],
)
def test_where_it_cannot_be_done_nothing_fails(codes: tuple[int, ...], why: str | None) -> None:
    assert components.defer(Recorded(*codes)) == why


@pytest.mark.parametrize(("codes", "done"), [((200, 200), True), ((404, 404), True), ((200, 500), False)])
def test_it_is_taken_away(codes: tuple[int, ...], done: bool) -> None:
    api = Recorded(*codes)
    assert components.end_deferral(api) is done
    assert [(method, name) for method, name, _ in api.sent] == [("DELETE", components.POLICY)] * 2


# -- Services that get no address, because another one has their ports

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
    labels = {components.SERVICE_NAMESPACE: key.namespace, components.SERVICE_NAME: key.name}
    rows = [{"type": "PodScheduled", "status": "False" if message else "True", "message": message}]
    return obj("Pod", f"svclb-{key.namespace}", "kube-system", labels=labels, status={"conditions": rows})


def served(*pods: Any) -> FakeApi:
    there = [service(SHOP, 80, 443, address="172.18.0.3"), service(BLOG, 80, 9000)]
    return FakeApi(*there, answers={PODS: {"items": list(pods)}})


def test_the_one_that_has_the_port_is_named() -> None:
    occupied = "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."
    (reported,) = components.without_address(served(pod(SHOP), pod(BLOG, occupied)), [SHOP, BLOG])
    assert reported.startswith(
        "service blog/web gets no address: service shop/web has 80. Give one of them another port"
    )


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
    assert components.without_address(served(*pods), services) == []


def test_where_it_cannot_be_asked_nothing_is_told() -> None:
    assert components.without_address(FakeApi(answers={PODS: ApiError(403, "no")}), [SHOP]) == []


def test_only_load_balancers_of_a_manifest_are_asked_for() -> None:
    here = {"kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "LoadBalancer"}}
    inside = {"kind": "Service", "metadata": {"name": "db"}, "spec": {}}
    assert components.balanced([here, inside, {"kind": "Deployment"}], "shop") == (SHOP,)
