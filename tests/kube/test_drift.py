"""What is as configured and what differs, by field and never by value.

`drift_cases.json` holds what a real API server (1.33) answered after changes of all sorts: random ones in 36 kinds,
those of other managers, subresources, webhooks and controllers, and foreign objects of the same name.
"""

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.kube.drift import DELETED, MISSING, differences, same
from tasks.kube.objects import MANAGED_BY, decoded, finish
from tasks.settings.derived import FINGERPRINT

RECORDED = json.loads((Path(__file__).parent / "drift_cases.json").read_text(encoding="utf-8"))
STORAGE = "storage.k8s.io/v1"


@pytest.mark.parametrize(
    ("desired", "why", "live"), [case[1:] for case in RECORDED["cases"]], ids=[case[0] for case in RECORDED["cases"]]
)
def test_as_an_api_server_answered(desired: str, why: str | None, live: dict[str, Any]) -> None:
    given = copy.deepcopy((RECORDED["desired"][desired], live))
    assert same(*given) == why
    assert given == (RECORDED["desired"][desired], live)


def obj(kind: str, api: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "a"}, **more}


def compared(desired: dict[str, Any], live: dict[str, Any]) -> str | None:
    """With the same label and fingerprint on both, and without managedFields."""
    given = finish(desired)
    return same(given, {**live, "metadata": given["metadata"]})


def test_missing_and_being_deleted() -> None:
    desired = finish(obj("ConfigMap"))
    assert same(desired, None) == MISSING
    live = {**desired, "metadata": {**desired["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert same(desired, live) == DELETED == "it is being deleted"


def test_many_fields_are_counted() -> None:
    desired = obj("ConfigMap", data=dict.fromkeys("abcde", "x"))
    assert compared(desired, {"data": {}}) == "changed: data.a, data.b, data.c and 2 more"


@pytest.mark.parametrize(
    ("desired", "live", "why"),
    [
        ({"a": 1}, {"a": True}, "spec.a"),
        ({"a": 1}, {"a": 1.0}, None),
        ({"a": None, "b": 0, "c": {"d": []}}, {"a": 5}, None),
        ({"b": 0}, {"b": 1}, "spec.b"),
        ({"l": ["a", "b"]}, {"l": ["a", "b", "c"]}, "spec.l"),
        ({"l": [["a"], ["b"]]}, {"l": [["a"], ["b"]]}, None),
        ({"l": [1]}, {"l": [True]}, "spec.l"),
        ({"l": [{"a": 1}, {"a": 2}]}, {"l": [{"x": 1}, {"a": 1, "b": 1}, {"a": 2}]}, None),
        ({"l": [{"a": 1}, {"a": 2}]}, {"l": [{"a": 2}, {"a": 1}, {"x": 1}]}, "spec.l[1]"),
    ],
)
def test_an_object_without_managers_of_fields(desired: dict[str, Any], live: dict[str, Any], why: str | None) -> None:
    assert compared(obj("A", spec=desired, status={"x": 1}), {"spec": live}) == (f"changed: {why}" if why else None)


def test_fields_held_in_another_version_of_the_api_are_compared() -> None:
    desired = finish(obj("A", spec={"a": 1}))
    entry = {"manager": "openframe", "operation": "Apply", "apiVersion": "v0", "fieldsV1": {"f:spec": {"f:a": {}}}}
    live = {**desired, "spec": {"a": 2}, "metadata": {**desired["metadata"], "managedFields": [entry]}}
    assert same(desired, live) == "changed: spec.a"
    entry["apiVersion"] = "v1"
    assert same(desired, live) is None


def test_what_a_namespace_has_of_a_manifest() -> None:
    live = obj("Namespace", spec={"finalizers": ["kubernetes"]})
    live["metadata"] |= {"labels": {"a": "1", "b": "2"}}
    assert differences({"metadata": {"labels": {"a": "1"}}}, live) == []
    assert differences({"metadata": {"labels": {"a": "1.0"}}}, live) == ["metadata.labels.a"]


@pytest.mark.parametrize(
    ("desired", "live", "fields"),
    [
        (obj("Secret", type="kubernetes.io/tls"), {"type": "Opaque"}, "type"),
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
        (
            obj("StorageClass", STORAGE, provisioner="a", allowVolumeExpansion=True),
            {"provisioner": "b", "allowVolumeExpansion": False},
            "provisioner",
        ),
        (obj("StorageClass", STORAGE, parameters={"type": "a"}), {"parameters": {"type": "b"}}, "parameters.type"),
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
        (
            obj("StatefulSet", "apps/v1", spec={"volumeClaimTemplates": [{"metadata": {"name": "a"}}]}),
            {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "b"}, "status": {"phase": "Pending"}}]}},
            "spec.volumeClaimTemplates[0].metadata.name",
        ),
    ],
)
def test_what_no_update_can_change_says_what_to_do(desired: dict[str, Any], live: dict[str, Any], fields: str) -> None:
    why = f"changed: {fields}, which cannot be changed in place: delete it, then run again"
    assert compared(desired, live) == why


