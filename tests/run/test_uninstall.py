"""What goes and what stays when a cluster that is not this project's is left: nothing of others is harmed."""

from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import LaunchError
from tasks.facts.facts import Facts, Live
from tasks.kube.client import ApiError
from tasks.kube.objects import finish, key
from tasks.kube.ownership import CREATED_BY
from tasks.kube.releases import LiveRelease
from tasks.kube.wait import NotInTime
from tasks.run.inventory import Scope, Target, read
from tasks.run.uninstall import CUSTOM, DEFINITIONS, NAMESPACES, OBJECTS, steps
from tests import given
from tests.given_direct import DirectApi
from tests.given_live import Object, created, deployment, eager, manifest, named, obj, reached, stored, uid_given
from tests.given_live import release as installed
from tests.programs import Answer, FakePrograms

SPACE = created(finish(obj("Namespace", "platform")))
THEIRS = uid_given(obj("Namespace", "shared"))
POLICY = created(finish(obj("NetworkPolicy", "p", "platform", spec={})))
SECRET = created(finish(obj("Secret", "s", "shared", type="Opaque", data={})))
CRD = obj("CustomResourceDefinition", "databases.data.example.com")
DATABASE = obj("Database", "db", "platform")
EVERYWHERE = (
    obj("ServiceAccount", "default", "platform"),
    obj("ConfigMap", "kube-root-ca.crt", "platform"),
    obj("Event", "e", "platform"),
)
OWN = created(obj("Database", "own", "platform"))
PLACE = "/apis/data.example.com/v1/namespaces/platform/databases/own"


def release(name: str = "web", namespace: str = "platform", environment: str = "me.dev", **changes: Any) -> LiveRelease:
    return installed("1", **{"name": name, "namespace": namespace, "labels": {CREATED_BY: environment}, **changes})


def of(
    folder: Path, *there: Object, releases: tuple[LiveRelease, ...] = (), needs: dict[str, list[str]] | None = None
) -> tuple[Facts, DirectApi]:
    """A cluster in which these objects are; releases need each other as said."""
    configured = [
        {"name": name, "namespace": "platform", "chart": "r/c", "needs": each} for name, each in (needs or {}).items()
    ]
    settings = given.settings(helm={"repositories": {"r": "https://charts.example.com"}, "releases": configured})
    live = Live(objects={}, releases={(each.namespace, each.name): each for each in releases})
    facts = given.facts(folder, settings=settings, engine="existing", live=live)
    return facts, reached(facts, DirectApi(*map(uid_given, there)))


def looked(folder: Path, *there: Object, **more: Any) -> Scope:
    return read(of(folder, *there, **more)[0])


def names(targets: Any) -> list[str]:
    return sorted(f"{key.kind} {key.name}" for key, _uid in targets)


def test_only_what_this_environment_created_goes(tmp_path: Path) -> None:
    applied = finish(obj("ConfigMap", "node-local-dns", "kube-system"))
    other = created(obj("ConfigMap", "bobs", "shared"), "bob.dev")
    left = looked(tmp_path, SPACE, THEIRS, POLICY, SECRET, applied, other, *EVERYWHERE)
    assert names(left.namespaces) == ["Namespace platform"]
    assert names(left.objects) == ["NetworkPolicy p", "Secret s"]
    assert (left.custom, left.definitions, left.releases, left.staying) == ((), (), (), {})


def test_a_copy_of_one_of_ours_stays_and_is_named(tmp_path: Path) -> None:
    copy = created(obj("Secret", "s", "shared"), managedFields=[{"manager": "kubectl-create", "operation": "Update"}])
    left = looked(tmp_path, copy)
    assert left.objects == ()
    assert left.staying == {"secret shared/s": "it has the label, but this project did not create it"}


