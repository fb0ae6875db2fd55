"""Releases read from the Secrets in which Helm keeps them."""

import base64
import gzip
import json
from typing import Any

import pytest

from tasks.kube.objects import Key
from tasks.kube.releases import awaited_refs, refs, releases
from tasks.settings.derived import FINGERPRINT

MANIFEST = """
---
# Source: web/templates/all.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: elsewhere}
---
# an empty document
---
apiVersion: batch/v1
kind: Job
metadata: {name: gone-by-itself}
spec: {ttlSecondsAfterFinished: 60}
---
apiVersion: v1
kind: List
items:
- {apiVersion: batch/v1, kind: Job, metadata: {name: kept}}
- {apiVersion: v1, kind: ConfigMap, metadata: {generateName: x-}}
"""


def packed(document: object) -> str:
    inner = base64.b64encode(gzip.compress(json.dumps(document).encode(), mtime=0))
    return base64.b64encode(inner).decode()


def secret(name: str, version: int, status: str, release: str, **labels: str) -> dict[str, Any]:
    own = {"name": name, "owner": "helm", "status": status, "version": str(version), "modifiedAt": "1"}
    return {
        "metadata": {"namespace": "n", "name": f"sh.helm.release.v1.{name}.v{version}", "labels": {**own, **labels}},
        "data": {"release": release},
    }


class Api:
    """Answers one list."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items, self.commands = items, list[str]()

    def get(self, path: str) -> Any:
        self.commands.append(path)
        return {"items": list(self.items)}

    def raw(self, path: str) -> tuple[int, str]:
        raise AssertionError(path)


def test_the_newest_revision_counts_by_number_not_by_text() -> None:
    old, new = packed({"manifest": ""}), packed({"manifest": MANIFEST})
    api = Api(
        secret("web", 9, "superseded", old),
        secret("web", 10, "deployed", new, fingerprint="f"),
        secret("db", 1, "pending-install", packed({"manifest": ""})),
    )
    found = releases(api)
    assert set(found) == {("n", "web"), ("n", "db")}
    web = found["n", "web"]
    assert (web.revision, web.status, web.labels) == (10, "deployed", {"fingerprint": "f"})
    assert web.objects == refs(MANIFEST, "n")
    assert web.workloads == (Key("apps/v1", "Deployment", "n", "web"), Key("batch/v1", "Job", "n", "kept"))
    assert found["n", "db"].status == "pending-install"
    assert len(api.commands) == 1
    assert "owner%3Dhelm" in api.commands[0]


@pytest.mark.parametrize(
    ("marks", "by_hand"),
    [
        (["f.0-1", "f.0-1"], True),
        (["f.0-1", "f.0-1", "f.2-1", "f.0-1"], True),
        (["f.0-1", "f.1-1"], False),
        (["f", "f"], False),
        (["g.0-1", "f.1-2"], False),
    ],
)
def test_a_revision_with_the_label_of_an_earlier_one_was_made_by_others(marks: list[str], by_hand: bool) -> None:
    """Helm copies labels (`mergeCustomLabels`); without an attempt in it, an earlier version of this project set it."""
    api = Api(
        *(secret("web", number, "deployed", packed({}), **{FINGERPRINT: mark}) for number, mark in enumerate(marks, 1))
    )
    found = releases(api)["n", "web"]
    assert (found.by_hand, found.fingerprint) == (by_hand, "f")


def test_objects_of_a_manifest() -> None:
    assert refs(MANIFEST, "n") == (
        Key("apps/v1", "Deployment", "n", "web"),
        Key("v1", "ConfigMap", "elsewhere", "web"),
        Key("batch/v1", "Job", "n", "kept"),
    )
    assert awaited_refs(MANIFEST, "n") == (
        Key("apps/v1", "Deployment", "n", "web"),
        Key("batch/v1", "Job", "n", "kept"),
    )


CRD = """\
# Source: o/templates/crd.yaml
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rules.example.com}
spec:
  since: 2024-02-31
  operators:
    enum:
    - =
    - "!="
"""


def test_a_manifest_holds_what_kubernetes_reads() -> None:
    assert refs(CRD, "n") == (Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "n", "rules.example.com"),)


def test_what_cannot_be_read_is_named_and_left_out() -> None:
    manifest = f"---\n{CRD}---\na: b: c\n---\nmetadata: x\n---\nspec: 1\nitems: 1\nkind: AList\n---\n- 1\n"
    found = releases(Api(secret("o", 1, "deployed", packed({"manifest": manifest}))))["n", "o"]
    assert [key.name for key in found.objects] == ["rules.example.com"]
    assert "document 2, line 13: mapping values are not allowed" in found.unreadable
    assert releases(Api(secret("o", 1, "deployed", packed({"manifest": CRD}))))["n", "o"].unreadable == ""
    assert "no release" in releases(Api(secret("o", 1, "deployed", "garbage")))["n", "o"].unreadable


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "no base64 !",
        base64.b64encode(b"no base64 !").decode(),
        packed([1]),
        packed({}),
        base64.b64encode(base64.b64encode(b"\x1f\x8bbroken")).decode(),
    ],
)
def test_a_payload_that_cannot_be_read_holds_nothing(payload: str) -> None:
    found = releases(Api(secret("web", 1, "deployed", payload)))["n", "web"]
    assert found.objects == ()
    assert found.status == "deployed"


def test_a_record_that_is_not_as_helm_writes_it_holds_less() -> None:
    odd = {"manifest": [1], "hooks": {"a": 1}, "chart": "x", "info": 1}
    found = releases(Api(secret("web", 1, "deployed", packed(odd))))["n", "web"]
    assert (found.objects, found.hook_objects, found.definitions, found.begun) == ((), (), (), "")
    files = [{"name": "crds/a.yaml", "data": "no base64"}, 1, {"name": "crds/b.yaml", "data": None}]
    found = releases(Api(secret("web", 1, "deployed", packed({"chart": {"files": files}, "hooks": [1]}))))["n", "web"]
    assert (found.hook_objects, found.definitions) == ((), ())


def test_how_a_release_is_applied_is_known_of_its_last_revisions() -> None:
    server, client, three = (
        {"manifest": "", **more} for more in ({"apply_method": "ssa"}, {"apply_method": "csa"}, {})
    )
    api = Api(
        secret("a", 1, "deployed", packed(server)),
        secret("b", 1, "deployed", packed(three)),
        secret("c", 2, "pending-upgrade", packed(server)),
        secret("c", 1, "deployed", packed(client)),
        secret("d", 11, "pending-upgrade", packed(client)),
        secret("d", 10, "deployed", packed(server)),
    )
    found = {name: (each.server_side, each.server_side_before) for (_, name), each in releases(api).items()}
    assert found == {"a": (True, False), "b": (False, False), "c": (True, False), "d": (False, True)}
