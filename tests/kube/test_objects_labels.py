"""What every object carries."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tasks.clients.kubectl import FIELD_MANAGER
from tasks.kube.objects import FINGERPRINT, MANAGED_BY, Key, digest, finish, key


def config_map(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **metadata}, "data": {"x": "1"}}


def test_label_and_fingerprint_are_added_to_a_copy() -> None:
    given = config_map(labels={"app": "x"}, annotations={"note": "y"})
    before = copy.deepcopy(given)
    done = finish(given)
    assert given == before
    assert done["metadata"]["labels"] == {"app": "x", MANAGED_BY: FIELD_MANAGER}
    fingerprint = done["metadata"]["annotations"].pop(FINGERPRINT)
    assert len(fingerprint) == 16
    assert fingerprint == digest(done)
    assert done["metadata"]["annotations"] == {"note": "y"}


@pytest.mark.parametrize("metadata", [{}, {"labels": None, "annotations": None}, {"annotations": {FINGERPRINT: "old"}}])
def test_the_fingerprint_depends_on_nothing_that_says_nothing(metadata: dict[str, Any]) -> None:
    assert finish(config_map(**metadata)) == finish(config_map())
    assert finish(finish(config_map(**metadata))) == finish(config_map())


def test_the_order_of_fields_does_not_matter_and_their_values_do() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert len({digest(v) for v in ({"a": 1}, {"a": "1"}, {"a": [1]}, {"a": None}, {"a": True}, {})}) == 6


def test_another_manager_is_left_in_place() -> None:
    assert finish(config_map(labels={MANAGED_BY: "Helm"}))["metadata"]["labels"] == {MANAGED_BY: "Helm"}


def test_a_secret_has_no_fingerprint() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"p": "cGFzcw=="}}
    assert finish(secret)["metadata"] == {"name": "a", "labels": {MANAGED_BY: FIELD_MANAGER}}
    foreign = {**secret, "apiVersion": "example.com/v1"}
    assert FINGERPRINT in finish(foreign)["metadata"]["annotations"]


def test_keys_tell_objects_apart() -> None:
    assert key(config_map()) == Key("v1", "ConfigMap", None, "a")
    assert key(config_map(namespace="n")) == Key("v1", "ConfigMap", "n", "a")
    assert key(config_map(namespace="")) == key(config_map())