@pytest.mark.parametrize(
    ("there", "guest"),
    [
        ([deployment("web", "platform")], "deployment web"),
        ([deployment("web", "elsewhere")], None),
        ([created(deployment("mine", "platform")), obj("Pod", "p", "platform", owner=("Deployment", "mine"))], None),
        ([obj("Pod", "p", "platform", owner=("ReplicaSet", "that-is-gone"))], "pod p"),
        ([DATABASE, obj("StatefulSet", "s", "platform", owner=("Database", "db"))], "database db"),
        ([obj("PersistentVolumeClaim", "data", "platform")], "persistentvolumeclaim data"),
        ([obj("ConfigMap", "notes", "platform")], "configmap notes"),
        (
            [obj("StatefulSet", f"s{n}", "platform") for n in range(5)],
            "statefulset s0, statefulset s1, statefulset s2 and 2 more",
        ),
        ([created(obj("Service", "x", "platform")), obj("Endpoints", "x", "platform")], None),
        ([obj("Endpoints", "by-hand", "platform")], "endpoints by-hand"),
        ([created(obj("Pod", "p", "platform")), obj("Lease", "l", "platform", spec={"holderIdentity": "p_1"})], None),
        ([obj("Lease", "l", "platform", spec={"holderIdentity": "other_1"})], "lease l"),
    ],
)
def test_a_namespace_with_foreign_objects_stays(tmp_path: Path, there: list[Object], guest: str | None) -> None:
    left = looked(tmp_path, SPACE, POLICY, *EVERYWHERE, *there)
    why = f"not everything in it goes: {guest}"
    assert left.staying == ({"namespace platform": why} if guest else {})
    assert names(left.namespaces) == ([] if guest else ["Namespace platform"])
    assert "NetworkPolicy p" in names(left.objects)


def test_claims_of_our_stateful_sets_go_and_are_named_beforehand(tmp_path: Path) -> None:
    own = deployment("db", "platform")
    sets = obj("StatefulSet", "db", "platform", spec={"volumeClaimTemplates": [{"metadata": {"name": "data"}}]})
    claims = [obj("PersistentVolumeClaim", name, "platform") for name in ("data-db-0", "data-db-old")]
    part = release(objects=[sets])
    left = looked(tmp_path, SPACE, sets, claims[0], releases=(part,))
    assert left.claims == ("platform/data-db-0",)
    assert names(left.namespaces) == ["Namespace platform"]
    left = looked(tmp_path, SPACE, own, sets, *claims, releases=(part,))
    assert left.claims == ()
    assert "persistentvolumeclaim data-db-old" in left.staying["namespace platform"]


def test_what_a_release_of_ours_and_its_hooks_hold_is_no_guest_but_another_release_is(tmp_path: Path) -> None:
    hook = obj("Job", "migrate", "platform")
    own = release(objects=[deployment("web", "platform")], hooks=(hook,))
    left = looked(tmp_path, SPACE, deployment("web", "platform"), hook, releases=(own,))
    assert left.staying == {}
    assert [each.name for each in left.releases] == ["web"]
    for environment in ("bob.dev", ""):
        left = looked(tmp_path, SPACE, releases=(release(environment=environment),))
        assert left.releases == ()
        assert left.staying["namespace platform"].endswith("release web")


def test_a_release_that_somebody_is_at_work_on_stays_with_all_beside_it(tmp_path: Path) -> None:
    left = looked(tmp_path, SPACE, POLICY, releases=(release(status="pending-upgrade"),))
    assert (left.releases, left.namespaces, left.objects) == ((), (), ())
    assert left.staying["release web in platform"].startswith("pending-upgrade: a Helm is working on it")


def test_one_that_an_earlier_down_could_not_uninstall_is_uninstalled_again(tmp_path: Path) -> None:
    """Its pre-delete hook has failed, for example; nobody installs or upgrades a release in that state."""
    half = release(status="uninstalling", hooks=[obj("Job", "bye", "platform")])
    assert [each.name for each in looked(tmp_path, SPACE, releases=(half,)).releases] == ["web"]
    programs = FakePrograms(answers={"helm": Answer(code=1, err="Error: resource Job/platform/bye not ready")})
    facts, api = of(tmp_path, releases=(half,))
    marks = {CREATED_BY: "me.dev", "status": "uninstalling"}
    api.put({**stored(namespace="platform", **marks), "data": {"release": half.packed}})
    with pytest.raises(LaunchError) as caught:
        given.act(named(steps(_with(facts, programs), Scope(releases=(half,))))["down: release platform/web"])
    assert caught.value.fix.endswith("--kube-context openframe-dev --no-hooks removes it without its hooks")


def test_an_operator_stays_while_others_use_its_custom_resources_and_so_does_what_it_needs(tmp_path: Path) -> None:
    operator, base = release("operator", objects=[CRD]), release("base")
    stranger = obj("Database", "db", "shared")
    given_needs = {"base": [], "operator": ["base"], "web": []}
    there = (SPACE, POLICY, CRD, stranger)
    left = looked(tmp_path, *there, releases=(operator, base, release()), needs=given_needs)
    assert [each.name for each in left.releases] == ["web"]
    assert left.staying["release operator in platform"].startswith(
        "others use its custom resources: database shared/db"
    )
    assert left.staying["release base in platform"].startswith("a release that stays needs it")
    assert "namespace platform" in left.staying
    alone = looked(tmp_path, SPACE, CRD, releases=(operator,))
    assert [each.name for each in alone.releases] == ["operator"]


