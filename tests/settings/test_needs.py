"""What `needs` and `before` of the user's own steps may name; what cannot be met is found before anything starts."""

from pathlib import Path
from typing import Any

import pytest

from tasks.settings.needs import Target, findings, references
from tasks.settings.schema import Settings
from tests.settings.project import project, refused

RELEASES = [
    {"name": "db", "namespace": "data", "chart": "./c"},
    {"name": "api", "namespace": "apps", "chart": "./c", "needs": ["db"]},
    {"name": "api", "namespace": "other", "chart": "./c"},
    {"name": "off", "namespace": "apps", "chart": "./c", "enabled": False},
    {"name": "seed", "namespace": "apps", "chart": "./c"},
]


def given(*steps: dict[str, Any]) -> Settings:
    whole = [{"name": f"s{number}", "command": ["x"], **each} for number, each in enumerate(steps)]
    manifests = {"files": ["deploy/db.yaml", {"path": "late", "needs": ["data/db"]}]}
    return Settings.model_validate({"helm": {"releases": RELEASES}, "manifests": manifests, "steps": whole})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("secrets", "secrets"),
        ("task:secrets", "secrets"),
        ("db", "release:data/db"),
        ("release:db", "release:data/db"),
        ("apps/api", "release:apps/api"),
        ("release:other/api", "release:other/api"),
        ("deploy/db.yaml", "manifests:deploy/db.yaml"),
        ("manifests:late", "manifests:late"),
        ("step:seed", "step:seed"),
        ("release:seed", "release:apps/seed"),
    ],
)
def test_a_name_alone_is_enough_where_it_is_of_one_thing(name: str, meant: str) -> None:
    settings = given({"needs": [name]}, {"name": "seed"})
    assert [str(each) for each in references(settings).needs["s0"]] == [meant]
    assert list(findings(settings)) == []


@pytest.mark.parametrize(
    ("step", "reported"),
    [
        ({"needs": ["dbb"]}, "did you mean db?"),
        ({"needs": ["release:seeed"]}, "did you mean release:seed?"),
        ({"before": ["stepp:seed"]}, "did you mean step:seed?"),
        ({"needs": ["api"]}, "write release:apps/api or release:other/api"),
        ({"needs": ["seed"]}, "write release:apps/seed or step:seed"),
        ({"needs": ["off"]}, "that is not enabled"),
        ({"needs": ["release:off"]}, "that is not enabled"),
        ({"needs": ["s0"]}, "that is the step itself"),
        ({"needs": ["steps"]}, "nothing has that name"),
        ({"needs": ["bye"]}, "step:bye runs at `invoke down`"),
        ({"when": "down", "needs": ["db"]}, "when all else is done"),
        ({"needs": ["release:apps/api"], "before": ["release:db"]}, "release:data/db → "),
        ({"before": ["registry"], "needs": ["cluster"]}, "cluster → registry → step:s0"),
        ({"needs": ["helm"], "before": ["apps/api"]}, "in a cycle"),
        ({"needs": ["late"], "before": ["db"]}, "in a cycle"),
        ({"needs": ["health"], "before": ["db"]}, "in a cycle"),
        ({"needs": ["db"], "before": ["secrets"]}, "in a cycle"),
        ({"needs": ["step:seed"], "before": ["step:seed"]}, "step:seed"),
    ],
)
def test_what_cannot_be_met(step: dict[str, Any], reported: str) -> None:
    found = list(findings(given(step, {"name": "seed"}, {"name": "bye", "when": "down"})))
    assert any(reported in f"{each.why} {each.fix}" for each in found), found
    assert all(each.path[0] == "steps" for each in found)


def test_what_is_possible() -> None:
    """The user's manifests may come before a release, and health after all; a step may come before the cluster."""
    settings = given(
        {"needs": ["deploy/db.yaml"], "before": ["db", "health"]},
        {"before": ["cluster"]},
        {"needs": ["helm", "manifests", "health"]},
        {"needs": []},
    )
    assert list(findings(settings)) == []
    assert references(settings).needs["s1"] == []
    assert references(given({})).needs["s0"] == [Target("task", "cluster")]
    assert references(settings).before["s1"] == [Target("task", "cluster")]


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("a: {command: ls -l}", "`shell: true`"),
        ("a: {shell: true, command: [ls, -l]}", "must be one text"),
        ("a: {command: [ls], needs: [nothing]}", "line 4"),
        ("a: {command: [ls], secrets: {T: {}}}", "has 0 sources"),
        ("a: {command: [ls], secrets: {T: {env: V}}, env: {T: x}}", "one value"),
        ("a: {command: [ls], secrets: {1x: {env: V}}}", "name of a variable"),
        ("a: {command: [ls], env: {A B: x}}", "name of a variable"),
        ("a: {command: [ls], when: down, inputs: []}", "cannot be combined"),
        ("a_b: {command: [ls]}", "a-z"),
        ("a: {}", "command"),
    ],
)
def test_a_bad_step_is_told_with_its_place(tmp_path: Path, text: str, reported: str) -> None:
    root = project(tmp_path, invoke=f"openframe:\n  silent: false\n  steps:\n    {text}\n")
    assert reported in str(refused(root))


def test_an_image_in_a_command_is_refused_where_no_shell_would_know_it(tmp_path: Path) -> None:
    shell = "b: {shell: true, command: 'echo ${image:-base} ${tag:0:7}'}"
    steps = f"a: {{command: [run, 'x=${{image:base}}'], env: {{I: '${{image:base}}'}}}}, {shell}"
    root = project(tmp_path, invoke=f"openframe:\n  builds: {{base: {{}}}}\n  steps: {{{steps}}}\n")
    reported = str(refused(root))
    assert "line 3: steps.a.command names ${image:base}" in reported
    assert "steps.b" not in reported


def test_a_build_that_begins_from_another_is_refused_with_its_place(tmp_path: Path) -> None:
    builds = "{base: {}, api: {args: {BASE: '${image:base}', V: '${image:-base}'}}}"
    root = project(tmp_path, invoke=f"openframe:\n  silent: false\n  builds: {builds}\n")
    reported = str(refused(root))
    assert "line 3: builds.api.args.BASE names ${image:base}" in reported
    assert "args.V" not in reported
