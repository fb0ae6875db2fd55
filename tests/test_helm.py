"""Releases by their needs: skipped where unchanged, cleared where a dead Helm left them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import helm
from tasks.core.errors import LaunchError
from tasks.engine.graph import fitted
from tasks.engine.step import State
from tasks.facts.facts import Facts, Live
from tasks.kube.objects import Key
from tasks.kube.releases import LiveRelease
from tasks.run.charts import chart_of
from tasks.run.releases import fingerprint
from tasks.settings.derived import FINGERPRINT, NAMESPACES, QUOTAS, RELEASES_LEFT, SECRETS
from tasks.settings.schema import Settings
from tests import given
from tests.given_live import (
    FakeApi,
    acted,
    deployment,
    eager,
    holding,
    job,
    manifest,
    named,
    obj,
    packed,
    ran,
    reached,
    release,
    stored,
)
from tests.programs import Answer, FakePrograms, visible

CANARY = "canary-4711-among-values"
INSTALL, READY = "helm: install web", "helm: web ready"


def configured(*releases: dict[str, Any], **sections: Any) -> Settings:
    """Releases `web` unless they say otherwise."""
    usual = {"name": "web", "namespace": "web", "chart": "r/app", "version": "1.0.0"}
    given_ = [{**usual, **each} for each in releases or ({},)]
    return given.settings(helm={"repositories": {"r": "https://charts.example.com"}, "releases": given_}, **sections)


def of(folder: Path, settings: Settings | None = None, programs: FakePrograms | None = None, **changes: Any) -> Facts:
    """the facts whose charts have been fetched before."""
    facts = given.facts(folder, programs, settings=settings or configured(), **changes)
    for each in facts.releases:
        chart = chart_of(facts, each)
        if chart.path is None and chart.version:
            chart.folder(facts).mkdir(parents=True, exist_ok=True)
            (chart.folder(facts) / "app-1.0.0.tgz").write_text("")
    return facts


def print_of(facts: Facts) -> str:
    """What the cluster would remember of the release as it is configured."""
    (only,) = facts.releases
    return fingerprint(facts, only, chart_of(facts, only))


def live(*releases: LiveRelease, **changes: Any) -> Live:
    return given.live(releases={(each.namespace, each.name): each for each in releases}, **changes)


def cluster_state(folder: Path, settings: Settings | None = None, **changes: Any) -> Live:
    """The release as configured, deployed."""
    return live(release(print_of(of(folder, settings)), **changes))


def test_a_release_goes_in_when_everything_that_it_may_need_is_there(tmp_path: Path) -> None:
    steps = named(helm.steps(of(tmp_path)))
    assert list(steps) == ["helm: update repositories", "helm: fetch r/app 1.0.0", INSTALL, READY]
    assert {"cluster: API ready", NAMESPACES, SECRETS, QUOTAS, "helm: fetch r/app 1.0.0"} == set(steps[INSTALL].needs)
    assert steps[INSTALL].kind == "helm"
    assert (steps[READY].needs, steps[READY].wait) == ((INSTALL,), True)
    assert steps[INSTALL].why == "r/app 1.0.0"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"status": "failed"}, "its status is failed"),
        ({"status": "superseded"}, "its status is superseded"),
        ({"labels": {FINGERPRINT: "another"}}, "its chart or values have changed"),
        ({"labels": {}}, "its chart or values have changed"),
        ({"by_hand": True, "revision": 2}, "its revision 2 was not installed by this project"),
        ({"namespace": "elsewhere"}, "it is missing"),
        ({"name": "other"}, "it is missing"),
    ],
)
def test_a_release_is_skipped_only_if_it_is_unchanged(tmp_path: Path, changes: dict[str, Any], why: str | None) -> None:
    step = named(helm.steps(of(tmp_path, live=cluster_state(tmp_path, **changes))))[INSTALL]
    assert (step.skip is None, step.why) == (why is not None, why or "")
    if why is None:
        assert step.skip == "r/app 1.0.0 and its values have not changed"


@pytest.mark.parametrize(
    ("changes", "named_as"),
    [
        (
            {},
            "no longer configured: old in web (helm uninstall old -n web --kube-context k3d-openframe-dev removes it)",
        ),
        ({"status": "uninstalled"}, None),
        ({"labels": {}}, None),  # not of this project
    ],
)
def test_unconfigured_releases_stay_and_are_named(
    tmp_path: Path, changes: dict[str, Any], named_as: str | None
) -> None:
    there = live(release(print_of(of(tmp_path))), release(**{"fingerprint": "f", "name": "old", **changes}))
    step = named(helm.steps(of(tmp_path, live=there))).get(RELEASES_LEFT)
    assert (step and step.skip) == named_as


def test_an_object_that_is_gone_brings_the_release_again(tmp_path: Path) -> None:
    gone = (Key("v1", "Service", "web", "front"), Key("v1", "ConfigMap", "web", "c"))
    there = live(release(print_of(of(tmp_path))), gone={("web", "web"): gone})
    assert named(helm.steps(of(tmp_path, live=there)))[INSTALL].why == "service/front is gone and 1 more"


@pytest.mark.parametrize(("conflicts", "why"), [("ours", "deployment/web: set"), ("theirs", None)])
def test_values_set_by_kubectl_bring_the_release_again(tmp_path: Path, conflicts: str, why: str | None) -> None:
    settings = configured({"conflicts": conflicts})
    there = live(release(print_of(of(tmp_path, settings))), edited={("web", "web"): ("deployment/web: set",)})
    step = named(helm.steps(of(tmp_path, settings, live=there)))[INSTALL]
    assert (step.why or None) == why


def test_a_release_goes_with_its_namespace(tmp_path: Path) -> None:
    deleting = obj("Namespace", "web", deleting=True)
    for status in ("deployed", "pending-install"):
        there = live(release(print_of(of(tmp_path)), status=status), objects=holding([deleting]).objects)
        steps = named(helm.steps(of(tmp_path, live=there)))
        assert steps[INSTALL].why == "its namespace is being deleted"
        assert "helm: clear web" not in steps


@pytest.mark.parametrize(
    ("status", "revision", "command"),
    [
        ("pending-install", 1, "helm uninstall web"),
        ("pending-upgrade", 2, "helm rollback web"),
        ("pending-rollback", 3, "helm rollback web"),
        ("uninstalling", 4, "helm uninstall web"),
    ],
)
def test_a_release_of_a_killed_helm_is_cleared_first(tmp_path: Path, status: str, revision: int, command: str) -> None:
    programs = FakePrograms(answers={"helm": ""})
    there = cluster_state(tmp_path, status=status, revision=revision)
    steps = named(helm.steps(of(tmp_path, None, programs, live=there)))
    assert "helm: clear web" in steps[INSTALL].needs
    given.act(steps["helm: clear web"])
    kubeconfig = tmp_path / "clusters" / "openframe-dev" / "kubeconfig"
    assert programs.lines[0].startswith(f"{command} --kubeconfig {kubeconfig} --namespace web")


@pytest.mark.parametrize(
    ("events", "output", "cleared", "noted"),
    [
        (["pre-install"], "failed pre-install: job migrate failed", True, False),
        (["post-install"], "failed post-install: job migrate failed", False, True),
        (["pre-install", "pre-upgrade"], "failed pre-install: job migrate failed", False, False),
        (["test"], "timed out", False, False),
    ],
    ids=["before anything was made", "after", "an upgrade runs it, too", "no hook"],
)
def test_failed_first_installations(tmp_path: Path, events: list[str], output: str, cleared: bool, noted: bool) -> None:
    """Helm runs no hooks of an installation when it upgrades what has failed: charts make their passwords so."""
    record = packed("", hooks=[{"events": events}], info={"description": f'Release "web" failed: {output}'})
    failed = replace(release("x", status="failed"), packed=record)
    facts = of(tmp_path, None, FakePrograms(answers={"helm": ""}), live=live(failed))
    reached(facts, FakeApi())
    steps = named(helm.steps(facts))
    assert ("helm: clear web" in steps) is cleared
    if not cleared:
        assert any("helm uninstall web" in note for note in given.act(steps[INSTALL]).notes) is noted
    theirs = replace(failed, labels={})
    assert "helm: clear web" not in named(helm.steps(of(tmp_path, live=live(theirs))))


def test_what_an_operator_brings_when_it_runs_is_waited_for_where_it_is_needed(tmp_path: Path) -> None:
    steps = named(helm.steps(of(tmp_path, configured({"name": "operator"}, {"name": "db", "needs": ["operator"]}))))
    alone, after = (steps[f"helm: install {name} in web"].retry for name in ("operator", "db"))
    assert alone.lasting == {"webhook-failing"}
    assert after.lasting == {"webhook-failing", "kind-missing"}
    assert alone.patience == after.patience == 60


def test_needs_are_waited_for(tmp_path: Path) -> None:
    settings = configured({"name": "front", "needs": ["db", "queue"]}, {"name": "db"}, {"name": "queue", "wait": False})
    steps = named(helm.steps(of(tmp_path, settings)))
    needs = set(steps["helm: install front in web"].needs)
    assert {"helm: db in web ready", "helm: install queue in web"} <= needs
    assert "helm: queue in web ready" not in needs


def test_a_need_may_name_a_namespace_where_two_have_one_name(tmp_path: Path) -> None:
    settings = configured(
        {"name": "db", "namespace": "a"}, {"name": "db", "namespace": "b"}, {"name": "front", "needs": ["b/db"]}
    )
    steps = named(helm.steps(of(tmp_path, settings)))
    assert "helm: db in b ready" in steps["helm: install front in web"].needs
    assert "helm: db in a ready" not in given.above(fitted(list(steps.values())), "helm: install front in web")


def test_the_values_go_by_stdin_and_stand_nowhere_else(tmp_path: Path) -> None:
    answer = json.dumps({"manifest": manifest(obj("Secret", "s", data={"k": CANARY})), "config": {"k": CANARY}})
    programs = FakePrograms(answers={"helm": answer})
    facts = of(tmp_path, configured({"values": {"password": CANARY, "at": "${IP}"}, "timeout": 40}), programs)
    reached(facts, FakeApi())
    step = named(helm.steps(facts))[INSTALL]
    report = given.act(step)
    (call,) = programs.calls
    assert json.loads(call.command.stdin or "") == {"password": CANARY, "at": "127.0.0.1"}
    archive = chart_of(facts, facts.releases[0]).archive(facts)
    assert call.line == (
        f"helm upgrade --install web {archive} --kubeconfig {facts.paths.kubeconfig} --namespace web --values -"
        f" --reset-values --labels openframe.dev/fingerprint={print_of(facts)}.0-1"
        " --timeout 40s --force-conflicts --output json"
    )
    assert call.quiet, "its output holds the values, and must reach no log"
    assert call.context is not None
    assert CANARY not in visible(programs.calls) + report.why + step.why + repr(facts.outputs)
    assert (call.command.deadline, step.deadline) == (50, 55)


def test_a_failure_tells_nothing_of_what_helm_printed(tmp_path: Path) -> None:
    programs = FakePrograms(
        answers={"helm": Answer(code=1, out=CANARY, err="Error: template: app/all.yaml:3: no such")}
    )
    facts = of(tmp_path, None, programs)
    reached(facts, FakeApi())
    result = ran([named(helm.steps(facts))[INSTALL]])[INSTALL]
    assert result.state is State.FAILED
    assert "template: app/all.yaml:3" in str(result.error)
    assert CANARY not in f"{result.why} {result.error}"


@pytest.mark.parametrize(
    ("out", "workloads"),
    [
        ("WARNING: this chart is deprecated\n{0}", "deployment/web: 1 of 1 replicas are available"),
        ("{{not json}}\n{0}\n{{}}\n", "deployment/web: 1 of 1 replicas are available"),
        ("{0}", "deployment/web: 1 of 1 replicas are available"),
        ("nothing that one could read", "job/kept: it is done"),
    ],
)
def test_what_must_be_ready_is_what_was_installed(tmp_path: Path, out: str, workloads: str) -> None:
    """Where Helm's output does not tell, the cluster does: an unread manifest is no empty one."""
    new = deployment("web", "web")
    answer = out.format(json.dumps({"manifest": manifest(new, obj("Service", "s"))}))
    facts = of(tmp_path, None, FakePrograms(answers={"helm": answer}))
    remaining = job("kept", "web")
    reached(facts, FakeApi(new, remaining, stored(manifest=manifest(remaining))))
    steps = named(helm.steps(facts))
    given.act(steps[INSTALL])
    assert acted(steps[READY]).why == workloads