def test_an_operator_whose_crds_lie_in_the_charts_own_folder_stays_too(tmp_path: Path) -> None:
    left = looked(tmp_path, CRD, obj("Database", "db", "shared"), releases=(release(crds=(CRD,)),))
    assert left.releases == ()
    assert "database shared/db" in left.staying["release web in platform"]


def test_custom_resources_go_first_those_of_releases_too_but_not_what_is_to_be_kept(tmp_path: Path) -> None:
    own = created(obj("Database", "own", "platform"))
    notes = {"meta.helm.sh/release-name": "web"}
    helms = obj("Database", "helms", "platform", metadata={"annotations": notes})
    remaining = obj(
        "Database", "kept", "platform", metadata={"annotations": {**notes, "helm.sh/resource-policy": "keep"}}
    )
    held = created(obj("ConfigMap", "held", "platform"), finalizers=["example.com/wait"])
    bound = created(obj("PersistentVolumeClaim", "v", "platform"), finalizers=["kubernetes.io/pvc-protection"])
    part = release(objects=[helms, remaining])
    left = looked(tmp_path, SPACE, own, helms, remaining, held, bound, releases=(part,))
    assert names(left.custom) == ["ConfigMap held", "Database helms", "Database own"]
    assert names(left.objects) == ["PersistentVolumeClaim v"]


def test_a_release_stays_with_an_object_that_is_others_by_now(tmp_path: Path) -> None:
    """Helm removes what the manifest names, whoever created it since."""
    theirs = obj("ConfigMap", "c", "platform", metadata={"managedFields": [{"manager": "kubectl-create"}]})
    own = release(objects=[obj("ConfigMap", "c", "platform")])
    left = looked(tmp_path, SPACE, theirs, releases=(own,))
    assert left.releases == ()
    why = "Helm would remove what is others' by now: configmap platform/c (field manager kubectl-create)"
    assert left.staying["release web in platform"].startswith(why)
    programs = FakePrograms(answers={"helm": ""})
    facts, api = of(tmp_path, theirs)
    api.put(stored(namespace="platform", manifest=manifest(obj("ConfigMap", "c")), **{CREATED_BY: "me.dev"}))
    with pytest.raises(LaunchError, match="was not uninstalled") as caught:
        given.act(named(steps(_with(facts, programs), Scope(releases=(own,))))["down: release platform/web"])
    assert caught.value.why == why
    assert programs.lines == []


def test_what_a_chart_keeps_stays_with_its_namespace_and_so_do_its_crds_all_by_name(tmp_path: Path) -> None:
    keep = {"annotations": {"helm.sh/resource-policy": "keep"}}
    data = obj("PersistentVolumeClaim", "data", "platform", metadata=keep)
    kept, other = (obj("CustomResourceDefinition", f"{name}.data.example.com", metadata=keep) for name in "ab")
    gone, going = (obj("CustomResourceDefinition", f"{name}.data.example.com") for name in "cd")
    mine = created(obj("CustomResourceDefinition", "e.data.example.com"))
    own = release(objects=[data, kept, going], crds=(other, gone, mine))
    left = looked(tmp_path, SPACE, data, kept, other, going, mine, releases=(own,))
    assert [each.name for each in left.releases] == ["web"]
    assert left.staying == {
        "persistentvolumeclaim platform/data": "the chart of the release web keeps it (helm.sh/resource-policy)",
        "CRDs of the release web in platform": "Helm leaves these of its chart; unless others use them: "
        "kubectl delete crd a.data.example.com b.data.example.com --context openframe-dev",
        "namespace platform": "not everything in it goes: persistentvolumeclaim platform/data",
    }
    assert (left.namespaces, left.claims) == ((), ())


def test_a_crd_of_ours_stays_while_others_have_resources_of_it(tmp_path: Path) -> None:
    own = created(CRD)
    assert names(looked(tmp_path, own).definitions) == ["CustomResourceDefinition databases.data.example.com"]
    assert looked(tmp_path, own, created(obj("Database", "own", "platform"))).staying == {}
    left = looked(tmp_path, own, obj("Database", "db", "shared"))
    assert left.definitions == ()
    assert left.staying == {"CRD databases.data.example.com": "others use it: database shared/db"}


