"""Fields that others hold, found as Kubernetes finds them, and objects that leave those fields alone."""

import base64
from typing import Any

import pytest

from tasks.kube.drift import conflicts, yielding

OWN = ("helm",)
APP = 'k:{"name":"app"}'


def live(body: dict[str, Any], *entries: dict[str, Any]) -> dict[str, Any]:
    return {**body, "metadata": {"name": "web", **body.get("metadata", {}), "managedFields": list(entries)}}


def entry(manager: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


def pod(**container: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "side"}, {"name": "app", **container}]}}}}


def in_app(name: str) -> dict[str, Any]:
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": {APP: {".": {}, f"f:{name}": {}}}}}}}


REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
WEBHOOK: dict[str, Any] = {"f:webhooks": {'k:{"name":"a.b"}': {"f:clientConfig": {"f:caBundle": {}}}}}
SCALED = entry("kubectl", REPLICAS, subresource="scale")


def hook(bundle: str) -> dict[str, Any]:
    return {"webhooks": [{"name": "x.y"}, {"name": "a.b", "clientConfig": {"caBundle": bundle, "url": "u"}}]}


def replicas(count: int | None) -> dict[str, Any]:
    return {"spec": {"replicas": count}}


def ports(**more: Any) -> dict[str, Any]:
    return {"spec": {"ports": [{"port": 80, **more}]}}


IN_PORT: dict[str, Any] = {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:nodePort": {}}}}}
IN_STATUS = entry("controller", {"f:status": {"f:a": {}}}, subresource="status")
IN_METADATA: dict[str, Any] = {"f:metadata": {"f:labels": {".": {}}, "f:finalizers": {".": {}, 'v:"y"': {}}}}
CONTAINER = "spec.template.spec.containers[1]"
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]], dict[str, tuple[str, ...]]]] = {
    "scaled, by two": (
        replicas(1),
        replicas(5),
        [entry("helm", {"f:spec": {"f:selector": {}}}), SCALED, entry("kube-controller-manager", REPLICAS)],
        {"spec.replicas": ("kube-controller-manager", "kubectl (scale)")},
    ),
    "the same value": (replicas(5), replicas(5), [SCALED], {}),
    "held by Helm alone": (replicas(1), replicas(5), [entry("helm", REPLICAS)], {}),
    "not desired": ({"spec": {}}, replicas(5), [SCALED], {}),
    "null is not desired": (replicas(None), replicas(5), [SCALED], {}),
    "status": ({"status": {"a": 1}}, {"status": {"a": 2}}, [IN_STATUS], {}),
    "of one container, whatever its place": (
        pod(image="x:1", args=["a"]),
        pod(image="x:2", args=["b"]),
        [entry("kubectl-set", in_app("image")), entry("helm", in_app("args"))],
        {f"{CONTAINER}.image": ("kubectl-set",)},
    ),
    "a list as a whole": (
        pod(args=["a"]),
        pod(args=["a", "b"]),
        [entry("e", in_app("args"))],
        {f"{CONTAINER}.args": ("e",)},
    ),
    "a rotated certificate": (
        hook("old"),
        hook("new"),
        [entry("cainjector", WEBHOOK)],
        {"webhooks[1].clientConfig.caBundle": ("cainjector",)},
    ),
    "a port without its protocol": (
        ports(nodePort=1),
        ports(protocol="TCP", nodePort=2),
        [entry("e", IN_PORT)],
        {"spec.ports[0].nodePort": ("e",)},
    ),
    "more beside ours": (
        {"metadata": {"labels": {"a": "1"}, "finalizers": ["x"]}},
        {"metadata": {"labels": {"a": "1", "b": "2"}, "finalizers": ["x", "y"]}},
        [entry("e", IN_METADATA)],
        {},
    ),
}


@pytest.mark.parametrize(("desired", "there", "entries", "found"), CASES.values(), ids=CASES.keys())
def test_a_field_that_another_holds_with_another_value_is_a_conflict(
    desired: dict[str, Any], there: dict[str, Any], entries: list[dict[str, Any]], found: dict[str, tuple[str, ...]]
) -> None:
    assert {each.shown: each.managers for each in conflicts(desired, live(there, *entries), OWN)} == found


def test_what_others_hold_is_left_out_or_sent_as_they_have_set_it() -> None:
    desired, there = hook("old"), live(hook("new"), entry("cainjector", WEBHOOK))
    found = conflicts(desired, there, OWN)
    assert yielding(desired, found, omit=True)["webhooks"][1] == {"name": "a.b", "clientConfig": {"url": "u"}}
    assert yielding(desired, found, omit=False) == hook("new")
    assert desired == hook("old")


def test_texts_of_a_secret_are_compared_with_what_the_api_made_of_them() -> None:
    coded = base64.b64encode(b"\xff rotated").decode()
    desired = {"kind": "Secret", "stringData": {"key": "mine", "same": "s"}}
    there = live(
        {"kind": "Secret", "data": {"key": coded, "same": base64.b64encode(b"s").decode()}},
        entry("rotator", {"f:data": {"f:key": {}, "f:same": {}}}),
    )
    found = conflicts(desired, there, OWN)
    assert [(each.shown, each.managers) for each in found] == [("data.key", ("rotator",))]
    assert coded not in repr(found)
    assert yielding(desired, found, omit=True) == {"kind": "Secret", "stringData": {"same": "s"}}
    assert yielding(desired, found, omit=False)["data"] == {"key": coded}