def test_of_a_release_that_was_there_its_own_manifest_tells(tmp_path: Path) -> None:
    there = live(release(print_of(of(tmp_path))), unready={("web", "web"): ("deployment/web: 0 of 1",)})
    facts = of(tmp_path, live=there)
    api = reached(facts, FakeApi(deployment("web", "web", ready=False)))
    api.put(stored(manifest=manifest(deployment("web", "web"), obj("Service", "s"))))
    api.at("/apis/apps/v1/namespaces/web/deployments/web", 3, deployment("web", "web"))
    steps = named(helm.steps(facts))
    assert (steps[INSTALL].skip is None, steps[READY].skip) == (False, None)
    assert acted(steps[READY]).why == "deployment/web: 1 of 1 replicas are available"


@pytest.mark.parametrize(("settings", "ready"), [({}, True), ({"wait_for_jobs": True}, False)])
def test_an_endless_job_is_waited_for_by_a_setting(tmp_path: Path, settings: dict[str, Any], ready: bool) -> None:
    worker = {**job("worker", "web", done=False), "status": {"active": 1, "startTime": "2026-11-24T02:31:00Z"}}
    facts = of(tmp_path, configured({**settings, "timeout": 0.1}))
    facts.outputs.manifests["web/web"] = manifest(worker)
    reached(facts, FakeApi(worker))
    action = named(helm.steps(facts))[READY].action
    if ready:
        report = action(eager())
        assert report is not None
        assert report.why == "job/worker: it runs, and is not waited for"
    else:
        with pytest.raises(LaunchError, match="job/worker: it is not done"):
            action(eager(deadline=0.0))


