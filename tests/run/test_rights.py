"""What a login lacks in a foreign cluster is reported before anything is changed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.engine.step import Step
from tasks.facts.facts import Facts
from tasks.kube.objects import finish, key
from tasks.kube.ownership import CREATED_BY
from tasks.run.inventory import Scope, Target
from tasks.run.rights import refuse_forbidden, refuse_removal
from tasks.settings.derived import PARTS, install_name
from tests import given
from tests.given_direct import DirectApi
from tests.given_live import Object, created, holding, obj, reached, release

HELM = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "create", "update", "delete"]}
ALL = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
OFF = {"quota": {"enabled": False}, "network_policies": False}


def of(folder: Path, *there: Object, spaces: tuple[str, ...] = ("web",), **rules: list[Object]) -> tuple[Facts, Any]:
    """A login with these rules, by namespace, and a plan for a namespace, a secret and a release."""
    settings = given.settings(
        namespaces=list(spaces),
        manifests=OFF,
        helm={"repositories": {"r": "https://c"}, "releases": [{"name": "web", "namespace": "web", "chart": "r/c"}]},
    )
    secret = finish(obj("Secret", "s", "web", type="Opaque", data={"k": "bmV3"}))
    facts = given.facts(folder, settings=settings, engine="existing", live=holding(there), secrets=(secret,))
    api = reached(facts, DirectApi(*there))
    api.granted = rules
    return facts, api


def installs(facts: Facts) -> list[Step]:
    return [Step(name=install_name(each), task="helm") for each in facts.releases]


@pytest.mark.parametrize(
    ("there", "rules", "lacking"),
    [
        ([obj("Namespace", "web")], [HELM], ""),
        ([obj("Namespace", "web")], [ALL], ""),
        ([], [ALL], "create namespaces"),
        ([obj("Namespace", "web")], [{**HELM, "verbs": ["create", "get"]}], "list secrets -n web"),
        ([obj("Namespace", "web")], [{**HELM, "resourceNames": ["s"]}], "create secrets -n web"),
        ([obj("Namespace", "web")], [], "create secrets -n web"),
    ],
    ids=["enough", "all", "no namespace", "some verbs", "one name", "nothing"],
)
def test_the_missing_permissions_are_named_as_kubectl_takes_them(
    tmp_path: Path, there: list[Object], rules: list[Object], lacking: str
) -> None:
    facts, api = of(tmp_path, *there, web=rules)
    if lacking:
        with pytest.raises(BadInput, match="this login may not do what is needed") as caught:
            refuse_forbidden(facts, PARTS, installs(facts))
        assert caught.value.why.startswith(f"it lacks: {lacking}")
    else:
        refuse_forbidden(facts, PARTS, installs(facts))
    assert api.sent == []


def test_an_object_of_this_project_that_has_changed_must_be_updated(tmp_path: Path) -> None:
    mine = created(finish(obj("Secret", "s", "web", type="Opaque", data={"k": "b2xk"})))
    facts, _api = of(tmp_path, obj("Namespace", "web"), mine, web=[{**HELM, "verbs": ["create"]}])
    with pytest.raises(BadInput) as caught:
        refuse_forbidden(facts, ("secrets",), [Step(name="secrets: apply", task="secrets")])
    assert caught.value.why == "it lacks: patch secrets -n web, update secrets -n web"


def test_a_login_for_everything_is_asked_once_and_where_nothing_changes_nothing_is_asked(tmp_path: Path) -> None:
    facts, api = of(tmp_path)
    api.granted = None
    refuse_forbidden(facts, PARTS, installs(facts))
    assert len(api.reviews) == 1
    refuse_forbidden(facts, ("health",), installs(facts)[:0])
    refuse_forbidden(facts, PARTS, [replace(each, skip="as it is") for each in installs(facts)])
    assert len(api.reviews) == 1


def test_what_an_authoriser_does_not_report_counts_as_granted(tmp_path: Path) -> None:
    facts, api = of(tmp_path, obj("Namespace", "web"))
    api.reviewed = lambda spec: {"incomplete": True} if "namespace" in spec else {"allowed": True}
    refuse_forbidden(facts, PARTS, installs(facts))
    api.granted = {}
    facts, api = of(tmp_path, obj("Namespace", "web"))
    api.send = lambda *_: (403, "no")
    refuse_forbidden(facts, PARTS, installs(facts))


def test_down_begins_nothing_that_it_may_not_finish(tmp_path: Path) -> None:
    """A chart's objects are known here, and what Helm keeps needs no permission."""
    keep = {"annotations": {"helm.sh/resource-policy": "keep"}}
    parts = [obj("Deployment", "web", "web"), obj("ConfigMap", "kept", "web", metadata=keep), obj("Node", "wide")]
    own = release(objects=parts, labels={CREATED_BY: "me.dev"})
    mine = created(finish(obj("NetworkPolicy", "p", "web", spec={})))
    scope = Scope(releases=(own,), objects=(Target(key(mine), "uid"),))
    facts, api = of(tmp_path, web=[HELM])
    with pytest.raises(BadInput) as caught:
        refuse_removal(facts, scope)
    lacking = ("networkpolicies.networking.k8s.io -n web", "deployments.apps -n web", "nodes")
    assert caught.value.why == f"it lacks: {', '.join(f'delete {each}' for each in lacking)}"
    api.granted = None
    refuse_removal(facts, scope)
    asked = len(api.reviews)
    refuse_removal(facts, Scope())
    assert len(api.reviews) == asked
