"""Base resources, the quotas that pods need, and the user's own manifests: their CRDs first."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import manifests
from tasks.engine.graph import fitted
from tasks.engine.step import Report
from tasks.facts.facts import Facts
from tasks.k3d.ports import choosers
from tasks.kube.client import ApiError
from tasks.kube.wait import NotInTime
from tasks.manifests import BASE, BASE_OFF, counted_step
from tasks.run.desired import base_objects, desired_keys, user_objects
from tasks.settings.derived import (
    API_READY,
    BASE_LEFT_OUT,
    NAMESPACES,
    OWN_CRDS,
    OWN_READY,
    QUOTAS,
    SYSTEM_READY,
    manifests_name,
)
from tests import given
from tests.given import launch
from tests.given_direct import DirectApi, refusal, watching
from tests.given_live import FakeApi, Object, acted, created, eager, holding, named, node, obj, reached
from tests.programs import FakePrograms, until

OWN = manifests_name(())
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {"group": "example.com"},
}
WIDGET = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"at": "${DOMAIN}"}}
WIDGETS = {"/apis/example.com/v1": {"resources": [{"name": "widgets", "kind": "Widget", "namespaced": False}]}}
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "one"}, "data": {"ip": "${IP}"}}
HARD = {"pods": "100", "requests.cpu": "4", "requests.memory": "8Gi"}
USED = dict.fromkeys(HARD, "0")
LIST, PODS = "/api/v1/resourcequotas", "/api/v1/pods"
BUSY = ApiError(503, "the API answered 503")


def of(folder: Path, programs: FakePrograms | None = None, *own: Object, **changes: Any) -> Facts:
    sections: dict[str, Any] = {"namespaces": ["one", "two"], **changes.pop("sections", {})}
    if own:
        file = folder / "own.yaml"
        file.write_text("".join(f"---\n{json.dumps(each)}\n" for each in own))
        sections.setdefault("manifests", {})["files"] = [str(file)]
    return given.facts(folder, programs, settings=given.settings(**sections), **changes)


def applied(programs: FakePrograms) -> list[tuple[str, str]]:
    lines = [line for each in programs.commands for line in (each.stdin or "").splitlines() if line != "---"]
    return [(each["kind"], each["metadata"]["name"]) for each in map(json.loads, lines)]


def test_base_resources_go_in_by_one_apply_after_the_namespaces(tmp_path: Path) -> None:
    facts = of(tmp_path)
    api = reached(facts, DirectApi())
    steps = named(manifests.steps(facts))
    assert set(steps[BASE].needs) == {API_READY, NAMESPACES}
    given.act(steps[BASE])
    kinds = [name.partition("/")[0] for name in api.names]
    assert {kind: kinds.count(kind) for kind in ("ResourceQuota", "LimitRange", "StorageClass", "ConfigMap")} == {
        "ResourceQuota": 2,
        "LimitRange": 2,
        "StorageClass": 1,
        "ConfigMap": 1,
    }
    assert OWN not in steps, "there are no manifests of the user's own"


def test_what_is_there_is_left_alone_and_nobody_waits_for_quotas(tmp_path: Path) -> None:
    live = holding(base_objects(of(tmp_path)))
    assert [step.skip for step in manifests.steps(of(tmp_path, live=live))] == [
        f"all {len(live.objects)} are as configured"
    ] * 2


@pytest.mark.parametrize(
    "sections",
    [{"manifests": {"quota": {"enabled": False}}}, {"namespaces": []}],
)
def test_without_quotas_none_is_waited_for(tmp_path: Path, sections: dict[str, Any]) -> None:
    assert QUOTAS not in named(manifests.steps(of(tmp_path, sections=sections)))


@pytest.mark.parametrize("foreign", [False, True])
def test_base_resources_of_this_project_are_removed_when_they_are_switched_off(tmp_path: Path, foreign: bool) -> None:
    there = base_objects(of(tmp_path))
    if foreign:
        for each in there:
            del each["metadata"]["annotations"]
    programs = FakePrograms(answers={"kubectl": ""})
    facts = of(tmp_path, programs, sections={"manifests": {"quota": {"enabled": False}}}, live=holding(there))
    assert {"ResourceQuota", "LimitRange"} <= {each.kind for each in desired_keys(facts, ("manifests",))}
    steps = named(manifests.steps(facts))
    assert (BASE_OFF in steps) is not foreign
    if not foreign:
        given.act(steps[BASE_OFF])
        assert " delete --ignore-not-found " in programs.lines[0]
        names = ("openframe-defaults", "openframe-quota")
        assert sorted(applied(programs)) == sorted(zip(("LimitRange", "ResourceQuota") * 2, names * 2, strict=True))


def test_a_template_without_a_quota_is_not_waited_for(tmp_path: Path) -> None:
    """The files are the user's to change."""
    root = tmp_path / "project"
    (root / "files").mkdir(parents=True)
    for file in (given.ROOT / "files").iterdir():
        (root / "files" / file.name).write_text(file.read_text())
    ranges = (root / "files" / "resource-quotas.yaml").read_text().split("---")[0]
    (root / "files" / "resource-quotas.yaml").write_text(ranges)
    assert [step.name for step in manifests.steps(of(tmp_path, root=root))] == [BASE]


