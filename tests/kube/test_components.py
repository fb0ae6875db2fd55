"""Which optional components of k3s are in use: claims, Ingresses and autoscalers of the launch's own namespaces."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.kube.client import ApiError
from tasks.kube.components import METRICS, PROVISIONER, TRAEFIK, component, in_use, scales
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


def autoscaler(*kinds: str) -> Object:
    metrics = {"metrics": [{"type": kind} for kind in kinds]} if kinds else {}
    return obj("HorizontalPodAutoscaler", "shop", "web", spec=metrics)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("metrics-server", METRICS),
        ("local-path-provisioner", PROVISIONER),
        ("traefik", TRAEFIK),
        ("helm-install-traefik-crd", TRAEFIK),
        ("svclb-traefik-1a2b3c4d", TRAEFIK),
        ("svclb-shop-1a2b3c4d", None),
        ("coredns", None),
        ("traefikee", None),
    ],
)
def test_a_workload_belongs_to_a_component_by_its_name(name: str, found: str | None) -> None:
    assert component(name) == found


@pytest.mark.parametrize(
    ("objects", "needed"),
    [
        ([], {}),
        ([claim(storageClassName="local-path"), LOCAL], {PROVISIONER}),
        ([claim(storageClassName="openframe-local"), OURS], {PROVISIONER}),
        ([claim(), default(LOCAL)], {PROVISIONER}),
        ([claim(), LOCAL, default(OTHER)], set()),
        ([claim(storageClassName="nfs"), default(LOCAL), OTHER], set()),
        ([claim(storageClassName=""), default(LOCAL)], set()),
        ([claim("somebody", storageClassName="local-path"), LOCAL], set()),
        ([ingress(ingressClassName="traefik")], {TRAEFIK}),
        ([ingress()], {TRAEFIK}),  # the class comes with the controller
        ([ingress(ingressClassName="haproxy")], set()),
        ([ingress(), default(TRAEFIK_CLASS, "ingressclass.kubernetes.io/is-default-class")], {TRAEFIK}),
        ([ingress(ingressClassName="nginx"), NGINX_CLASS, TRAEFIK_CLASS], set()),
        ([autoscaler()], {METRICS}),
        ([autoscaler("Pods", "ContainerResource")], {METRICS}),
        ([autoscaler("External")], set()),
    ],
)
def test_what_an_object_needs(objects: list[Object], needed: set[str]) -> None:
    assert set(in_use(FakeApi(*objects), {"web"}).needed) == set(needed)


def test_an_ingress_is_expected_to_answer_once_its_class_is_there() -> None:
    assert in_use(FakeApi(ingress(ingressClassName="nginx")), {"web"}).ingresses == ()
    (found,) = in_use(FakeApi(ingress(ingressClassName="nginx"), NGINX_CLASS), {"web"}).ingresses
    assert found["metadata"]["name"] == "shop"


@pytest.mark.parametrize("code", [403, 404, 503])
def test_what_may_not_be_read_needs_nothing(code: int) -> None:
    path = "/apis/autoscaling/v2/horizontalpodautoscalers"
    assert in_use(FakeApi(autoscaler(), answers={path: ApiError(code, "refused")}), {"web"}).needed == {}


def test_an_api_that_fails_is_an_error() -> None:
    path = "/apis/autoscaling/v2/horizontalpodautoscalers"
    with pytest.raises(ApiError):
        in_use(FakeApi(answers={path: ApiError(500, "broken")}), {"web"})


@pytest.mark.parametrize(
    ("status", "reason", "message", "good"),
    [
        ("True", "ValidMetricFound", "", True),
        ("False", "FailedGetResourceMetric", "unable to get metrics for resource cpu: no metrics returned", False),
        ("False", "FailedGetResourceMetric", "failed to get cpu utilization: missing request for cpu", True),
        ("False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero", True),
    ],
)
def test_an_autoscaler_that_waiting_cannot_help_is_not_waited_for(
    status: str, reason: str, message: str, good: bool
) -> None:
    row = {"type": "ScalingActive", "status": status, "reason": reason, "message": message}
    assert scales({"status": {"conditions": [row]}})[0] is good
    assert scales({})[0] is False
