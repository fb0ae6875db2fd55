"""The order in which things go, and the second look at each before it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import LaunchError
from tasks.facts.facts import Facts
from tasks.kube.objects import finish, key
from tasks.kube.wait import NotInTime
from tasks.run.uninstall import CUSTOM, DEFINITIONS, NAMESPACES, OBJECTS, steps
from tasks.run.uninstall_scope import Scope, Target, read
from tests import given
from tests.given_direct import DirectApi
from tests.given_live import Object, created, deployment, eager, named, obj, stored, uid_given
from tests.programs import FakePrograms
from tests.run.test_uninstall_scope import CRD, EVERYWHERE, POLICY, SECRET, SPACE, of, release

OWN = created(obj("Database", "own", "platform"))
PLACE = "/apis/data.example.com/v1/namespaces/platform/databases/own"


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
    assert plan[NAMESPACES].why == "platform with all that is in them, the data of the claims platform/data-db-0 too"
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


def _with(facts: Facts, programs: FakePrograms) -> Facts:
    from dataclasses import replace

    return replace(facts, programs=programs, helm_programs=programs)


def test_a_crd_goes_only_while_it_is_empty(tmp_path: Path) -> None:
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


def test_a_namespace_to_which_somebody_has_come_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert report.why == "left, since somebody has made them anew: deployment platform/mine"
    assert key(newer) in api.objects