@pytest.mark.parametrize(
    "path", ["/apis/data.example.com/v1", "/apis/data.example.com/v1/namespaces/platform/databases"]
)
def test_a_namespace_of_which_not_everything_can_be_seen_stays(tmp_path: Path, path: str) -> None:
    facts, api = of(tmp_path, SPACE)
    api.answers[path] = ApiError(403, "the API answered 403")
    left = read(facts)
    assert left.namespaces == ()
    assert "what cannot be listed: " in left.staying["namespace platform"]


def test_who_may_list_only_some_namespaces_leaves_those(tmp_path: Path) -> None:
    facts, api = of(tmp_path, SECRET)
    query = "labelSelector=openframe.dev%2Fcreated-by%3Dme.dev&fieldSelector=type%21%3Dhelm.sh%2Frelease.v1"
    api.answers[f"/api/v1/secrets?{query}"] = ApiError(403, "the API answered 403")
    assert read(facts).objects == ()
    live = given.live(objects={tuple_key("shared"): THEIRS})
    seen = given.facts(tmp_path, engine="existing", live=live)
    reached(seen, api)
    assert names(read(seen).objects) == ["Secret s"]


def tuple_key(name: str) -> Any:
    from tasks.kube.objects import Key

    return Key("v1", "Namespace", None, name)


@pytest.mark.parametrize(
    ("changes", "removed"),
    [
        ({}, True),
        ({"creationTimestamp": "2026-11-24T02:30:59Z"}, False),
        ({"managedFields": [{"manager": "kubectl-create"}]}, False),
        ({"annotations": {"meta.helm.sh/release-name": "other"}}, False),
    ],
    ids=["Helm's own", "from before", "somebody's", "of another release"],
)
def test_what_hooks_left_in_namespaces_of_others_goes_too(tmp_path: Path, changes: Object, removed: bool) -> None:
    """Helm itself leaves it (Helm: hook deletion policies)."""
    meta = {"creationTimestamp": "2026-11-24T02:31:00Z", "managedFields": [{"manager": "helm"}], **changes}
    own = release(namespace="shared", hooks=[obj("Job", "migrate", "shared")])
    left = looked(tmp_path, obj("Job", "migrate", "shared", metadata=meta), releases=(own,))
    assert names(left.objects) == (["Job migrate"] if removed else [])


def target(item: Object) -> Target:
    return Target(key(item), item["metadata"]["uid"])


def test_custom_resources_then_releases_by_their_needs_then_the_rest(tmp_path: Path) -> None:
    there = (release("operator"), release("db"), release("web"))
    facts, _api = of(tmp_path, releases=there, needs={"operator": [], "db": ["operator"], "web": ["db"]})
    left = Scope(releases=there, custom=(target(OWN),), objects=(target(SECRET),), namespaces=(target(SPACE),))
    plan = given.by_name(steps(facts, left))
    assert CUSTOM in plan["down: release platform/web"].needs
    assert "down: release platform/web" in plan["down: release platform/db"].needs
    assert "down: release platform/db" in plan["down: release platform/operator"].needs
    assert "down: release platform/operator" in plan[OBJECTS].needs
    assert {OBJECTS, CUSTOM} < given.above(list(plan.values()), NAMESPACES)
    assert plan[DEFINITIONS].skip == "there are none"


def test_what_goes_is_told_by_kind_namespaces_and_claims_by_name_and_what_stays_too(tmp_path: Path) -> None:
    facts, _api = of(tmp_path)
    left = Scope(
        objects=(target(SECRET), target(POLICY)),
        namespaces=(target(SPACE),),
        claims=("platform/data-db-0",),
        staying={"namespace other": "x"},
    )
    plan = named(steps(facts, left))
    assert plan[OBJECTS].why == "1 Secret, 1 NetworkPolicy"
    why = "platform with everything in them, including the data of the claims platform/data-db-0"
    assert plan[NAMESPACES].why == why
    assert plan["down: namespace other"].skip == "it stays: x"
    assert all(step.skip is not None for step in steps(facts, Scope()))


def test_a_custom_resource_is_waited_for_and_what_holds_it_is_told(tmp_path: Path) -> None:
    facts, api = of(tmp_path, OWN)
    step = named(steps(facts, Scope(custom=(target(OWN),))))[CUSTOM]
    step.action(eager())
    assert key(OWN) not in api.objects
    held = created(obj("Database", "own", "platform"), finalizers=["data.example.com/backup"])
    api.put(held)
    api.refused[PLACE] = [(200, "{}")]  # marked for deletion, and held
    with pytest.raises(NotInTime) as caught:
        step.action(eager(deadline=0))
    assert caught.value.why == "database platform/own waits for data.example.com/backup"
    assert "kubectl edit" in caught.value.fix


