"""Values of a release are merged as Helm does it, and fields that others have set stay or go by a setting."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks import helm
from tasks.core.errors import BadInput
from tasks.engine.step import Context, Report
from tasks.facts.facts import Facts
from tasks.kube.releases import LiveRelease
from tasks.process.command import CommandFailed
from tasks.run.releases import edited, merged_values, release_fingerprint
from tasks.settings.derived import FINGERPRINT
from tasks.settings.schema import Release, Settings
from tests import given
from tests.given_direct import DirectApi
from tests.given_live import FakeApi, deployment, eager, manifest, named, obj, packed, reached, release, stored
from tests.programs import Answer, Call, FakePrograms
from tests.test_helm import INSTALL, configured, live, of

VALUES = {"IP": "10.0.0.1", "DOMAIN": "example.test"}
SCALED = {"manager": "kubectl", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
NOTE = "release web: spec.replicas of deployment/web in web, owned by kubectl (scale), is "


def one(**more: Any) -> Release:
    return Release.model_validate({"name": "web", "namespace": "apps", "chart": "repo/web", **more})


def merged(tmp_path: Path, *files: str, **values: Any) -> dict[str, Any]:
    for number, text in enumerate(files):
        (tmp_path / f"{number}.yaml").write_text(text)
    names = tuple(f"{number}.yaml" for number in range(len(files)))
    return merged_values(one(values_files=names, values=values), tmp_path, VALUES)


@pytest.mark.parametrize(
    ("files", "values", "result"),
    [
        ((), {}, {}),
        (("a: 1",), {}, {"a": 1}),
        (("a: 1\nb: 1", "b: 2\nc: 2"), {"c": 3}, {"a": 1, "b": 2, "c": 3}),
        (("a: {b: {c: 1, d: 1}}", "a: {b: {d: 2}}"), {"a": {"b": {"e": 3}}}, {"a": {"b": {"c": 1, "d": 2, "e": 3}}}),
        (("a: [1, 2]", "a: [3]"), {}, {"a": [3]}),
        (("a: [{b: 1}]",), {"a": [{"c": 2}]}, {"a": [{"c": 2}]}),
        (("a: {b: 1}", "a: text"), {}, {"a": "text"}),
        (("a: text", "a: {b: 1}"), {}, {"a": {"b": 1}}),
        (("a: {b: 1}", "a: null"), {}, {"a": None}),
        (("a: {b: 1, c: 1}", "a: {b: null}"), {}, {"a": {"b": None, "c": 1}}),
        (("a: null", "a: {b: 1}"), {}, {"a": {"b": 1}}),
        (("a: {b: 1}\nc: 1\n---\na: {b: 2}\n---\nc: null",), {}, {"a": {"b": 2}, "c": None}),
        (("a: {b: 1}", "a: {}"), {}, {"a": {"b": 1}}),
        (("a: {b: 1}",), {"a": None}, {"a": None}),
        (("a: 1", "", "# nothing\n", "null", "{}"), {}, {"a": 1}),
        (("a: yes\nb: 2024-01-01\nc: 10:30\n1: d",), {}, {"a": True, "b": "2024-01-01", "c": "10:30", "1": "d"}),
    ],
)
def test_values_are_merged_as_helm_does(
    tmp_path: Path, files: tuple[str, ...], values: dict[str, Any], result: dict[str, Any]
) -> None:
    assert merged(tmp_path, *files, **values) == result


def test_files_are_seen_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, home = tmp_path / "root", tmp_path / "home"
    for folder, number in ((root, 1), (home, 2)):
        folder.mkdir()
        (folder / "v.yaml").write_text(f"{folder.name}: {number}")
        (folder / "v.json").write_text(f'{{"json": {number}}}')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    assert merged_values(one(values_files=["v.yaml"]), root, {}) == {"root": 1}
    assert merged_values(one(values_files=["v.json", "~/v.yaml"]), root, {}) == {"json": 1, "home": 2}
    assert merged_values(one(values_files=[str(home / "v.json")]), root, {}) == {"json": 2}


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        (None, "cannot read", "No such file"),
        ("- a", "0.yaml, document 1 (line 1) is a list", "release 'web'"),
        ("text", "is a str, not a mapping", "release 'web'"),
        ("a: 1\n---\n- b", "0.yaml, document 2 (line 3) is a list", "release 'web'"),
        ("a: .inf", "0.yaml, document 1", "not a number in JSON"),
    ],
)
def test_a_file_that_helm_rejects_names_the_release(tmp_path: Path, text: str | None, what: str, why: str) -> None:
    if text is not None:
        (tmp_path / "0.yaml").write_text(text)
    with pytest.raises(BadInput) as error:
        merged_values(one(values_files=["0.yaml"]), tmp_path, VALUES)
    assert what in error.value.what
    assert why in error.value.why
    assert error.value.fix


def test_odd_values_and_an_odd_home_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the values of 'web'"):
        merged_values(one(values={"a": float("nan")}), tmp_path, VALUES)
    with pytest.raises(BadInput, match=r"~nobody-of-that-name/v\.yaml") as error:
        merged_values(one(values_files=["~nobody-of-that-name/v.yaml"]), tmp_path, VALUES)
    assert "release 'web'" in error.value.why


def test_the_settings_are_not_changed(tmp_path: Path) -> None:
    given = one(values={"a": {"b": "${IP}"}}, values_files=["0.yaml"])
    (tmp_path / "0.yaml").write_text("a: {c: 1}")
    assert merged_values(given, tmp_path, VALUES) == {"a": {"b": "10.0.0.1", "c": 1}}
    assert given.values == {"a": {"b": "${IP}"}}


BASE: dict[str, Any] = {"a": {"b": 1, "c": [1, 2]}, "d": "é"}


def fingerprint(chart: str = "repo/web 1.0", values: dict[str, Any] | None = None, **more: Any) -> str:
    return release_fingerprint(one(**more), chart, BASE if values is None else values)


def test_a_fingerprint_is_the_same_for_the_same_installation() -> None:
    same = {
        fingerprint(),
        fingerprint(values={"d": "é", "a": {"c": [1, 2], "b": 1}}),
        fingerprint(timeout=5, wait=False, needs=["db"], values_files=["x"]),
    }
    assert len(same) == 1
    assert len(same.pop()) == 16


def test_a_fingerprint_changes_with_all_that_is_installed() -> None:
    found = [
        fingerprint(),
        fingerprint(chart="repo/web 1.1"),
        fingerprint(name="other"),
        fingerprint(namespace="other"),
        fingerprint(values={}),
        fingerprint(values={**BASE, "d": None}),
        fingerprint(values={**BASE, "d": "e"}),
        fingerprint(values={**BASE, "a": {"b": "1", "c": [1, 2]}}),
        fingerprint(values={**BASE, "a": {"b": 1, "c": [2, 1]}}),
    ]
    assert len(set(found)) == len(found)


def web(replicas: int, *entries: Mapping[str, Any]) -> dict[str, Any]:
    created = deployment("web", "web", metadata={"managedFields": list(entries)} if entries else {})
    return {**created, "spec": {"replicas": replicas}}


class Helm:
    """Renders a manifest, has it post-rendered as either version does, and says what it has installed."""

    def __init__(self, rendered: str, err: str = "") -> None:
        self.rendered, self.err, self.line = rendered, err, ""

    def __call__(self, call: Call) -> Answer:
        self.line, flags, text = call.line, list(call.command.argv), self.rendered
        if "--post-renderer" in flags:
            name = flags[flags.index("--post-renderer") + 1]
            if name.startswith("/"):
                argv = [name, *(each.partition("=")[2] for each in flags if each.startswith("--post-renderer-args="))]
            else:
                argv = [
                    call.env["OPENFRAME_PYTHON"],
                    f"{call.env['HELM_PLUGINS'].split(os.pathsep)[0]}/{name}/client.py",
                ]
            done = subprocess.run(argv, input=text.encode(), env=dict(call.env), capture_output=True, check=False)
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
def test_the_chart_wins_and_other_values_are_noted(tmp_path: Path, major: int, server_side: bool, forced: bool) -> None:
    """Helm 4 refuses --force-conflicts for releases of Helm 3, and Helm 3 does not have it: both override without."""
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


@pytest.mark.parametrize(
    ("left", "again"), [((), 1), (("own",), 0)], ids=["the release has it no more", "still has it"]
)
def test_an_own_object_that_helm_removes_is_applied_again(tmp_path: Path, left: tuple[str, ...], again: int) -> None:
    """Its manifest may have been applied before Helm did so, or be unchanged."""
    own = tmp_path / "own.yaml"
    own.write_text(json.dumps(obj("ConfigMap", "own", "web", data={"by": "the user"})))
    there = release("x", objects=[obj("ConfigMap", name) for name in ("own", "other")])
    api = DirectApi()
    program = Helm(manifest(web(1), *(obj("ConfigMap", name) for name in left)))
    settings = configured(manifests={"files": [str(own)]})
    report, _ = upgraded(tmp_path, program, api, there=there, settings=settings)
    assert [sent["data"] for _, sent in api.patched] == [{"by": "the user"}] * again
    assert ["web/configmap/own belongs to a manifest now" in note for note in report.notes] == [True] * again


def test_what_helm_does_not_set_by_the_client_is_applied_after_it(tmp_path: Path) -> None:
    """Of custom resources Helm sends only what differs from the revision before."""
    api = FakeApi(web(5, SCALED))
    programs = FakePrograms(
        answers={"helm": Helm(manifest(obj("Deployment", "web", spec={"replicas": 1}))), "kubectl": ""}
    )
    facts = of(tmp_path, None, programs, live=live(release("x", objects=[web(1)])), helm_major=3)
    reached(facts, api)
    assert given.act(named(helm.steps(facts))[INSTALL]).notes == (f"{NOTE}set to the chart's value",)
    _, applied = programs.calls
    assert "apply --server-side --force-conflicts" in applied.line
    sent = json.loads((applied.command.stdin or "").removeprefix("---"))
    assert (sent["metadata"]["namespace"], sent["spec"]) == ("web", {"replicas": 1})


@pytest.mark.parametrize(
    ("major", "server_side", "sent"), [(4, True, {}), (4, False, {"replicas": 5}), (3, False, {"replicas": 5})]
)
def test_by_a_setting_their_value_stays(tmp_path: Path, major: int, server_side: bool, sent: dict[str, Any]) -> None:
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
    mark = program.line.partition(f"{FINGERPRINT}=")[2].split()[0]
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
def test_a_field_set_during_the_upgrade_is_left_at_the_next_attempt(tmp_path: Path, whose: str, again: bool) -> None:
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
def test_clearing_obeys_a_setting(tmp_path: Path, settings: dict[str, Any], there: dict[str, Any], line: str) -> None:
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


@pytest.mark.parametrize(
    ("event", "state", "installed", "cleared"),
    [
        ("post-install", {}, False, True),
        ("pre-install", {}, False, True),
        ("post-upgrade", {}, False, False),
        ("post-install", {"version": "2"}, False, False),
        ("post-install", {}, True, False),
    ],
)
def test_a_first_installation_that_has_failed_is_made_again_where_hooks_belong_to_it(
    tmp_path: Path, event: str, state: dict[str, Any], installed: bool, cleared: bool
) -> None:
    program = Helm(manifest(web(1)))
    programs = FakePrograms(answers={"helm": program, "helm uninstall": ""})
    facts = of(tmp_path, None, programs, live=live(*([release("x")] if installed else ())))
    secret = stored(**{"status": "failed", **state})
    secret["data"]["release"] = packed("", hooks=[{"events": [event]}])
    reached(facts, FakeApi(secret))
    context: Context = eager()
    context.attempt = 2
    named(helm.steps(facts))[INSTALL].action(context)
    assert bool(programs.calls_of("helm uninstall web")) is cleared


def test_only_objects_that_change_are_written_anew() -> None:
    text = "---\n# Source: a.yaml\nkind: A # note\n---\n# Source: b.yaml\nkind: B\n--- # c\nkind: List\n"
    text += "items: [{kind: C}, {kind: D}]\n"
    change = lambda each: {**each, "new": 1} if each["kind"] in "BD" else None  # noqa: E731
    assert edited(text, change) == (
        "---\n# Source: a.yaml\nkind: A # note\n---\n# Source: b.yaml\n"
        '{"kind": "B", "new": 1}\n--- # c\n{"kind": "C"}\n---\n{"kind": "D", "new": 1}\n'
    )
