"""Where objects live in the API, by how many questions they are asked for, and what is not there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.kube.client import ApiError
from tasks.kube.objects import Key, Resources, live, path, root
from tests.fake_kubectl import FakeApi

CORE = {
    "resources": [
        {"name": "namespaces", "kind": "Namespace", "namespaced": False},
        {"name": "namespaces/status", "kind": "Namespace", "namespaced": False},
        {"name": "configmaps", "kind": "ConfigMap", "namespaced": True},
        {"name": "secrets", "kind": "Secret", "namespaced": True},
        {"name": "serviceaccounts", "kind": "ServiceAccount", "namespaced": True},
        {"name": "serviceaccounts/token", "kind": "TokenRequest", "namespaced": True},
    ]
}
APPS = {"resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True}]}
SECRETS = "?fieldSelector=type%21%3Dhelm.sh%2Frelease.v1"


def api(**answers: Any) -> FakeApi:
    return FakeApi({"/api/v1": CORE, "/apis/apps/v1": APPS, **answers})


def key(kind: str, name: str, namespace: str | None = "a", version: str = "v1") -> Key:
    return Key(version, kind, namespace, name)


def item(name: str, namespace: str | None = "a", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **more}


def asked(fake: FakeApi) -> list[str]:
    return [each for each in fake.asked if each not in ("/api/v1", "/apis/apps/v1")]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (root("v1"), "/api/v1"),
        (root("apps/v1"), "/apis/apps/v1"),
        (path("v1", "nodes"), "/api/v1/nodes"),
        (path("v1", "nodes", name="n"), "/api/v1/nodes/n"),
        (path("apps/v1", "deployments", "a"), "/apis/apps/v1/namespaces/a/deployments"),
        (path("apps/v1", "deployments", "a", "d"), "/apis/apps/v1/namespaces/a/deployments/d"),
    ],
)
def test_paths(found: str, expected: str) -> None:
    assert found == expected


@pytest.mark.parametrize(
    ("version", "kind", "found"),
    [
        ("v1", "ConfigMap", ("configmaps", True)),
        ("v1", "Namespace", ("namespaces", False)),
        ("v1", "TokenRequest", None),
        ("apps/v1", "Deployment", ("deployments", True)),
        ("v1", "Deployment", None),
        ("cert-manager.io/v1", "Certificate", None),
    ],
)
def test_kinds_are_found_or_not(version: str, kind: str, found: tuple[str, bool] | None) -> None:
    assert Resources(api()).find(version, kind) == found


def test_a_group_is_asked_for_once() -> None:
    fake = api()
    resources = Resources(fake)
    for kind in ("ConfigMap", "Secret", "ConfigMap"):
        resources.find("v1", kind)
    assert fake.asked == ["/api/v1"]


@pytest.mark.parametrize("before", [(404, "not found"), (503, "not yet"), {"resources": []}, {"resources": None}])
def test_a_kind_that_comes_later_is_found_then(before: Any) -> None:
    fake = api(**{"/apis/x/v1": before})
    resources = Resources(fake)
    assert resources.find("x/v1", "X") is None
    fake.answers["/apis/x/v1"] = {"resources": [{"name": "xs", "kind": "X", "namespaced": True}]}
    assert resources.find("x/v1", "X") == ("xs", True)


@pytest.mark.parametrize("error", [ApiError(0, "no answer"), (401, "no"), (500, "no")])
def test_an_api_that_does_not_answer_is_not_one_without_kinds(error: Any) -> None:
    with pytest.raises(ApiError):
        Resources(FakeApi({"/api/v1": error})).find("v1", "ConfigMap")


def test_a_single_object_is_asked_for_by_name() -> None:
    there = item("x", kind="ConfigMap", apiVersion="v1")
    fake = api(**{"/api/v1/namespaces/a/configmaps/x": there})
    wanted = [key("ConfigMap", "x"), key("Deployment", "d", "b", "apps/v1")]
    assert live(fake, Resources(fake), wanted) == {wanted[0]: there, wanted[1]: None}
    assert asked(fake) == ["/api/v1/namespaces/a/configmaps/x", "/apis/apps/v1/namespaces/b/deployments/d"]


def test_several_of_one_namespace_are_asked_for_by_its_list() -> None:
    fake = api(**{"/api/v1/namespaces/a/configmaps": {"items": [item("x"), item("y"), item("foreign")]}})
    wanted = [key("ConfigMap", name) for name in ("x", "y", "z")]
    found = live(fake, Resources(fake), wanted)
    assert [found[each] is not None for each in wanted] == [True, True, False]
    assert asked(fake) == ["/api/v1/namespaces/a/configmaps"]


def test_several_of_many_namespaces_are_asked_for_by_one_list() -> None:
    items = [item("x", "a", data={"n": 1}), item("x", "b", data={"n": 2}), item("x", "other")]
    fake = api(**{"/api/v1/configmaps": {"items": items}})
    wanted = [key("ConfigMap", "x", namespace) for namespace in "abc"]
    found = live(fake, Resources(fake), wanted)
    assert [(found[each] or {}).get("data") for each in wanted] == [{"n": 1}, {"n": 2}, None]
    assert asked(fake) == ["/api/v1/configmaps"]


def test_an_object_of_a_list_says_its_kind_like_a_single_one() -> None:
    """The API leaves it out there, and who judges readiness goes by it."""
    fake = api(**{"/apis/apps/v1/namespaces/a/deployments": {"items": [item("x"), item("y")]}})
    wanted = [key("Deployment", name, version="apps/v1") for name in "xy"]
    for found in live(fake, Resources(fake), wanted).values():
        assert found is not None
        assert (found["apiVersion"], found["kind"]) == ("apps/v1", "Deployment")


def test_a_list_of_secrets_leaves_out_helms() -> None:
    fake = api(**{f"/api/v1/secrets{SECRETS}": {"items": [item("x", "a"), item("x", "b")]}})
    found = live(fake, Resources(fake), [key("Secret", "x", namespace) for namespace in "ab"])
    assert all(found.values())
    assert asked(fake) == [f"/api/v1/secrets{SECRETS}"]


def test_who_may_not_list_may_still_read() -> None:
    fake = api(**{"/api/v1/configmaps": (403, "no"), "/api/v1/namespaces/a/configmaps/x": item("x")})
    wanted = [key("ConfigMap", "x", namespace) for namespace in "ab"]
    found = live(fake, Resources(fake), wanted)
    assert [found[each] is not None for each in wanted] == [True, False]


@pytest.mark.parametrize("answer", [(403, "no"), (500, "no"), ApiError(0, "no answer")])
def test_an_object_that_cannot_be_read_is_not_one_that_is_not_there(answer: Any) -> None:
    fake = api(**{"/api/v1/namespaces/a/configmaps/x": answer})
    with pytest.raises(ApiError):
        live(fake, Resources(fake), [key("ConfigMap", "x")])
    with pytest.raises(ApiError):
        live(
            api(**{"/api/v1/configmaps": answer, "/api/v1/namespaces/a/configmaps/x": answer}),
            Resources(fake),
            [key("ConfigMap", "x"), key("ConfigMap", "x", "b")],
        )


@pytest.mark.parametrize("given", [None, "", "a"])
def test_a_cluster_wide_object_has_no_namespace_whatever_was_said(given: str | None) -> None:
    fake = api(**{"/api/v1/namespaces/x": item("x", None)})
    wanted = key("Namespace", "x", given)
    assert live(fake, Resources(fake), [wanted])[wanted] is not None
    assert asked(fake) == ["/api/v1/namespaces/x"]


def test_cluster_wide_objects_are_asked_for_by_one_list() -> None:
    fake = api(**{"/api/v1/namespaces": {"items": [item("x", None), item("y", None)]}})
    wanted = [key("Namespace", name, None) for name in "xyz"]
    found = live(fake, Resources(fake), wanted)
    assert [found[each] is not None for each in wanted] == [True, True, False]


@pytest.mark.parametrize("namespace", [None, ""])
def test_an_object_without_a_namespace_is_in_the_default_one(namespace: str | None) -> None:
    fake = api(**{"/api/v1/namespaces/default/configmaps/x": item("x", "default")})
    wanted = key("ConfigMap", "x", namespace)
    assert live(fake, Resources(fake), [wanted])[wanted] is not None


def test_the_same_object_by_two_keys_is_asked_for_once() -> None:
    fake = api(**{"/api/v1/namespaces/default/configmaps/x": item("x", "default")})
    wanted = [key("ConfigMap", "x", None), key("ConfigMap", "x", "default")]
    assert all(live(fake, Resources(fake), wanted).values())
    assert len(asked(fake)) == 1


@pytest.mark.parametrize("answer", [{"items": None}, {"items": []}])
def test_a_list_may_be_empty(answer: Any) -> None:
    fake = api(**{"/api/v1/configmaps": answer})
    found = live(fake, Resources(fake), [key("ConfigMap", "x", "a"), key("ConfigMap", "x", "b")])
    assert list(found.values()) == [None, None]


def test_a_kind_that_is_not_known_is_not_there() -> None:
    fake = api()
    wanted = [key("Certificate", "x", version="cert-manager.io/v1")]
    assert live(fake, Resources(fake), wanted) == {wanted[0]: None}
    assert fake.asked == ["/apis/cert-manager.io/v1"]


def test_nothing_is_asked_for_nothing() -> None:
    fake = api()
    assert live(fake, Resources(fake), []) == {}
    assert fake.asked == []


def test_what_is_asked_has_no_limit_and_so_no_pages() -> None:
    """A list without `limit` comes whole (Kubernetes API concepts: chunks are given only to who asks for them)."""
    fake = api(**{"/api/v1/configmaps": {"items": [item(f"x{n}", f"n{n}") for n in range(1200)]}})
    wanted = [key("ConfigMap", f"x{number}", f"n{number}") for number in range(1200)]
    assert all(live(fake, Resources(fake), wanted).values())
    assert len(asked(fake)) == 1
    assert "limit" not in json.dumps(fake.asked)