def test_the_users_crds_come_first_then_they_are_served_then_the_rest(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"kubectl": ""})
    facts = of(tmp_path, programs, WIDGET, CRD, MAP)
    reached(facts, FakeApi())
    steps = named(manifests.steps(facts))
    assert {OWN_READY, OWN_CRDS} <= given.above(fitted(list(steps.values())), OWN)
    assert NAMESPACES in steps[OWN].needs
    assert BASE not in given.above(fitted(list(steps.values())), OWN_CRDS)
    given.act(steps[OWN_CRDS])
    given.act(steps[OWN])
    assert applied(programs) == [
        ("CustomResourceDefinition", "widgets.example.com"),
        ("ConfigMap", "m"),
        ("Widget", "w"),
    ]
    assert '"at": "localhost"' in (programs.commands[-1].stdin or "")
    assert '"ip": "127.0.0.1"' in (programs.commands[1].stdin or "")


def test_a_crd_is_waited_for_until_it_is_established(tmp_path: Path) -> None:
    facts = of(tmp_path, None, CRD, WIDGET)
    where = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com"
    api = reached(facts, FakeApi())
    api.at(where, 2, CRD)
    api.at(where, 3, {**CRD, "status": {"conditions": [{"type": "Established", "status": "True"}]}})
    named(manifests.steps(facts))[OWN_READY].action(eager())
    assert api.requests.count(where) == 3


def test_where_the_crds_are_there_nothing_is_waited_for(tmp_path: Path) -> None:
    facts = of(tmp_path, None, CRD, WIDGET)
    live = holding([*base_objects(facts), *user_objects(facts)])
    steps = manifests.steps(of(tmp_path, None, CRD, WIDGET, live=live))
    assert [step.name for step in steps] == [BASE, QUOTAS, OWN_CRDS, OWN_READY, OWN]
    assert all(step.skip is not None for step in steps)


def test_without_crds_the_users_manifests_need_only_the_namespaces(tmp_path: Path) -> None:
    steps = named(manifests.steps(of(tmp_path, None, MAP)))
    assert set(steps[OWN].needs) == {API_READY, NAMESPACES}
    assert OWN_CRDS not in steps


def test_what_releases_and_k3s_bring_may_come_while_the_users_manifests_are_applied(tmp_path: Path) -> None:
    facts = of(tmp_path, None, MAP)
    parts = ("namespaces", "manifests", "helm", "health")
    step = given.by_name(launch(facts, parts, choosers(facts)))[OWN]
    assert step.awaits == ("helm: install cert-manager", "helm: cert-manager ready", SYSTEM_READY)
    assert step.placeless
    alone = given.by_name(launch(facts, ("manifests",), choosers(facts)))[OWN]
    assert alone.awaits == (), "nothing is being installed"