def test_the_release_is_uninstalled_as_it_was_looked_at(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"helm": ""})
    facts, api = of(tmp_path, releases=(release(),))
    facts = _with(facts, programs)
    step = named(steps(facts, Scope(releases=(release(),))))["down: release platform/web"]
    assert given.act(step).skipped, "it is gone"
    label = {"openframe.dev/created-by": "me.dev"}
    api.put(stored(namespace="platform", **label))
    given.act(step)
    assert [" ".join(line.split()[:3]) for line in programs.lines] == ["helm uninstall web"]
    for change in ({"status": "pending-upgrade"}, {"openframe.dev/created-by": "bob.dev"}):
        api.put(stored(namespace="platform", **{**label, **change}))
        with pytest.raises(LaunchError, match="was not uninstalled"):
            given.act(step)
    assert len(programs.lines) == 1


def test_what_the_garbage_collector_has_still_to_delete_is_no_use_by_others(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"helm": ""})
    own = created(obj("Database", "own", "shared"))
    child = obj("Database", "child", "shared", owner=("Database", "own"))
    operator = release("operator", objects=[CRD])
    facts, api = of(tmp_path, CRD, own, child, releases=(operator,))
    plan = named(steps(_with(facts, programs), read(facts)))
    label = {"openframe.dev/created-by": "me.dev"}
    api.put(stored(name="operator", namespace="platform", manifest=manifest(CRD), **label))
    api.remove(own)  # by the step before; what it owned is still there
    given.act(plan["down: release platform/operator"])
    assert [line.split()[:3] for line in programs.lines] == [["helm", "uninstall", "operator"]]
    api.put(uid_given(obj("Database", "new", "shared")))
    with pytest.raises(LaunchError, match="others use its custom resources: database shared/new"):
        given.act(plan["down: release platform/operator"])


def _with(facts: Facts, programs: FakePrograms) -> Facts:
    from dataclasses import replace

    return replace(facts, programs=programs, helm_programs=programs)


def test_a_crd_goes_only_while_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.run.uninstall._SETTLE", 0.0)
    own = created(CRD)
    facts, api = of(tmp_path, own)
    step = named(steps(facts, Scope(definitions=(target(own),))))[DEFINITIONS]
    api.put(uid_given(obj("Database", "new", "shared")))
    with pytest.raises(LaunchError, match="CRDs that this project created were not removed") as caught:
        given.act(step)
    assert "database shared/new" in caught.value.why
    api.remove(obj("Database", "new", "shared"))
    given.act(step)
    assert key(own) not in api.objects


def left_with_namespace(folder: Path) -> tuple[Facts, DirectApi, Scope]:
    own = created(finish(deployment("mine", "platform")))
    facts, api = of(folder, SPACE, own, *EVERYWHERE)
    return facts, api, read(facts)


def test_a_namespace_goes_with_what_was_made_for_ours(tmp_path: Path) -> None:
    facts, api, left = left_with_namespace(tmp_path)
    api.put(uid_given(obj("Pod", "newer", "platform", owner=("Deployment", "mine"))))
    api.put(uid_given(deployment("ending", "platform", deleting=True)))
    named(steps(facts, left))[NAMESPACES].action(eager())
    assert key(SPACE) not in api.objects


def test_a_namespace_that_others_use_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.run.uninstall._SETTLE", 0.0)
    facts, api, left = left_with_namespace(tmp_path)
    api.put(uid_given(obj("PersistentVolumeClaim", "new", "platform")))
    with pytest.raises(NotInTime) as caught:
        named(steps(facts, left))[NAMESPACES].action(eager())
    assert caught.value.why == "platform: persistentvolumeclaim new"
    assert key(SPACE) in api.objects
    assert not [method for method, _, _ in api.sent if method == "DELETE"]


def test_one_that_was_made_anew_is_left(tmp_path: Path) -> None:
    facts, api, left = left_with_namespace(tmp_path)
    newer = created(finish(deployment("mine", "platform")))
    newer["metadata"]["uid"] = "newer"
    api.put(newer)
    report = given.act(named(steps(facts, left))[OBJECTS])
    assert report.why == "left, since others have recreated them: deployment platform/mine"
    assert key(newer) in api.objects
