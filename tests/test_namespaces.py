"""Namespaces: those that are configured, those that something goes into, and those that are on their way out."""

from pathlib import Path

import pytest

from tasks import namespaces
from tasks.kube.wait import NotInTime
from tasks.namespaces import GONE
from tasks.run.desired import desired_namespaces, is_foreign, user_objects
from tasks.run.desired import namespace_objects as wanted
from tasks.settings.derived import NAMESPACES, NAMESPACES_LEFT
from tests import given
from tests.given_direct import DirectApi
from tests.given_live import FakeApi, created, eager, holding, named, obj, reached, uid_given

SETTINGS = given.settings(
    namespaces=["one", "two"],
    secrets=[{"name": "s", "namespaces": ["one", "three", "kube-system"], "values": {"k": {"env": "K"}}}],
    helm={
        "repositories": {"r": "https://charts.example.com"},
        "releases": [
            {"name": "a", "namespace": "four", "chart": "r/a"},
            {"name": "b", "namespace": "default", "chart": "r/b"},
        ],
    },
)
LIST = "/api/v1/namespaces"


def existing(name: str, *, ours: bool = True, deleting: bool = False) -> dict[str, object]:
    """As it is in the cluster."""
    (configured,) = wanted([name])
    labels = configured["metadata"]["labels"] if ours else {"team": "others"}
    found = obj("Namespace", name, labels=labels, deleting=deleting)
    found["metadata"]["annotations"] = configured["metadata"]["annotations"]
    return found


def test_all_go_in_at_once(tmp_path: Path) -> None:
    facts = given.facts(tmp_path, settings=SETTINGS)
    api = reached(facts, DirectApi())
    (step,) = namespaces.steps(facts)
    given.act(step)
    assert api.names == ["Namespace/one", "Namespace/two", "Namespace/four", "Namespace/three"]


def test_one_that_is_being_deleted_is_waited_for_and_made_again(tmp_path: Path) -> None:
    live = holding([existing("one"), existing("two", deleting=True), existing("three"), existing("four")])
    steps = named(namespaces.steps(given.facts(tmp_path, settings=SETTINGS, live=live)))
    assert list(steps) == [GONE, NAMESPACES]
    assert GONE in steps[NAMESPACES].needs
    assert steps[NAMESPACES].why == "namespace/two: it is being deleted"
    assert steps[GONE].wait
    assert steps[GONE].why.startswith("two: ")


def test_the_wait_ends_when_it_is_gone_or_has_come_back(tmp_path: Path) -> None:
    facts = given.facts(
        tmp_path, settings=SETTINGS, live=holding([existing("one", deleting=True), existing("two", deleting=True)])
    )
    api = reached(
        facts, FakeApi(existing("one", deleting=True), existing("two", deleting=True), existing("other", deleting=True))
    )
    api.changes[LIST, 3] = lambda: api.remove(existing("one"))
    api.at(LIST, 4, existing("two"))
    said: list[str] = []
    namespaces.steps(facts)[0].action(eager(said=said))
    assert said == [
        "2 of 2 still exist",
        "2 of 2 still exist",
        "1 of 2 still exist",
        "0 of 2 still exist",
    ]


def test_what_holds_it_is_told_when_time_is_over(tmp_path: Path) -> None:
    facts = given.facts(tmp_path, settings=SETTINGS, live=holding([existing("one", deleting=True)]))
    message = "Some resources are remaining: widgets.example.com has 1 resource instances"
    held = existing("one", deleting=True)
    held["status"] = {
        "conditions": [
            {"type": "NamespaceContentRemaining", "status": "True", "message": message},
            {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "All resources discovered"},
        ]
    }
    reached(facts, FakeApi(held))
    with pytest.raises(NotInTime) as caught:
        namespaces.steps(facts)[0].action(eager(deadline=0))
    assert caught.value.why == f"one: {message}"
    assert "kubectl describe namespace one" in caught.value.fix


def test_on_a_cluster_of_somebody_else_their_namespaces_get_no_label_of_ours(tmp_path: Path) -> None:
    """By that label `down` would delete them."""
    live = holding([uid_given(existing("one", ours=False)), created(existing("two"))])
    facts = given.facts(tmp_path, settings=SETTINGS, live=live, engine="existing")
    api = reached(facts, DirectApi())
    steps = named(namespaces.steps(facts))
    given.act(steps[NAMESPACES])
    assert [body["metadata"]["name"] for _, _, body in api.sent] == ["four", "three"]
    assert steps[NAMESPACES_LEFT].skip == "one: existed before, and not changed"


def test_a_namespace_that_a_login_may_not_read_is_used_as_it_is(tmp_path: Path) -> None:
    hidden = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "one"}}
    facts = given.facts(tmp_path, settings=SETTINGS, live=holding([hidden]), engine="existing")
    assert named(namespaces.steps(facts))[NAMESPACES_LEFT].skip == "one: not visible to this login, and not changed"


def test_a_label_that_anybody_may_put_on_a_namespace_does_not_make_it_ours(tmp_path: Path) -> None:
    live = holding([existing("one"), created(existing("two"), "bob.dev"), created(existing("three"))])
    facts = given.facts(tmp_path, settings=SETTINGS, live=live, engine="existing")
    found = {name: is_foreign(facts, name) for name in ("one", "two", "three", "four")}
    assert found == {"one": True, "two": True, "three": False, "four": False}


def test_where_all_are_somebody_elses_nothing_is_made(tmp_path: Path) -> None:
    live = holding([existing(name, ours=False) for name in ("one", "two", "three", "four")])
    steps = namespaces.steps(given.facts(tmp_path, settings=SETTINGS, live=live, engine="existing"))
    assert all(step.skip is not None for step in steps)


def test_in_a_cluster_of_ours_one_that_somebody_made_is_taken_over(tmp_path: Path) -> None:
    live = holding([existing("one", ours=False)])
    (step,) = namespaces.steps(given.facts(tmp_path, settings=SETTINGS, live=live))
    assert "namespace/one: changed: metadata.labels" in step.why


def test_a_namespace_that_an_own_manifest_holds_too_is_made_as_it_stands_there(tmp_path: Path) -> None:
    """Applied once: two applies with different fields would never be as wanted."""
    file = tmp_path / "ns.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {level: privileged}}\n---\n"
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n"
    )
    chosen = given.settings(namespaces=["a", "b"], helm={"releases": []}, manifests={"files": [str(file)]})
    facts = given.facts(tmp_path, settings=chosen)
    labels = {each["metadata"]["name"]: each["metadata"]["labels"].get("level") for each in desired_namespaces(facts)}
    assert labels == {"a": "privileged", "b": None}
    assert [each["metadata"]["name"] for each in user_objects(facts)] == ["other"]
