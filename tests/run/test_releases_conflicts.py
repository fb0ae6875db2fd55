"""Fields of a release that something else has set since: told, taken over, or left alone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks import helm
from tasks.clients import helm as commands
from tasks.engine.step import Context, Report
from tasks.facts.facts import Facts
from tasks.kube.releases import LiveRelease
from tasks.process.command import CommandFailed
from tasks.run.releases import edited
from tasks.settings.schema import Settings
from tests import given
from tests.given_live import FakeApi, deployment, eager, manifest, named, obj, reached, release, stored
from tests.programs import Answer, Asked, FakePrograms
from tests.test_helm import INSTALL, configured, live, of

SCALED = {"manager": "kubectl", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
NOTE = "release web: spec.replicas of deployment/web in web, held by kubectl (scale), is "


def web(replicas: int, *entries: Mapping[str, Any]) -> dict[str, Any]:
    made = deployment("web", "web", metadata={"managedFields": list(entries)} if entries else {})
    return {**made, "spec": {"replicas": replicas}}


class Helm:
    """Renders a manifest, has it post-rendered as either version does, and says what it has installed."""

    def __init__(self, rendered: str, err: str = "") -> None:
        self.rendered, self.err, self.line = rendered, err, ""

    def __call__(self, asked: Asked) -> Answer:
        self.line, flags, text = asked.line, list(asked.command.argv), self.rendered
        if "--post-renderer" in flags:
            name = flags[flags.index("--post-renderer") + 1]
            if name.startswith("/"):
                argv = [name, *(each.partition("=")[2] for each in flags if each.startswith("--post-renderer-args="))]
            else:
                argv = [
                    asked.env["OPENFRAME_PYTHON"],
                    f"{asked.env['HELM_PLUGINS'].split(os.pathsep)[0]}/{name}/client.py",
                ]
            done = subprocess.run(argv, input=text.encode(), env=dict(asked.env), capture_output=True, check=False)
            if done.returncode:
                return Answer(code=1, err="Error: UPGRADE FAILED: post-renderer")
            text = done.stdout.decode()
        if self.err:
            return Answer(code=1, err=self.err)
        return Answer(out=json.dumps({"manifest": text}))


def upgraded(
    folder: Path, program: Helm, api: FakeApi, *, there: LiveRelease, settings: Settings | None = None, major: int = 4
) -> tuple[Report, Facts]:
    """What the installing step says of an upgrade of `web`."""
    programs = FakePrograms(answers={"helm": program, "kubectl": ""})
    facts = of(folder, settings, programs, live=live(there), helm_major=major)
    reached(facts, api)
    report = given.act(named(helm.steps(facts))[INSTALL])
    return report, facts


@pytest.mark.parametrize(("major", "server_side", "forced"), [(4, True, True), (4, False, False), (3, False, False)])
def test_by_default_the_charts_value_wins_and_who_held_what_is_told(
    tmp_path: Path, major: int, server_side: bool, forced: bool
) -> None:
    """Helm 4 refuses --force-conflicts for what Helm 3 made, and Helm 3 does not know it: both win without."""
    api = FakeApi(web(5, SCALED))
    api.at("/apis/apps/v1/namespaces/web/deployments/web", 2, web(1))
    program = Helm(manifest(web(1)))
    there = release("other", objects=[web(1)], server_side=server_side)
    report, _ = upgraded(tmp_path, program, api, there=there, major=major)
    assert ("--force-conflicts" in program.line) is forced
    assert "--server-side" not in program.line
    assert report.notes == (f"{NOTE}set to the chart's value",)


def test_nothing_is_told_where_nothing_else_has_set_a_field(tmp_path: Path) -> None:
    report, _ = upgraded(tmp_path, Helm(manifest(web(2))), FakeApi(web(1)), there=release("x", objects=[web(1)]))
    assert report.notes == ()


def test_objects_that_cannot_be_read_cost_an_upgrade_its_notes_only(tmp_path: Path) -> None:
    api = FakeApi(answers={"/apis/apps/v1": (403, "no rights")})
    report, _ = upgraded(tmp_path, Helm(manifest(web(1))), api, there=release("x", objects=[web(1)]))
    assert report.notes == ()


def test_what_helm_does_not_set_by_the_client_is_applied_after_it(tmp_path: Path) -> None:
    """Of custom resources Helm sends only what differs from the revision before."""
    api = FakeApi(web(5, SCALED))
    programs = FakePrograms(
        answers={"helm": Helm(manifest(obj("Deployment", "web", spec={"replicas": 1}))), "kubectl": ""}
    )
    facts = of(tmp_path, None, programs, live=live(release("x", objects=[web(1)])), helm_major=3)
    reached(facts, api)
    report = given.act(named(helm.steps(facts))[INSTALL])
    assert report.notes == (f"{NOTE}set to the chart's value",)
    _, applied = programs.calls
    assert "apply --server-side --force-conflicts" in applied.line
    sent = json.loads((applied.command.stdin or "").removeprefix("---"))
    assert (sent["metadata"]["namespace"], sent["spec"]) == ("web", {"replicas": 1})


@pytest.mark.parametrize(
    ("major", "server_side", "sent"), [(4, True, {}), (4, False, {"replicas": 5}), (3, False, {"replicas": 5})]
)
def test_by_a_setting_the_others_value_stays(
    tmp_path: Path, major: int, server_side: bool, sent: dict[str, Any]
) -> None:
    """By the client a field that is not sent any more would be deleted."""
    api = FakeApi(web(5, SCALED), stored(manifest=manifest(web(1))))
    program = Helm(manifest(obj("Service", "s"), web(1)))
    there = release("other", objects=[web(1)], server_side=server_side)
    report, facts = upgraded(
        tmp_path, program, api, there=there, settings=configured({"conflicts": "theirs"}), major=major
    )
    assert "--force-conflicts" not in program.line
    assert report.notes == (f"{NOTE}left as it is (conflicts: theirs)",)
    installed = facts.outputs.manifests["web/web"]
    assert json.loads(installed.split("---\n")[-1])["spec"] == sent
    assert installed.split("---\n")[1] == program.rendered.split("---\n")[1], "what is not contested is as it was"


def test_a_release_that_leaves_fields_to_others_is_as_configured_afterwards(tmp_path: Path) -> None:
    """Its fingerprint is of what is configured, not of what was sent."""
    settings = configured({"conflicts": "theirs"})
    program = Helm(manifest(web(1)))
    upgraded(tmp_path, program, FakeApi(web(5, SCALED)), there=release("old", objects=[web(1)]), settings=settings)
    mark = program.line.partition(f"{commands.FINGERPRINT}=")[2].split()[0]
    step = named(helm.steps(of(tmp_path, settings, live=live(release(mark)))))[INSTALL]
    assert step.skip is not None
    ours = named(helm.steps(of(tmp_path, live=live(release(mark)))))[INSTALL]
    assert ours.why == "its chart or values have changed", "the setting's change is carried out"


def test_an_api_that_fails_under_a_release_that_leaves_fields_ends_the_step(tmp_path: Path) -> None:
    api = FakeApi(answers={"/apis/apps/v1": (403, "no rights")})
    with pytest.raises(Exception, match="the API answered 403"):
        upgraded(
            tmp_path, Helm(manifest(web(1))), api, there=release("x"), settings=configured({"conflicts": "theirs"})
        )


@pytest.mark.parametrize(("whose", "again"), [("theirs", True), ("ours", False)])
def test_a_field_that_is_set_under_the_upgrade_is_left_at_the_next_attempt(
    tmp_path: Path, whose: str, again: bool
) -> None:
    words = "Error: UPGRADE FAILED: conflict occurred while applying object web/web apps/v1, Kind=Deployment: Apply "
    words += 'failed with 1 conflict: conflict with "kube-controller-manager" using apps/v1: .spec.replicas'
    program = Helm(manifest(web(1)), err=words)
    with pytest.raises(CommandFailed, match="conflict with") as caught:
        upgraded(tmp_path, program, FakeApi(web(5)), there=release("x"), settings=configured({"conflicts": whose}))
    assert caught.value.transient is again


@pytest.mark.parametrize(
    ("settings", "there", "line"),
    [
        (
            {},
            {"server_side": True, "server_side_before": True},
            "helm rollback web {0} --timeout 300s --force-conflicts",
        ),
        ({}, {"server_side": True, "server_side_before": False}, "helm rollback web {0} --timeout 300s"),
        ({"conflicts": "theirs"}, {}, "kubectl {1} delete --ignore-not-found --wait=false --filename -"),
    ],
)
def test_clearing_a_pending_release_follows_the_setting(
    tmp_path: Path, settings: dict[str, Any], there: dict[str, Any], line: str
) -> None:
    """A rollback sets what others hold; the record alone can be removed instead."""
    programs = FakePrograms(answers={"helm": "", "kubectl": ""})
    left = live(release("x", status="pending-upgrade", revision=3, **there))
    facts = of(tmp_path, configured(settings), programs, live=left)
    given.act(named(helm.steps(facts))["helm: clear web"])
    where = f"--kubeconfig {facts.paths.kubeconfig}"
    assert programs.lines == [line.format(f"{where} --namespace web", where)]
    if "conflicts" in settings:
        assert json.loads(programs.calls[0].command.stdin or "")["metadata"]["name"] == "sh.helm.release.v1.web.v3"


def test_after_a_failed_attempt_it_is_looked_again_how_the_release_is_applied(tmp_path: Path) -> None:
    """What was there at first has been cleared meanwhile."""
    program = Helm(manifest(web(1)))
    facts = of(tmp_path, None, FakePrograms(answers={"helm": program}), live=live(release("x", server_side=True)))
    reached(facts, FakeApi(stored(manifest=manifest(web(1)))))
    step = named(helm.steps(facts))[INSTALL]
    context: Context = eager()
    context.attempt = 2
    step.action(context)
    assert "--force-conflicts" not in program.line


def test_only_objects_that_change_are_written_anew() -> None:
    text = "---\n# Source: a.yaml\nkind: A # note\n---\n# Source: b.yaml\nkind: B\n--- # c\nkind: List\n"
    text += "items: [{kind: C}, {kind: D}]\n"
    change = lambda each: {**each, "new": 1} if each["kind"] in "BD" else None  # noqa: E731
    assert edited(text, change) == (
        "---\n# Source: a.yaml\nkind: A # note\n---\n# Source: b.yaml\n"
        '{"kind": "B", "new": 1}\n--- # c\n{"kind": "C"}\n---\n{"kind": "D", "new": 1}\n'
    )
