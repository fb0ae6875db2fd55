"""Images: found by rendering or by installing, pulled ahead of pods; no launch waits or fails for it."""

from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import LaunchError
from tasks.engine.graph import fitted
from tasks.engine.scheduler import Run
from tasks.engine.step import Context, Report, State, Step, Stopped
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.k3d.ports import choosers
from tasks.run import components, images
from tasks.run import images as known_images
from tasks.run.charts import chart_of
from tasks.run.images import key_of, remember_size, remembering, size_of
from tasks.run.session import bounds
from tasks.settings.derived import (
    FETCH_IMAGES,
    FIND_IMAGES,
    PARTS,
    PULL_AHEAD,
    SYSTEM,
    SYSTEM_READY,
    install_name,
)
from tests import given
from tests.checks.given import engine
from tests.given import facts, launch
from tests.given_live import acted, deployment, eager
from tests.programs import Answer, FakePrograms

RELEASE = {"name": "web", "namespace": "web", "chart": "shop/web", "version": "1.0.0"}
CRD = "apiVersion: x/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\nenum:\n- =\nsince: 2024-02-31\n"
POD = "---\nkind: Pod\nspec:\n  containers:\n  - image: shop/web:1\n"
RELEASES = [
    {"name": "web", "namespace": "platform", "chart": "shop/web", "version": "1.0.0"},
    {"name": "later", "namespace": "later", "chart": "shop/later", "version": "1.0.0", "wait": False},
]


def image_facts(folder: Path, programs: FakePrograms, **changes: Any) -> Facts:
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
    facts = image_facts(tmp_path, FakePrograms(answers={"helm template": f"{CRD}---\na: b: c\n{POD}"}))
    assert acted(steps(facts)[f"{FIND_IMAGES}web"]).why == "shop/web:1"
    assert images.known(facts, key_of(facts, facts.releases[0])) == ("shop/web:1",)


def test_a_chart_that_needs_a_cluster_costs_a_note(tmp_path: Path) -> None:
    failed = Answer(code=1, err="Error: execution error at (web/templates/x.yaml:2:4): needs x/v1")
    facts = image_facts(tmp_path, FakePrograms(answers={"helm template": failed}, otherwise=Answer()))
    own = list(steps(facts).values())
    results = {each.name: each for each in Run(own, bounds(facts)).execute()}
    found = results[f"{FIND_IMAGES}web"]
    assert found.state is State.SKIPPED
    assert "needs x/v1" in found.notes[0]
    assert results[f"{FETCH_IMAGES}web"].why == "unknown"


def test_what_rendering_did_not_tell_the_installation_tells_the_next_launch(tmp_path: Path) -> None:
    facts = image_facts(tmp_path, FakePrograms(otherwise=Answer()))
    installed(facts).action(eager())
    facts.outputs.images.clear()
    assert images.known(facts, key_of(facts, facts.releases[0])) == ("shop/web:1",)


def test_a_memory_that_cannot_be_written_is_a_note_and_this_launch_still_knows(tmp_path: Path) -> None:
    facts = image_facts(tmp_path, FakePrograms(otherwise=Answer()))
    facts.paths.images.parent.mkdir(parents=True, exist_ok=True)
    facts.paths.images.touch()
    report = acted(installed(facts))
    assert "images of web could not be recorded" in report.notes[0]
    assert images.known(facts, key_of(facts, facts.releases[0])) == ("shop/web:1",)


def test_system_images_that_cannot_be_queried_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_self: Facts) -> Any:
        raise LaunchError("the API is away")

    monkeypatch.setattr(Facts, "watched", down)
    wait = Step(name=SYSTEM_READY, task="health", action=lambda _context: Report(why="all are ready"))
    report = remembering(image_facts(tmp_path, FakePrograms()), [wait])[0].action(eager())
    assert report == Report(why="all are ready", notes=("images of the system could not be recorded: the API is away",))


def test_whatever_only_saves_time_is_optional(tmp_path: Path) -> None:
    facts = image_facts(tmp_path, FakePrograms())
    images.remember(facts, images.system_key(facts), [deployment("dns")])
    saving = ("registry: find ", "registry: fetch ", "registry: pull into ", components.DEFER, components.RELEASE)
    plan = launch(facts, PARTS, choosers(facts))
    assert {step.name.startswith(saving) for step in plan if step.optional} == {True}
    assert all(step.optional for step in plan if step.name.startswith(saving) and step.skip is None)


