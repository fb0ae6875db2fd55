"""Kinds that a rehearsed cluster serves: Kubernetes' own, those of definitions, and what k3s and releases bring."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.rehearsal.apiserver import served
from tasks.rehearsal.backend import _brought
from tasks.rehearsal.objects import Objects
from tests import given

BROUGHT = {
    "k3s": [["traefik.io/v1alpha1", "IngressRoute", True]],
    "releases": [["cert-manager.io/v1", "ClusterIssuer", False]],
}


def release(status: str) -> dict[str, Any]:
    meta = {"name": "sh.helm.release.v1.x.v1", "namespace": "a", "labels": {"owner": "helm", "status": status}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta}


@pytest.mark.parametrize(
    ("status", "names"), [("", {"IngressRoute"}), ("pending-install", {"IngressRoute"}), ("deployed", None)]
)
def test_what_releases_bring_is_served_once_one_is_there(status: str, names: set[str] | None, tmp_path: Path) -> None:
    with Objects(tmp_path / "x.db").change() as view:
        if status:
            view.put(release(status), 0.0)
        there = {kind for _version, kind, *_ in served(view, 0.0, BROUGHT)}
    assert there & {"IngressRoute", "ClusterIssuer"} == (names or {"IngressRoute", "ClusterIssuer"})


def test_kinds_of_the_users_manifests_are_brought_by_k3s_or_by_releases(tmp_path: Path) -> None:
    objects = [
        {"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": {"name": "r", "namespace": "a"}},
        {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "c"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "a"}},
        {"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "old", "namespace": "a"}},
    ]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump_all(objects))
    settings = given.settings(manifests={"files": [str(tmp_path / "own.yaml")]})
    assert _brought(given.facts(tmp_path, settings=settings)) == BROUGHT