@pytest.mark.parametrize(
    ("desired", "live", "why"),
    [
        (obj("ConfigMap", immutable=True), {}, "immutable"),
        (obj("StorageClass", STORAGE, allowVolumeExpansion=True), {}, "allowVolumeExpansion"),
        (obj("StorageClass", "example.com/v1", provisioner="a"), {"provisioner": "b"}, "provisioner"),
        (obj("Deployment", "apps/v1", spec={"selectors": 1}), {"spec": {}}, "spec.selectors"),
    ],
)
def test_what_an_update_can_change_does_not(desired: dict[str, Any], live: dict[str, Any], why: str) -> None:
    assert compared(desired, live) == f"changed: {why}"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(**more: Any) -> dict[str, Any]:
    return finish(obj("Secret", type="Opaque", data={"password": b64("hunter2")}, **more))


def test_label_and_annotations_of_a_secret_count_and_its_fingerprint_does_not() -> None:
    live = secret()
    live["metadata"]["labels"] = {}
    assert same(secret(), live) == f"changed: metadata.labels.{MANAGED_BY}"
    assert same(secret(immutable=True), secret()) == "changed: immutable"
    live = secret()
    live["metadata"]["annotations"] = {FINGERPRINT: "of someone else"}
    assert same(secret(), live) is None


@pytest.mark.parametrize(
    ("manager", "names", "why"),
    [
        (None, (), "changed: data.more"),  # nobody knows whose it is
        ("openframe", ("password",), None),
        ("openframe", ("password", "more"), "changed: data.more"),
        ("kubectl-edit", ("password", "more"), None),
    ],
)
def test_a_key_of_another_manager_is_no_change_and_one_that_was_applied_is(
    manager: str | None, names: tuple[str, ...], why: str | None
) -> None:
    live = secret()
    live["data"]["more"] = b64("private-text")
    fields: dict[str, Any] = {"f:data": {".": {}, **{f"f:{name}": {} for name in names}}}
    if manager is not None:
        live["metadata"]["managedFields"] = [{"manager": manager, "operation": "Apply", "fieldsV1": fields}]
    assert same(secret(), live) == why


def test_decoding() -> None:
    given = obj("Secret", data={"a": "aG\nk=", "b": "no base64!", "c": None, "d": b64("x")}, stringData={"d": "y"})
    assert decoded(given) == {"a": b"hi", "b": b"no base64!", "c": b"", "d": b"y"}
    assert decoded(obj("Secret")) == {}


def test_no_reason_holds_a_value() -> None:
    live = {**secret(), "data": {"password": b64("private-text"), "x": b64("private-text")}}
    reason = same(secret(), live)
    assert reason == "changed: data.password, data.x"