@pytest.mark.parametrize("wait", [True, False])
def test_a_file_that_names_its_needs_is_applied_after_these_and_holds_up_no_other(tmp_path: Path, wait: bool) -> None:
    for name, each in {"own": MAP, "widget": WIDGET}.items():
        (tmp_path / f"{name}.yaml").write_text(json.dumps(each))
    files = [str(tmp_path / "own.yaml"), {"path": str(tmp_path / "widget.yaml"), "needs": ["cert-manager"]}]
    release = {"name": "cert-manager", "namespace": "cert-manager", "chart": "./c", "wait": wait}
    facts = of(tmp_path, None, sections={"manifests": {"files": files}, "helm": {"releases": [release]}})
    api = reached(facts, DirectApi(answers=WIDGETS))
    steps = named(manifests.steps(facts))
    later = steps[f"{OWN} after cert-manager"]
    assert later.needs == (API_READY, NAMESPACES, "helm: cert-manager ready" if wait else "helm: install cert-manager")
    given.act(later)
    given.act(steps[OWN])
    assert api.names == ["Widget/w", "ConfigMap/m"]


def test_needs_of_a_file_hold_for_its_objects_though_its_folder_is_named_too(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "widget.yaml").write_text(json.dumps(WIDGET))
    files = [str(folder), {"path": str(folder / "widget.yaml"), "needs": "cert-manager"}]
    steps = manifests.steps(of(tmp_path, None, sections={"manifests": {"files": files}}))
    assert [step.name for step in steps] == [BASE, QUOTAS, f"{OWN} after cert-manager"]


def test_on_a_cluster_of_somebody_else_base_resources_go_only_into_namespaces_that_we_created(tmp_path: Path) -> None:
    live = holding([obj("Namespace", "one"), created(obj("Namespace", "two"))])
    facts = of(tmp_path, engine="existing", live=live, sections={"namespaces": ["one", "two", "three"]})
    found = base_objects(facts)
    assert {each["metadata"].get("namespace") for each in found} == {"two", "three"}
    why = named(manifests.steps(facts))[BASE_LEFT_OUT].skip or ""
    assert "files/nodelocaldns-configmap.yaml and files/local-path-storage.yaml: only in a cluster" in why
    assert why.endswith("policies and quotas of one: not created by this project")
    assert BASE_LEFT_OUT not in named(manifests.steps(of(tmp_path, live=live)))


def test_a_node_that_joins_a_foreign_cluster_at_this_moment_is_let_in_once_it_has_its_range(tmp_path: Path) -> None:
    late = holding([], nodes_joining=("a",), node_blocks=("172.18.0.2/32",))
    facts = of(tmp_path, engine="existing", live=late, sections={"manifests": {"quota": {"enabled": False}}})
    assert manifests.NEW_NODES not in named(manifests.steps(of(tmp_path, live=late)))
    step = named(manifests.steps(facts))[manifests.NEW_NODES]
    assert step.needs == (BASE,)
    new = node("a", ready=False, ranges=False)
    api = reached(facts, DirectApi(obj("Namespace", "one"), obj("Namespace", "two"), new))
    api.at("/api/v1/nodes", 3, node("a"))
    report = acted(step)
    assert report.why == "10.42.0.0/31"
    sent = [body for method, _, body in api.sent if method == "POST"]
    assert [each["metadata"]["namespace"] for each in sent] == ["one", "two"]
    assert all("10.42.0.0/31" in json.dumps(each) for each in sent)


@pytest.mark.parametrize("engine", ["k3d", "existing"])
def test_the_policies_let_in_every_namespace_that_something_goes_to(tmp_path: Path, engine: str) -> None:
    sections = {
        "secrets": [{"name": "s", "namespaces": ["three"], "values": {"k": {"env": "K"}}}],
        "helm": {
            "repositories": {"r": "https://charts.example.com"},
            "releases": [{"name": name, "namespace": name, "chart": "r/c"} for name in ("four", "default")],
        },
    }
    found = json.dumps(base_objects(of(tmp_path, engine=engine, sections=sections)))
    for name in ("one", "two", "three", "four", "default"):
        assert f'{{"kubernetes.io/metadata.name": "{name}"}}' in found


