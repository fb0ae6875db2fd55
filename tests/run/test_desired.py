"""What is asked for when a cluster is looked at: all that the parts would put in, and nothing more."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from tasks.kube.objects import finish
from tasks.run.desired import desired_keys
from tests import given
from tests.given_live import obj

SECRET = finish(obj("Secret", "s", "one", type="Opaque", data={}))


@pytest.mark.parametrize(
    ("parts", "kinds"),
    [
        ((), {"Namespace"}),
        (("helm", "health"), {"Namespace"}),
        (("secrets",), {"Namespace", "Secret"}),
        (
            ("manifests",),
            {"Namespace", "ConfigMap", "StorageClass", "LimitRange", "ResourceQuota", "NetworkPolicy", "Pod"},
        ),
    ],
)
def test_each_part_asks_for_what_it_puts_in(tmp_path: Path, parts: Collection[str], kinds: set[str]) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("{apiVersion: v1, kind: Pod, metadata: {name: p}}")
    settings = given.settings(namespaces=["one"], manifests={"files": [str(own)]})
    keys = desired_keys(given.facts(tmp_path, settings=settings, secrets=(SECRET,)), parts)
    assert {key.kind for key in keys} == kinds
    assert len(keys) == len(set(keys))


def test_one_object_is_asked_for_once(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("{apiVersion: v1, kind: Namespace, metadata: {name: one}}")
    settings = given.settings(namespaces=["one"], manifests={"files": [str(own)]})
    keys = desired_keys(given.facts(tmp_path, settings=settings), ("manifests",))
    assert [key.name for key in keys if key.kind == "Namespace"].count("one") == 1
