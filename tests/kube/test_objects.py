"""Marks and keys of objects, texts filled in, and reading those that are there."""

import copy
from typing import Any

import pytest

from tasks.kube.client import ApiError
from tasks.kube.objects import FIELD_MANAGER, MANAGED_BY, Key, Resources, digest, fill, finish, key, live, repeat
from tasks.settings.derived import FINGERPRINT
from tests.given_live import FakeApi

VALUES = {"IP": "127.0.0.1", "DOMAIN": "example.test"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("${IP}", "127.0.0.1"),
        ("https://a.${DOMAIN}:${IP}", "https://a.example.test:127.0.0.1"),
        ("$IP ${OTHER} $(IP) ${ip} ${IP ${} $", "$IP ${OTHER} $(IP) ${ip} ${IP ${} $"),
        ({"${IP}": ["${IP}", 1, None, True, 1.5, {"a": "${DOMAIN}"}]}, None),
        ("", ""),
        ("ip=$${IP} $$${IP} $${OTHER} $$ $${IP}${IP}", "ip=${IP} $${IP} $${OTHER} $$ ${IP}127.0.0.1"),
    ],
)
def test_only_known_names_in_texts(given: Any, expected: Any) -> None:
    if expected is None:
        expected = {"${IP}": ["127.0.0.1", 1, None, True, 1.5, {"a": "example.test"}]}
    assert fill(given, VALUES) == expected


def test_what_was_filled_in_is_not_looked_at_again_and_cannot_become_structure() -> None:
    evil = 'x"\n  injected: true\n---\n${IP}'
    assert fill({"a": "${DOMAIN}"}, {"IP": "1", "DOMAIN": evil}) == {"a": evil}
    assert fill("${A}", {"A": r"\1\g<0>"}) == r"\1\g<0>"


def test_the_given_value_stays_as_it_is() -> None:
    given = {"a": ["${IP}"]}
    assert fill(given, VALUES) == {"a": ["127.0.0.1"]}
    assert given == {"a": ["${IP}"]}
    assert fill(given, {}) == given


def test_an_item_with_the_placeholder_comes_once_for_each_text() -> None:
    given = {"from": [{"a": "x"}, {"ipBlock": {"cidr": "${B}"}}, "${B}!", ["${B}"]], "alone": "${B}"}
    assert repeat(given, "B", ["1", "2"]) == {
        "from": [{"a": "x"}, {"ipBlock": {"cidr": "1"}}, {"ipBlock": {"cidr": "2"}}, "1!", "2!", ["1", "2"]],
        "alone": "${B}",
    }
    assert repeat(["${B}", "x"], "B", []) == ["x"]
    assert repeat(["$${B}"], "B", ["1", "2"]) == ["$${B}"]
    assert repeat(["${B}"], "B", ["", "${B}"]) == ["", "${B}"]


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
    return FakeApi(answers={"/api/v1": CORE, "/apis/apps/v1": APPS, **answers})


def known(kind: str, name: str, namespace: str | None = "a", version: str = "v1") -> Key:
    return Key(version, kind, namespace, name)


def item(name: str, namespace: str | None = "a", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, **more}


def object_requests(fake: FakeApi) -> list[str]:
    return [each for each in fake.requests if each not in ("/api/v1", "/apis/apps/v1")]


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


@pytest.mark.parametrize("before", [(404, "not found"), (503, "not yet"), {"resources": []}, {"resources": None}])
def test_a_kind_that_comes_later_is_found_then(before: Any) -> None:
    fake = api(**{"/apis/x.dev/v1": before})
    resources = Resources(fake)
    assert resources.find("x.dev/v1", "X") is None
    fake.answers["/apis/x.dev/v1"] = {"resources": [{"name": "xs", "kind": "X", "namespaced": True}]}
    assert resources.find("x.dev/v1", "X") == ("xs", True)


@pytest.mark.parametrize("error", [ApiError(0, "no answer"), (401, "no"), (500, "no"), (503, "apiserver not ready")])
def test_an_api_that_does_not_answer_is_not_one_without_kinds(error: Any) -> None:
    with pytest.raises(ApiError):
        Resources(FakeApi(answers={"/api/v1": error})).find("v1", "ConfigMap")


