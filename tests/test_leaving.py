"""Leaving a cluster of somebody else: by label, and never what others have put beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks import leaving
from tasks.facts.live import Live
from tasks.facts.releases import LiveRelease
from tasks.leaving import OBJECTS, Left, look, secret_keys, steps
from tasks.objects.labels import finish, key
from tasks.situation import Situation
from tests import given
from tests.given_live import FakeApi, Object, deployment, holding, named, obj, reached, release
from tests.programs import FakePrograms

SPACE = finish(obj("Namespace", "platform"))
THEIRS = obj("Namespace", "shared")
POLICY = finish(obj("NetworkPolicy", "openframe", "shared", spec={}))
SECRET = finish(obj("Secret", "s", "shared", type="Opaque", data={}))
OURS = release("1234")
OTHERS = release(None, name="other", namespace="platform")
SETTINGS = given.settings(
    namespaces=["platform", "shared"],
    secrets=[
        {"name": "s", "values": {"k": {"env": "K"}}},
        {"name": "t", "namespaces": ["x"], "values": {"k": {"env": "K"}}},
    ],
)


def of(
    folder: Path, *there: Object, live: Live | None = None, programs: FakePrograms | None = None
) -> tuple[Situation, FakeApi]:
    """A cluster in which these objects are, besides what the facts know."""
    facts = live or holding([SPACE, THEIRS, POLICY])
    situation = given.situation(folder, programs, settings=SETTINGS, engine="existing", live=facts, releases=())
    return situation, reached(situation, FakeApi(*there))


def with_releases(*releases: LiveRelease) -> Live:
    live = holding([SPACE])
    return Live(objects=live.objects, releases={(each.namespace, each.name): each for each in releases})


def kinds(keys: Any) -> list[str]:
    return [f"{key.kind} {key.name}" for key in keys]


def test_only_what_carries_our_label_is_ours(tmp_path: Path) -> None:
    situation, _api = of(tmp_path, SECRET, obj("Secret", "s", "platform"))
    assert kinds(look(situation).ours) == ["Namespace platform", "NetworkPolicy openframe", "Secret s"]


def test_secrets_are_found_without_their_values(tmp_path: Path) -> None:
    assert kinds(secret_keys(SETTINGS)) == ["Secret s", "Secret s", "Secret t"]
    assert [each.namespace for each in secret_keys(SETTINGS)] == ["platform", "shared", "x"]


@pytest.mark.parametrize(
    ("running", "guests"),
    [
        ([deployment("web", "platform")], {"platform": "deployment web"}),
        ([deployment("web", "elsewhere")], {}),
        ([deployment("web", "shared")], {}),
        ([finish(deployment("mine", "platform"))], {}),
        ([obj("Pod", "p", "platform", owner=("ReplicaSet", "web-a"))], {}),
        ([obj("Pod", "p", "platform")], {"platform": "pod p"}),
        ([obj("CronJob", "c", "platform"), obj("Job", "j", "platform")], {"platform": "cronjob c, job j"}),
        (
            [obj("StatefulSet", f"s{n}", "platform") for n in range(5)],
            {"platform": "statefulset s0, statefulset s1, statefulset s2 and 2 more"},
        ),
    ],
)
def test_what_others_run_in_a_namespace_of_ours_is_seen(
    tmp_path: Path, running: list[Object], guests: dict[str, str]
) -> None:
    situation, _api = of(tmp_path, *running)
    assert look(situation).guests == guests


def test_what_a_release_of_ours_runs_is_no_guest_but_another_release_is(tmp_path: Path) -> None:
    own = release("1234", namespace="platform", objects=[deployment("web", "platform")])
    situation, _api = of(tmp_path, deployment("web", "platform"), live=with_releases(own))
    assert look(situation).guests == {}
    situation, _api = of(tmp_path, live=with_releases(OTHERS))
    assert look(situation).guests == {"platform": "release other"}


def test_where_no_namespace_is_ours_nobody_else_is_looked_for(tmp_path: Path) -> None:
    situation, api = of(tmp_path, live=holding([THEIRS]))
    assert look(situation) == Left()
    assert not any("deployments" in path for path in api.asked)


def test_releases_go_first_then_objects_by_label(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"helm": "", "kubectl": ""})
    situation, _api = of(tmp_path, programs=programs, live=with_releases(OURS, OTHERS))
    plan = named(steps(situation, Left(ours=(key(SPACE), key(SECRET)))))
    assert list(plan) == ["down: release web/web", OBJECTS]
    assert plan[OBJECTS].needs == ("down: release web/web",)
    for step in plan.values():
        given.act(step)
    kubeconfig = situation.folders.kubeconfig
    assert programs.lines == [
        f"helm uninstall web --kubeconfig {kubeconfig} --namespace web --ignore-not-found --timeout 300s",
        f"kubectl --kubeconfig {kubeconfig} delete --ignore-not-found --wait=false --filename -",
    ]
    sent = [json.loads(line) for line in (programs.asked[1].stdin or "").splitlines() if line != "---"]
    assert sent == [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "platform"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shared"}},
    ]


def test_what_goes_is_told_namespaces_by_name(tmp_path: Path) -> None:
    situation, _api = of(tmp_path)
    why = named(steps(situation, Left(ours=(key(SPACE), key(SECRET), key(POLICY)))))[OBJECTS].why
    assert why.endswith("the namespaces platform with all that is in them, 1 Secret, 1 NetworkPolicy")
    assert why.startswith("3 with app.kubernetes.io/managed-by=openframe")


def test_a_namespace_that_others_use_stays(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"kubectl": ""})
    situation, _api = of(tmp_path, programs=programs)
    left = Left(ours=(key(SPACE), key(POLICY)), guests={"platform": "deployment web"})
    plan = named(steps(situation, left))
    assert plan["down: namespace platform"].skip == "others use it: deployment web"
    given.act(plan[OBJECTS])
    assert '"Namespace"' not in (programs.asked[0].stdin or "")


def test_nothing_of_ours_is_there(tmp_path: Path) -> None:
    situation, _api = of(tmp_path)
    assert [step.skip for step in leaving.steps(situation, Left())] == ["there are none"]
