"""One text for kubectl, in an order in which each object finds what it needs."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import yaml

from tasks.kube.apply import ordered, split, stream


def thing(kind: str, name: str = "a", api_version: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **more}


CRD = thing("CustomResourceDefinition", api_version="apiextensions.k8s.io/v1")


def test_what_others_need_comes_first_and_webhooks_last() -> None:
    kinds = [
        "Namespace",
        "CustomResourceDefinition",
        "ResourceQuota",
        "ServiceAccount",
        "ClusterRoleBinding",
        "Secret",
        "ConfigMap",
        "Service",
        "Deployment",
        "Certificate",
        "ValidatingWebhookConfiguration",
    ]
    shuffled = [thing(kind) for kind in kinds]
    random.Random(1).shuffle(shuffled)
    assert [each["kind"] for each in ordered(shuffled)] == kinds


def test_those_of_one_kind_stay_in_the_order_given() -> None:
    names = ["c", "a", "b"]
    assert [each["metadata"]["name"] for each in ordered([thing("Widget", name) for name in names])] == names


def test_crds_are_split_off() -> None:
    own = thing("CustomResourceDefinition", "not-a-crd", "example.com/v1")
    crds, rest = split([thing("Pod"), CRD, own, thing("Namespace")])
    assert crds == [CRD]
    assert [each["kind"] for each in rest] == ["Namespace", "CustomResourceDefinition", "Pod"]
    assert split([]) == ([], [])


ODD = [
    "a: b",
    "---\nkind: Secret",
    'say "x" \\ \t\r\n end',
    "\x00\x1f\x7f\x85\x9f",
    "\u2028\u2029\ufeff",
    "😀 ä 漢",
    "${IP} $(x) {{ y }}",
    "- yes",
    "null",
    "012",
    " ",
]


@pytest.mark.parametrize("text", ODD)
def test_yaml_and_json_readers_see_the_same_values(text: str) -> None:
    given = [thing("ConfigMap", str(n), data={text: text, "n": 1, "t": True, "z": None}) for n in range(3)]
    written = stream(given)
    assert list(yaml.safe_load_all(written)) == given
    assert list(yaml.load_all(written, Loader=yaml.CSafeLoader)) == given
    lines = written.split("\n")
    assert lines[0::2] == ["---", "---", "---", ""]
    assert [json.loads(line) for line in lines[1::2]] == given


def test_nothing_is_an_empty_text() -> None:
    assert stream([]) == ""


def test_what_json_cannot_hold_is_a_bug_and_not_sent() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        stream([thing("ConfigMap", data={"a": float("nan")})])