def test_several_of_many_namespaces_are_asked_for_by_one_list() -> None:
    items = [item("x", "a", data={"n": 1}), item("x", "b", data={"n": 2}), item("x", "other")]
    fake = api(**{"/api/v1/configmaps": {"items": items}})
    expected = [known("ConfigMap", "x", namespace) for namespace in "abc"]
    found = live(fake, Resources(fake), expected)
    assert [(found[each] or {}).get("data") for each in expected] == [{"n": 1}, {"n": 2}, None]
    assert object_requests(fake) == ["/api/v1/configmaps"]


def test_an_object_of_a_list_says_its_kind_like_a_single_one() -> None:
    """The API leaves it out there, and who judges readiness goes by it."""
    fake = api(**{"/apis/apps/v1/namespaces/a/deployments": {"items": [item("x"), item("y")]}})
    expected = [known("Deployment", name, version="apps/v1") for name in "xy"]
    for found in live(fake, Resources(fake), expected).values():
        assert found is not None
        assert (found["apiVersion"], found["kind"]) == ("apps/v1", "Deployment")


def test_a_list_of_secrets_leaves_out_helms() -> None:
    fake = api(**{f"/api/v1/secrets{SECRETS}": {"items": [item("x", "a"), item("x", "b")]}})
    found = live(fake, Resources(fake), [known("Secret", "x", namespace) for namespace in "ab"])
    assert all(found.values())
    assert object_requests(fake) == [f"/api/v1/secrets{SECRETS}"]


def test_who_may_not_list_may_still_read() -> None:
    fake = api(**{"/api/v1/configmaps": (403, "no"), "/api/v1/namespaces/a/configmaps/x": item("x")})
    expected = [known("ConfigMap", "x", namespace) for namespace in "ab"]
    found = live(fake, Resources(fake), expected)
    assert [found[each] is not None for each in expected] == [True, False]


@pytest.mark.parametrize("answer", [(403, "no"), (500, "no"), ApiError(0, "no answer")])
def test_an_object_that_cannot_be_read_is_not_one_that_is_not_there(answer: Any) -> None:
    fake = api(**{"/api/v1/namespaces/a/configmaps/x": answer})
    with pytest.raises(ApiError):
        live(fake, Resources(fake), [known("ConfigMap", "x")])
    with pytest.raises(ApiError):
        live(
            api(**{"/api/v1/configmaps": answer, "/api/v1/namespaces/a/configmaps/x": answer}),
            Resources(fake),
            [known("ConfigMap", "x"), known("ConfigMap", "x", "b")],
        )


@pytest.mark.parametrize("given", [None, "", "a"])
def test_a_cluster_wide_object_has_no_namespace_whatever_was_said(given: str | None) -> None:
    fake = api(**{"/api/v1/namespaces/x": item("x", None)})
    expected = known("Namespace", "x", given)
    assert live(fake, Resources(fake), [expected])[expected] is not None
    assert object_requests(fake) == ["/api/v1/namespaces/x"]


def test_cluster_wide_objects_are_asked_for_by_one_list() -> None:
    fake = api(**{"/api/v1/namespaces": {"items": [item("x", None), item("y", None)]}})
    expected = [known("Namespace", name, None) for name in "xyz"]
    found = live(fake, Resources(fake), expected)
    assert [found[each] is not None for each in expected] == [True, True, False]


@pytest.mark.parametrize("namespace", [None, ""])
def test_an_object_without_a_namespace_is_in_the_default_one(namespace: str | None) -> None:
    fake = api(**{"/api/v1/namespaces/default/configmaps/x": item("x", "default")})
    expected = known("ConfigMap", "x", namespace)
    assert live(fake, Resources(fake), [expected])[expected] is not None


def test_the_same_object_by_two_keys_is_asked_for_once() -> None:
    fake = api(**{"/api/v1/namespaces/default/configmaps/x": item("x", "default")})
    expected = [known("ConfigMap", "x", None), known("ConfigMap", "x", "default")]
    assert all(live(fake, Resources(fake), expected).values())
    assert len(object_requests(fake)) == 1


def test_a_kind_that_is_not_known_is_not_there() -> None:
    fake = api()
    expected = [known("Certificate", "x", version="cert-manager.io/v1")]
    assert live(fake, Resources(fake), expected) == {expected[0]: None}
    assert fake.requests == ["/apis/cert-manager.io/v1"]