def test_a_namespace_of_the_users_manifests_that_was_there_before_is_not_touched(tmp_path: Path) -> None:
    space = obj("Namespace", "team", labels={"env": "dev"})
    there = holding([obj("Namespace", "team", labels={"env": "dev", "more": "theirs"})])
    assert OWN not in named(manifests.steps(of(tmp_path, None, space, engine="existing", live=there)))


def quota(namespace: str, status: Object | None = None, *, name: str = "q", **spec: Any) -> Object:
    return obj("ResourceQuota", name, namespace, spec={"hard": HARD, **spec}, status=status or {})


def counted(namespace: str, hard: Object | None = None, **changes: Any) -> Object:
    """As its controller leaves it."""
    hard = hard or HARD
    return quota(namespace, {"hard": hard, "used": dict.fromkeys(hard, "1"), **changes}, hard=hard)


def pod(namespace: str) -> Object:
    return obj("Pod", "p", namespace)


@pytest.fixture
def facts(tmp_path: Path) -> Iterator[Facts]:
    result = given.facts(tmp_path)
    yield result
    result.close()
    until(lambda: not watching())


def wait(facts: Facts, *quotas: Object, deadline: float = 20.0, said: list[str] | None = None) -> Report:
    """For the quotas as they are configured: without a status."""
    expected = [{name: part for name, part in each.items() if name != "status"} for each in quotas]
    step = counted_step(facts, "counted", expected, needs=("applied",), skip=None)
    return acted(step, deadline=deadline, said=said)


def test_of_namespaces_without_pods_the_use_is_written(facts: Facts) -> None:
    api = DirectApi(quota("a"), quota("b"), pod("kube-system"))
    reached(facts, api)
    report = wait(facts, quota("a"), quota("b"))
    assert report.why == "2 of 2 are for namespaces without pods"
    assert api.patched == [
        (
            f"/api/v1/namespaces/{namespace}/resourcequotas/q/status?fieldManager=openframe&force=true",
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "q", "namespace": namespace},
                "status": {"hard": HARD, "used": USED},
            },
        )
        for namespace in ("a", "b")
    ]


def test_one_without_a_namespace_is_of_the_default_one(facts: Facts) -> None:
    there = quota("default")
    expected = {**there, "metadata": {"name": "q"}}
    api = reached(facts, DirectApi(there))
    assert wait(facts, expected).why == "1 of 1 are for namespaces without pods"
    assert isinstance(api, DirectApi)
    assert api.patched[0][0].startswith("/api/v1/namespaces/default/resourcequotas/q/status?")


def counts(api: DirectApi, *items: Object) -> None:
    """The controller counts when somebody watches."""
    api.changes[PODS, 1] = lambda: api.put(*items)


@pytest.mark.parametrize(
    ("spec", "ours"),
    [
        ({}, True),
        ({"hard": {"limits.cpu": "1", "limits.memory": "1Gi", "requests.ephemeral-storage": "1Gi"}}, True),
        ({"hard": {"cpu": "1", "memory": "1Gi", "requests.nvidia.com/gpu": 1}}, True),
        ({"hard": {**HARD, "services": "5"}}, False),
        ({"hard": {"count/configmaps": "5"}}, False),
        ({"hard": {"count/pods": "5"}}, False),
        ({"hard": {**HARD, "persistentvolumeclaims": "5"}}, False),
        ({"hard": {**HARD, "requests.storage": "5Gi"}}, False),
        ({"hard": {"fast.storageclass.storage.k8s.io/requests.storage": "5Gi"}}, False),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopeSelector": {"matchExpressions": [{"operator": "Exists", "scopeName": "PriorityClass"}]}}, False),
    ],
)
def test_only_what_pods_alone_use_is_written(facts: Facts, spec: dict[str, Any], ours: bool) -> None:
    api = DirectApi(quota("a", **spec))
    reached(facts, api)
    if not ours:
        counts(api, counted("a", spec.get("hard")))
    report = wait(facts, quota("a", **spec))
    assert [obj["status"]["used"] for _path, obj in api.patched] == (
        [dict.fromkeys(spec.get("hard", HARD), "0")] * ours
    )
    assert bool(report.why) is ours


