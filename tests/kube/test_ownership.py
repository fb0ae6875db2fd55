"""Who created an object: proved by what the API server has recorded, not by what anybody may apply."""

import copy
from typing import Any

import pytest

from tasks.kube.ownership import CREATED_BY, Foreign, applicable, created_by, environment, marked, owner_of, refused
from tests.given_live import Object, created, obj

MAP = obj("ConfigMap", "m", "one", labels={"app": "web"})
LABEL: Object = {"f:metadata": {"f:labels": {f"f:{CREATED_BY}": {}}}}


def entry(manager: str = "openframe", operation: str = "Update", **more: Any) -> Object:
    return {"manager": manager, "operation": operation, "fieldsV1": LABEL, **more}


def held(*entries: Object) -> Object:
    found = marked(MAP, "me.dev")
    return {**found, "metadata": {**found["metadata"], "managedFields": list(entries)}}


def test_what_this_project_created_says_for_whom() -> None:
    assert created_by(created(MAP)) == "me.dev"
    assert created_by(MAP) is None


@pytest.mark.parametrize(
    "there",
    [
        held(),
        held(entry(operation="Apply")),
        held(entry("kubectl-client-side-apply")),
        held(entry(subresource="status")),
        held(entry(fieldsV1={"f:metadata": {"f:labels": {"f:app": {}}}})),
    ],
    ids=["no record", "applied", "copied by kubectl", "a subresource", "another label"],
)
def test_a_label_that_was_applied_or_copied_proves_nothing(there: Object) -> None:
    assert created_by(there) is None


@pytest.mark.parametrize(
    ("name", "cluster", "value"),
    [
        ("alice@laptop", "openframe-dev", "openframe-dev.alice-laptop.0123456789abcdef"),
        ("CORP\\al ice", "dev", "dev.CORP-al-ice.0123456789abcdef"),
        ("a" * 80, "dev", f"dev.{'a' * 42}.0123456789abcdef"),
    ],
)
def test_an_environment_is_owner_and_cluster_as_a_label_value(name: str, cluster: str, value: str) -> None:
    assert environment(name, "0123456789abcdef", cluster) == value
    assert len(value) <= 63


def test_what_creation_set_is_given_to_apply_but_for_the_proof() -> None:
    """Else a field that is no longer configured would stay for ever."""
    there = created(MAP)
    there["metadata"]["managedFields"][0]["fieldsV1"]["f:data"] = {"f:a": {}}
    before = copy.deepcopy(there)
    found = applicable(there)
    assert found is not None
    applied, proof = found["metadata"]["managedFields"]
    assert applied["operation"] == "Apply"
    assert applied["fieldsV1"] == {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {"f:app": {}}}}
    assert (proof["operation"], proof["fieldsV1"]) == ("Update", LABEL)
    assert created_by(found) == "me.dev"
    assert there == before
    assert applicable(found) is None


@pytest.mark.parametrize(
    ("metadata", "output"),
    [
        ({}, "its owner is unknown"),
        ({"labels": {"app.kubernetes.io/managed-by": "argocd"}}, "app.kubernetes.io/managed-by=argocd"),
        (
            {
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"meta.helm.sh/release-name": "dns", "meta.helm.sh/release-namespace": "kube-system"},
            },
            "Helm release dns in kube-system",
        ),
        ({"ownerReferences": [{"kind": "Cluster", "name": "db"}]}, "owned by Cluster db"),
        ({"labels": {"addonmanager.kubernetes.io/mode": "Reconcile"}}, "addonmanager.kubernetes.io/mode=Reconcile"),
        (
            {"managedFields": [entry("kubectl-create"), entry("kubelet", subresource="status")]},
            "field manager kubectl-create",
        ),
    ],
)
def test_whose_an_object_is_is_told_by_what_it_says(metadata: Object, output: str) -> None:
    assert owner_of({**MAP, "metadata": {"name": "m", **metadata}}) == output


def test_another_environment_of_this_project_is_named() -> None:
    assert owner_of(created(MAP, "bob.dev")) == "created by this project for bob.dev"


def test_a_refusal_names_each_thing_and_its_owner() -> None:
    error = refused("the cluster of context 'team'", {f"one/secret/s{n}": "field manager kubectl" for n in range(12)})
    assert isinstance(error, Foreign)
    assert error.what.startswith("12 things are in the cluster of context 'team' already")
    assert "one/secret/s0: field manager kubectl; " in error.why
    assert error.why.endswith("; and 2 more")
    assert refused("it", {"x": "y"}).what == "x is in it already, and this project did not create it"