def test_a_release_without_workloads_is_ready(tmp_path: Path) -> None:
    facts = of(tmp_path)
    facts.outputs.manifests["web/web"] = manifest(obj("ConfigMap", "c"))
    reached(facts, FakeApi())
    assert acted(named(helm.steps(facts))[READY]).why == "it has no workloads"


def test_a_release_that_vanished_is_told(tmp_path: Path) -> None:
    facts = of(tmp_path)
    reached(facts, FakeApi())
    with pytest.raises(LaunchError, match="the release 'web' does not exist"):
        named(helm.steps(facts))[READY].action(eager())


@pytest.mark.parametrize(
    ("settings", "unready", "skip"),
    [
        ({}, {}, "all its workloads are ready"),
        ({}, {("web", "web"): ("deployment/web: 0 of 1",)}, None),
        ({"wait": False}, {("web", "web"): ("deployment/web: 0 of 1",)}, "its `wait` is false"),
    ],
)
def test_readiness_is_waited_for_where_it_is_wanted_and_not_there(
    tmp_path: Path, settings: dict[str, Any], unready: dict[tuple[str, str], tuple[str, ...]], skip: str | None
) -> None:
    there = live(release(print_of(of(tmp_path, configured(settings)))), unready=unready)
    assert named(helm.steps(of(tmp_path, configured(settings), live=there)))[READY].skip == skip


def test_what_cannot_be_read_of_its_manifest_is_a_note(tmp_path: Path) -> None:
    broken = replace(release(print_of(of(tmp_path))), packed=packed(manifest(deployment("web")) + "---\na: b: c\n"))
    step = named(helm.steps(of(tmp_path, live=live(broken))))[READY]
    (note,) = step.notes
    assert "release web/web: objects that cannot be read in its manifest are not checked: document 2, line 4" in note
    assert step.skip == f"all its workloads are ready; {note}"
    facts = of(tmp_path)
    facts.outputs.manifests["web/web"] = "---\na: b: c\n"
    reached(facts, FakeApi())
    report = acted(named(helm.steps(facts))[READY])
    assert len(report.notes) == 1


def test_an_upgrade_is_waited_for_although_the_old_one_was_ready(tmp_path: Path) -> None:
    there = cluster_state(tmp_path, labels={})
    assert named(helm.steps(of(tmp_path, live=there)))[READY].skip is None
