"""Images are found by rendering where that works, by installing where not; a launch never fails for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import LaunchError
from tasks.engine.graph import fitted
from tasks.engine.scheduler import Run
from tasks.engine.step import Context, Report, State, Step
from tasks.facts.facts import Facts
from tasks.k3d.ports import choosers
from tasks.run import components, images
from tasks.run.charts import chart_of
from tasks.run.images import key_of, remembering
from tasks.run.session import bounds
from tasks.settings.step_names import FETCH_IMAGES, FIND_IMAGES, PARTS, SYSTEM_READY, install_name
from tests import given
from tests.given import launch
from tests.given_live import deployment, eager
from tests.programs import Answer, FakePrograms

RELEASE = {"name": "web", "namespace": "web", "chart": "shop/web", "version": "1.0.0"}
CRD = "apiVersion: x/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\nenum:\n- =\nsince: 2024-02-31\n"
POD = "---\nkind: Pod\nspec:\n  containers:\n  - image: shop/web:1\n"


def made(folder: Path, programs: FakePrograms, **changes: Any) -> Facts:
    chosen = given.settings(helm={"repositories": {"shop": "https://charts.example"}, "releases": [RELEASE]})
    facts = given.facts(folder, programs, settings=chosen, **changes)
    chart = chart_of(facts, facts.releases[0])
    chart.folder(facts).mkdir(parents=True)
    (chart.folder(facts) / "web-1.0.0.tgz").touch()
    return facts


def steps(facts: Facts) -> dict[str, Step]:
    return given.by_name(fitted(images.fetch_steps(facts)))


def installed(facts: Facts) -> Step:
    def install(_context: Context) -> Report | None:
        facts.outputs.manifests["web/web"] = POD
        return None

    name = install_name(facts.releases[0])
    return remembering(facts, [Step(name=name, task="helm", action=install)])[0]


def test_what_kubernetes_reads_is_read_and_what_nobody_can_read_is_passed_over(tmp_path: Path) -> None:
    facts = made(tmp_path, FakePrograms(answers={"helm template": f"{CRD}---\na: b: c\n{POD}"}))
    report = steps(facts)[f"{FIND_IMAGES}web"].action(eager())
    assert report is not None
    assert report.why == "shop/web:1"
    assert images.known(facts, key_of(facts, facts.releases[0])) == ("shop/web:1",)


def test_a_chart_that_needs_a_cluster_costs_a_note(tmp_path: Path) -> None:
    failed = Answer(code=1, err="Error: execution error at (web/templates/x.yaml:2:4): needs x/v1")
    facts = made(tmp_path, FakePrograms(answers={"helm template": failed}, otherwise=Answer()))
    own = list(steps(facts).values())
    results = {each.name: each for each in Run(own, bounds(facts)).execute()}
    found = results[f"{FIND_IMAGES}web"]
    assert found.state is State.SKIPPED
    assert "needs x/v1" in found.notes[0]
    assert results[f"{FETCH_IMAGES}web"].why == "they are not known"


def test_what_rendering_did_not_tell_the_installation_tells_the_next_launch(tmp_path: Path) -> None:
    facts = made(tmp_path, FakePrograms(otherwise=Answer()))
    installed(facts).action(eager())
    facts.outputs.images.clear()
    assert images.known(facts, key_of(facts, facts.releases[0])) == ("shop/web:1",)


def test_a_memory_that_cannot_be_written_is_a_note_and_this_launch_still_knows(tmp_path: Path) -> None:
    facts = made(tmp_path, FakePrograms(otherwise=Answer()))
    facts.paths.images.parent.mkdir(parents=True, exist_ok=True)
    facts.paths.images.touch()
    report = installed(facts).action(eager())
    assert report is not None
    assert "images of web are not remembered" in report.notes[0]
    assert images.known(facts, key_of(facts, facts.releases[0])) == ("shop/web:1",)


def test_the_systems_images_that_cannot_be_asked_for_are_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_self: Facts) -> Any:
        raise LaunchError("the API is away")

    monkeypatch.setattr(Facts, "watched", down)
    wait = Step(name=SYSTEM_READY, task="health", action=lambda _context: Report(why="all are ready"))
    report = remembering(made(tmp_path, FakePrograms()), [wait])[0].action(eager())
    assert report == Report(why="all are ready", notes=("images of the system are not remembered: the API is away",))


def test_whatever_only_saves_time_is_optional(tmp_path: Path) -> None:
    facts = made(tmp_path, FakePrograms())
    images.remember(facts, images.system_key(facts), [deployment("dns")])
    saving = ("registry: find ", "registry: fetch ", "registry: pull into ", components.DEFER, components.RELEASE)
    plan = launch(facts, PARTS, choosers(facts))
    assert {step.name.startswith(saving) for step in plan if step.optional} == {True}
    assert all(step.optional for step in plan if step.name.startswith(saving) and step.skip is None)