def test_where_pods_are_their_controller_counts(facts: Facts) -> None:
    api = DirectApi(quota("a"), quota("b"), pod("b"))
    reached(facts, api)
    counts(api, counted("b"))
    assert wait(facts, quota("a"), quota("b")).why == "1 of 2 are for namespaces without pods"
    assert [obj["metadata"]["namespace"] for _path, obj in api.patched] == ["a"]


@pytest.mark.parametrize("status", [{"hard": HARD, "used": USED}, {"hard": {"pods": "1"}, "used": {"pods": "1"}}])
def test_what_was_counted_is_left_alone(facts: Facts, status: Object) -> None:
    """Also where other bounds are configured now: only the controller knows what is in use."""
    api = DirectApi(quota("a", status))
    reached(facts, api)
    counts(api, counted("a"))
    assert wait(facts, quota("a")).why == ""
    assert api.patched == []


@pytest.mark.parametrize("code", [404, 409, 422, 503])
def test_one_that_cannot_be_written_is_waited_for(facts: Facts, code: int) -> None:
    api = DirectApi(quota("a"), quota("b"))
    api.refused["/api/v1/namespaces/a/resourcequotas/q/status"] = [refusal(code, "no")]
    reached(facts, api)
    counts(api, counted("a"))
    assert wait(facts, quota("a"), quota("b")).why == "1 of 2 are for namespaces without pods"


@pytest.mark.parametrize("error", [BUSY, ApiError(403, "no rights"), ApiError(0, "no answer")])
@pytest.mark.parametrize("path", [PODS, LIST])
def test_an_api_that_cannot_answer_at_that_moment_fails_nothing(facts: Facts, path: str, error: ApiError) -> None:
    api = DirectApi(counted("a"), answers={path: error})
    api.changes[path, 2] = api.answers.clear
    reached(facts, api)
    assert wait(facts, quota("a")).why == ""
    assert api.patched == []


def test_it_waits_until_each_is_counted_as_it_is_configured(facts: Facts) -> None:
    """The previous limits, no usage yet, another spelling of the same limit."""
    api = DirectApi(
        quota("a", {"hard": {**HARD, "pods": "1"}, "used": USED}),
        quota("b", {"hard": HARD, "used": {"pods": "3"}}),
        quota("c", {"hard": {**HARD, "requests.cpu": "4000m"}, "used": USED}),
        *map(pod, "abc"),
    )
    reached(facts, api)
    said: list[str] = []
    with pytest.raises(NotInTime) as caught:
        wait(facts, quota("a"), quota("b"), quota("c"), quota("d"), deadline=0, said=said)
    assert caught.value.why == "not counted yet: a/q, b/q, d/q"
    assert said == ["1 of 4 quotas"]
    api.put(counted("a"), counted("b"))
    wait(facts, quota("a"), quota("b"), quota("c"), said=said)
    assert said[-1] == "3 of 3 quotas"


def test_another_quota_of_the_namespace_is_not_ours(facts: Facts) -> None:
    api = DirectApi(quota("a", {"hard": HARD, "used": USED}, name="other"), pod("a"))
    reached(facts, api)
    with pytest.raises(NotInTime, match="not ready within"):
        wait(facts, quota("a"), deadline=0)


def test_through_kubectl_nothing_is_written(facts: Facts) -> None:
    api = reached(facts, FakeApi(quota("a")))
    api.at(LIST, 2, counted("a"))
    said: list[str] = []
    assert wait(facts, quota("a"), said=said).why == ""
    assert said == ["0 of 1 quotas", "1 of 1 quotas"]
    assert api.requests == [LIST, LIST]


def test_in_a_cluster_of_somebody_else_nothing_is_written_and_its_pods_are_not_read(tmp_path: Path) -> None:
    result = given.facts(tmp_path, engine="existing")
    api = DirectApi(quota("a"))
    reached(result, api)
    api.at(LIST, 2, counted("a"))
    assert wait(result, quota("a")).why == ""
    assert api.patched == []
    assert set(api.requests) == {LIST}
    assert api.watched == []
