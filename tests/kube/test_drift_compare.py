"""What is no change, and what is: by field, never by value."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from tasks.kube.drift import DELETED, MISSING, decoded, same
from tasks.kube.objects import FINGERPRINT, MANAGED_BY, finish

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "platform", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "template": {
            "metadata": {"labels": {"app": "web", "size": "1k"}},
            "spec": {
                "hostNetwork": False,
                "securityContext": {},
                "imagePullSecrets": [],
                "containers": [
                    {
                        "name": "web",
                        "image": "web:1",
                        "args": ["--a", "--b"],
                        "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}},
                        "env": [{"name": "SIZE", "value": "1k"}, {"name": "EMPTY", "value": ""}],
                        "ports": [{"containerPort": 80}],
                    },
                    {"name": "side", "image": "side:1"},
                ],
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
            },
        },
    },
}


def container(live: dict[str, Any], number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = live["spec"]["template"]["spec"]["containers"][number]
    return found


def completed() -> dict[str, Any]:
    """The deployment as an API server gives it back."""
    live = finish(DEPLOYMENT)
    live["metadata"] |= {"uid": "x", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"}
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    live["status"] = {"replicas": 2}
    live["spec"]["strategy"] = {"type": "RollingUpdate"}
    pod = live["spec"]["template"]["spec"]
    del pod["hostNetwork"], pod["securityContext"], pod["imagePullSecrets"], container(live)["env"][1]["value"]
    container(live)["resources"]["requests"] = {"cpu": "500m", "memory": "1Gi"}
    container(live)["ports"][0]["protocol"] = "TCP"
    container(live)["env"].insert(1, {"name": "ADDED", "value": "x"})
    pod["containers"].insert(0, {"name": "injected", "image": "proxy:1"})
    pod["volumes"][0]["emptyDir"]["sizeLimit"] = "1024Mi"
    pod["volumes"].append({"name": "kube-api-access"})
    return live


def test_missing() -> None:
    assert same(finish(DEPLOYMENT), None) == MISSING


def test_what_is_being_deleted_does_not_count_as_there() -> None:
    live = completed()
    live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert same(finish(DEPLOYMENT), live) == DELETED == "it is being deleted"


def test_what_the_server_and_admission_add_is_no_change() -> None:
    assert same(finish(DEPLOYMENT), completed()) is None


def test_the_comparison_changes_nothing() -> None:
    wanted, live = finish(DEPLOYMENT), completed()
    before = copy.deepcopy((wanted, live))
    same(wanted, live)
    assert (wanted, live) == before


def _replicas(live: dict[str, Any]) -> None:
    live["spec"]["replicas"] = 9


def _image(live: dict[str, Any]) -> None:
    container(live, 1)["image"] = "private-text"


def _args(live: dict[str, Any]) -> None:
    container(live, 1)["args"].append("--private-text")


def _order(live: dict[str, Any]) -> None:
    live["spec"]["template"]["spec"]["containers"].reverse()


def _gone(live: dict[str, Any]) -> None:
    live["spec"]["template"]["spec"]["containers"].pop(2)


def _quantity(live: dict[str, Any]) -> None:
    container(live, 1)["resources"]["requests"]["cpu"] = "501m"


def _env(live: dict[str, Any]) -> None:
    container(live, 1)["env"][0]["value"] = "1000"


def _pod_label(live: dict[str, Any]) -> None:
    live["spec"]["template"]["metadata"]["labels"]["size"] = "1000"


def _label(live: dict[str, Any]) -> None:
    live["metadata"]["labels"][MANAGED_BY] = "private-text"


def _labels(live: dict[str, Any]) -> None:
    live["metadata"]["labels"] = None


def _bool(live: dict[str, Any]) -> None:
    live["spec"]["template"]["spec"]["hostNetwork"] = True


def _type(live: dict[str, Any]) -> None:
    live["spec"]["template"] = ["private-text"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (_replicas, "spec.replicas"),
        (_image, "spec.template.spec.containers[0].image"),
        (_args, "spec.template.spec.containers[0].args"),
        (_order, "spec.template.spec.containers[1]"),
        (_gone, "spec.template.spec.containers[1]"),
        (_quantity, "spec.template.spec.containers[0].resources.requests.cpu"),
        (_env, "spec.template.spec.containers[0].env[0].value"),
        (_pod_label, "spec.template.metadata.labels.size"),
        (_label, f"metadata.labels.{MANAGED_BY}"),
        (_labels, "metadata.labels"),
        (_bool, "spec.template.spec.hostNetwork"),
        (_type, "spec.template"),
    ],
)
def test_a_change_by_hand_is_found_though_the_fingerprint_is_still_ours(change: Any, field: str) -> None:
    live = completed()
    change(live)
    assert same(finish(DEPLOYMENT), live) == f"changed: {field}"


def test_a_field_that_is_wanted_no_more_is_found_by_the_fingerprint() -> None:
    wanted = copy.deepcopy(DEPLOYMENT)
    del wanted["spec"]["replicas"]
    assert same(finish(wanted), completed()) == "changed: it was applied with other fields"
    live = completed()
    del live["metadata"]["annotations"][FINGERPRINT]
    assert same(finish(DEPLOYMENT), live) == "changed: it was applied with other fields"


def test_many_fields_are_counted() -> None:
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": dict.fromkeys("abcde", "x")}
    live = {**finish(wanted), "data": {}}
    assert same(finish(wanted), live) == "changed: data.a, data.b, data.c and 2 more"


def obj(kind: str, api: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "a"}, **more}


STORAGE = "storage.k8s.io/v1"


@pytest.mark.parametrize(
    ("wanted", "live", "fields"),
    [
        (obj("Secret", type="kubernetes.io/tls"), {"type": "Opaque"}, "type"),
        (obj("Secret"), {"type": "kubernetes.io/tls"}, "type"),
        (obj("Secret", data={"a": "eA=="}), {"data": {"a": "eQ=="}, "immutable": True}, "data.a"),
        (obj("Secret"), {"data": {"tls.crt": "eQ=="}, "immutable": True}, "data.tls.crt"),
        (obj("Secret", immutable=False), {"immutable": True}, "immutable"),
        (
            obj("Secret", type="x", data={"a": "eA==", "b": "eA==", "c": "eA=="}),
            {"type": "y", "immutable": True},
            "type, data.a, data.b and 1 more",
        ),
        (obj("ConfigMap", data={"a": "x"}), {"data": {"a": "y"}, "immutable": True}, "data.a"),
        (obj("ConfigMap", binaryData={"a": "eA=="}), {"immutable": True}, "binaryData"),
        (obj("ConfigMap", immutable=False), {"immutable": True}, "immutable"),
        (obj("StorageClass", STORAGE, provisioner="a"), {"provisioner": "b"}, "provisioner"),
        (obj("StorageClass", STORAGE, reclaimPolicy="Retain"), {"reclaimPolicy": "Delete"}, "reclaimPolicy"),
        (obj("StorageClass", STORAGE, volumeBindingMode="Immediate"), {"volumeBindingMode": "x"}, "volumeBindingMode"),
        (obj("StorageClass", STORAGE, parameters={"type": "a"}), {"parameters": {"type": "b"}}, "parameters.type"),
        (
            obj("StorageClass", STORAGE, provisioner="a", allowVolumeExpansion=True),
            {"provisioner": "b", "allowVolumeExpansion": False},
            "provisioner",
        ),
        (
            obj("RoleBinding", "rbac.authorization.k8s.io/v1", roleRef={"name": "a"}),
            {"roleRef": {"name": "b"}},
            "roleRef.name",
        ),
        (
            obj("Deployment", "apps/v1", spec={"selector": {"matchLabels": {"a": "x"}}}),
            {"spec": {"selector": {"matchLabels": {"a": "y"}}}},
            "spec.selector.matchLabels.a",
        ),
    ],
)
def test_what_no_update_can_change_says_what_to_do(wanted: dict[str, Any], live: dict[str, Any], fields: str) -> None:
    given = finish(wanted)
    why = f"changed: {fields}, which cannot be changed in place: delete it, then run again"
    assert same(given, {**live, "metadata": given["metadata"]}) == why


@pytest.mark.parametrize(
    ("wanted", "live", "why"),
    [
        (obj("ConfigMap", data={"a": "x"}), {"data": {"a": "y"}}, "changed: data.a"),
        (obj("ConfigMap", immutable=True), {}, "changed: immutable"),
        (obj("StorageClass", STORAGE, allowVolumeExpansion=True), {}, "changed: allowVolumeExpansion"),
        (obj("StorageClass", "example.com/v1", provisioner="a"), {"provisioner": "b"}, "changed: provisioner"),
        (obj("Deployment", "apps/v1", spec={"selectors": 1}), {"spec": {}}, "changed: spec.selectors"),
    ],
)
def test_what_an_update_can_change_does_not(wanted: dict[str, Any], live: dict[str, Any], why: str) -> None:
    given = finish(wanted)
    assert same(given, {**live, "metadata": given["metadata"]}) == why


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(**more: Any) -> dict[str, Any]:
    return finish(obj("Secret", type="Opaque", data={"password": b64("hunter2")}, **more))


def owned(live: dict[str, Any], *names: str, manager: str = "openframe") -> dict[str, Any]:
    fields: dict[str, Any] = {"f:data": {".": {}, **{f"f:{name}": {} for name in names}}}
    live["metadata"]["managedFields"] = [{"manager": manager, "operation": "Apply", "fieldsV1": fields}]
    return live


def test_secrets_are_compared_by_decoded_values() -> None:
    live = owned(secret(), "password")
    assert same(secret(), live) is None
    as_text = finish(obj("Secret", stringData={"password": "hunter2"}))
    assert same(as_text, live) is None
    live["data"]["password"] = b64("other")
    assert same(secret(), live) == "changed: data.password"
    del live["data"]
    assert same(secret(), live) == "changed: data.password"


def test_label_and_annotations_of_a_secret_count() -> None:
    live = secret()
    live["metadata"]["labels"] = {}
    assert same(secret(), live) == f"changed: metadata.labels.{MANAGED_BY}"
    assert same(secret(immutable=True), secret()) == "changed: immutable"
    live = secret()
    live["metadata"]["annotations"] = {FINGERPRINT: "of someone else"}
    assert same(secret(), live) is None


def test_a_key_of_someone_else_beside_ours_is_no_change_and_one_of_ours_is() -> None:
    live = secret()
    live["data"]["more"] = b64("x")
    assert same(secret(), copy.deepcopy(live)) == "changed: data.more"  # nobody knows whose it is
    assert same(secret(), owned(copy.deepcopy(live), "password")) is None
    assert same(secret(), owned(copy.deepcopy(live), "password", "more")) == "changed: data.more"
    assert same(secret(), owned(copy.deepcopy(live), "password", "more", manager="kubectl-edit")) is None


def test_decoding() -> None:
    given = obj("Secret", data={"a": "aG\nk=", "b": "no base64!", "c": None, "d": b64("x")}, stringData={"d": "y"})
    assert decoded(given) == {"a": b"hi", "b": b"no base64!", "c": b"", "d": b"y"}
    assert decoded(obj("Secret")) == {}


def test_no_reason_holds_a_value() -> None:
    live = owned(secret(), "password")
    live["data"] = {"password": b64("private-text"), "x": b64("private-text")}
    reason = same(secret(), live)
    assert reason is not None
    assert "hunter2" not in reason
    assert "private-text" not in reason
    assert b64("hunter2") not in reason