def test_sizes_are_remembered(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert size_of(found, "a:1") is None
    remember_size(found, "a:1", 0)
    assert size_of(found, "a:1") is None
    remember_size(found, "a:1", 12)
    assert (size_of(found, "a:1"), size_of(found, "b:1")) == (12, None)


def launching(folder: Path, programs: FakePrograms | None = None, *, cpus: int = 8, **changes: Any) -> Facts:
    chosen = given.settings(
        cluster=changes.pop("chosen", {}),
        helm={"repositories": {"shop": "https://charts.example"}, "releases": RELEASES},
    )
    return given.facts(folder, programs, settings=chosen, host=engine(NCPU=cpus), **changes)


def ahead(facts: Facts, parts: tuple[str, ...] = PARTS) -> dict[str, Step]:
    plan = given.by_name(launch(facts, parts, choosers(facts)))
    return {name.removeprefix(PULL_AHEAD): step for name, step in plan.items() if name.startswith(PULL_AHEAD)}


def remember(facts: Facts, *images: str) -> str:
    """What an earlier launch left of the first release; its key."""
    key = known_images.key_of(facts, facts.releases[0])
    known_images.remember(facts, key, [{"spec": {"containers": [{"image": image} for image in images]}}])
    return key


def test_the_systems_come_first_where_an_earlier_launch_tells_them(tmp_path: Path) -> None:
    facts = launching(tmp_path)
    pods = [{"spec": {"containers": [{"image": "rancher/coredns:1"}]}}]
    known_images.remember(facts, known_images.system_key(facts), pods)
    found = ahead(facts)
    assert next(iter(found)) == SYSTEM
    assert found[SYSTEM].until == (SYSTEM_READY,)


@pytest.mark.parametrize(
    ("cpus", "desired", "done"),
    [(8, None, True), (4, None, True), (3, None, False), (2, True, True), (8, False, False)],
)
def test_the_setting_decides_else_the_processors(tmp_path: Path, cpus: int, desired: bool | None, done: bool) -> None:
    assert bool(ahead(launching(tmp_path, cpus=cpus, chosen={"pull_ahead": desired}))) is done


def test_only_for_a_cluster_that_is_being_made_with_its_releases(tmp_path: Path) -> None:
    exists = given.cluster_state(Presence.RUNNING, given.node("server-0"))
    assert ahead(launching(tmp_path, cluster=exists)) == {}
    assert ahead(launching(tmp_path), ("prepull", "registry", "cluster")) == {}


def test_nobody_waits_for_them(tmp_path: Path) -> None:
    facts = launching(tmp_path)
    plan = launch(facts, PARTS, choosers(facts))
    assert not [step.name for step in plan if any(need.startswith(PULL_AHEAD) for need in (*step.needs, *step.until))]


def test_they_are_pulled_inside_of_server_0(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"docker exec": "shop/web:1\n"})
    facts = launching(tmp_path, programs)
    remember(facts, "shop/web:1", "shop/side:1")
    report = given.act(ahead(facts)["web in platform"])
    (line,) = programs.lines
    assert line.startswith("docker exec k3d-openframe-dev-server-0 sh -c ")
    assert line.endswith(" sh shop/web:1 shop/side:1")
    assert report.why == "1 of 2 images"


def test_a_chart_that_names_none_has_nothing_to_pull(tmp_path: Path) -> None:
    programs = FakePrograms()
    facts = launching(tmp_path, programs)
    step = ahead(facts)["web in platform"]
    remember(facts)  # while the plan runs, by what the chart is rendered to
    assert given.act(step).skipped
    assert programs.calls == []


@pytest.mark.parametrize("answer", [Answer(code=1, err="No such container"), Answer(late=True)])
def test_what_cannot_be_pulled_now_is_left_to_the_node(tmp_path: Path, answer: Answer) -> None:
    facts = launching(tmp_path, FakePrograms(answers={"docker exec": answer}))
    remember(facts, "shop/web:1")
    assert "left to the node" in given.act(ahead(facts)["web in platform"]).why


def test_one_that_is_no_longer_needed_ends(tmp_path: Path) -> None:
    facts = launching(tmp_path, FakePrograms(answers={"docker exec": Stopped("it")}))
    remember(facts, "shop/web:1")
    with pytest.raises(Stopped):
        given.act(ahead(facts)["web in platform"])
