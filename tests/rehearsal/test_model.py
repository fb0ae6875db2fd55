from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.core.errors import BadInput
from tasks.engine.estimate import Machine, estimate, simulate
from tasks.engine.step import Bounds, Step
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.k3d.ports import Choosers
from tasks.rehearsal.model import AFTER, BEFORE, Cost, Profile, Scene, activities, dump_profile, load_profile
from tasks.rehearsal.what_if import WhatIf, predict, scene, staged
from tasks.run.images import remember_size
from tasks.settings.derived import PARTS
from tests import given
from tests.given import launch

RELEASES = {
    "repositories": {"one": "https://charts.example.org"},
    "releases": [
        {"name": "a", "namespace": "platform", "chart": "one/a", "version": "1.0.0"},
        {"name": "b", "namespace": "platform", "chart": "one/b", "version": "1.0.0", "needs": ["a"]},
    ],
}
WIDE = Bounds(work=4, kinds={"download": 3})
CHOOSERS = Choosers(next_ports=lambda ports, _taken: ports, free_port=lambda desired: desired or 5000)


def a_launch(folder: Path, **cluster: object) -> tuple[Facts, list[Step]]:
    settings = given.settings(helm=RELEASES, cluster=cluster)
    facts = given.facts(folder, settings=settings, cluster=given.cluster_state(Presence.ABSENT))
    return facts, launch(facts, PARTS, CHOOSERS)


def play(
    folder: Path, profile: Profile, cores: float = 2.0, **cluster: object
) -> tuple[list[Step], dict[str, tuple[float, float]]]:
    """The steps of a launch, and when each and what the cluster does begins and ends."""
    facts, steps = a_launch(folder, **cluster)
    return steps, simulate(activities(steps, scene(steps, facts, WhatIf()), profile), Machine(cores=cores), WIDE)


@pytest.fixture
def profile() -> Profile:
    return load_profile(given.ROOT, "default")


def test_a_launch_ends_after_all_its_steps_and_begins_before_them(tmp_path: Path, profile: Profile) -> None:
    steps, spans = play(tmp_path, profile)
    assert spans[BEFORE][0] == 0.0
    assert spans[AFTER][1] == max(end for _, end in spans.values())
    active = [step.name for step in steps if not step.until]
    assert all(spans[name][0] >= spans[BEFORE][1] - 1e-9 for name in active)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("~boot", "cluster: first answer"),
        ("~settle", "cluster: API ready"),
        ("~finish", "cluster: create"),
        ("~nodes", "health: nodes are ready"),
        ("~system", "health: system services"),
        ("helm: install a in platform", "helm: a in platform ready"),
        ("helm: a in platform ready", "helm: install b in platform"),
    ],
)
def test_waits_end_with_what_they_wait_for(earlier: str, later: str, tmp_path: Path, profile: Profile) -> None:
    _, spans = play(tmp_path, profile)
    assert spans[later][1] >= spans[earlier][1]


def test_fewer_cores_take_longer(tmp_path: Path, profile: Profile) -> None:
    ends = [play(tmp_path, profile, cores)[1][AFTER][1] for cores in (1, 2, 8)]
    assert ends == sorted(set(ends), reverse=True)


@pytest.mark.parametrize("change", [{"agents": 3}, {"balanced": True}, {"servers": 3}, {"cached": False}])
def test_more_to_do_takes_longer(change: dict[str, object], tmp_path: Path, profile: Profile) -> None:
    _facts, steps = a_launch(tmp_path)
    slow = Machine(cores=2, line=1e6)
    usual = simulate(activities(steps, Scene(), profile), slow, WIDE)
    more = simulate(activities(steps, Scene(**change), profile), slow, WIDE)  # type: ignore[arg-type]
    assert more[AFTER][1] >= usual[AFTER][1] - 1e-9
    assert any(end > usual[name][1] for name, (_, end) in more.items() if name in usual)


def test_what_is_pulled_ahead_is_there_when_its_pod_is_placed(tmp_path: Path, profile: Profile) -> None:
    ends = {}
    for desired in (False, True):
        _, spans = play(tmp_path, profile, 8, pull_ahead=desired)
        ends[desired] = spans[AFTER][1]
        pulls = [name for name in spans if name.startswith("~pull ahead of ")]
        assert bool(pulls) is desired
        assert all(spans[name][0] >= spans["~settle"][1] - 1e-9 for name in pulls)
        for name in pulls:
            assert spans[f"~{name.removeprefix('~pull ahead of ')}"][0] >= spans[name][1] - 1e-9
    assert ends[True] < ends[False]


def test_images_that_are_known_have_their_own_size(tmp_path: Path, profile: Profile) -> None:
    facts, steps = a_launch(tmp_path)
    remember_size(facts, facts.shape.image, 1_000_000_000)
    seen = scene(steps, facts, WhatIf(cache=False))
    assert seen.sizes == {facts.shape.image: 1e9}
    slow = Machine(cores=2, line=1e8)
    pull = f"prepull: {facts.shape.image}"
    known, unknown = (
        simulate(activities(steps, each, profile), slow, WIDE)[pull] for each in (seen, Scene(cached=False))
    )
    assert known[1] - known[0] >= 10.0 > unknown[1] - unknown[0]


@pytest.mark.parametrize(("image", "twice"), [("registry:2", True), ("registry:2.8.3", True), ("registry:3", False)])
def test_a_cache_of_version_two_brings_an_image_twice(image: str, twice: bool, tmp_path: Path) -> None:
    chosen = given.settings(helm=RELEASES, registries={"image": image})
    facts = given.facts(tmp_path, settings=chosen, cluster=given.cluster_state(Presence.ABSENT))
    seen = scene(launch(facts, PARTS, CHOOSERS), facts, WhatIf(cache=False))
    assert seen.twice is twice
    assert seen.direct == {image}  # it comes before there is a cache
    slow, node = Machine(cores=2, line=1e7), f"prepull: {facts.shape.image}"
    profile = load_profile(given.ROOT, "default")
    found = activities(launch(facts, PARTS, CHOOSERS), seen, profile)
    once = activities(launch(facts, PARTS, CHOOSERS), replace(seen, twice=False), profile)
    assert (simulate(found, slow, WIDE)[node][1] > simulate(once, slow, WIDE)[node][1] + 1) is twice


def renamed(steps: Sequence[Step]) -> list[Step]:
    """The same plan with other names and texts."""
    names = {step.name: f"step {number}" for number, step in enumerate(steps)}
    return [
        replace(
            step,
            name=names[step.name],
            needs=tuple(names[need] for need in step.needs),
            until=tuple(names[need] for need in step.until),
            awaits=tuple(names[need] for need in step.awaits),
            why="none",
            skip=None if step.skip is None else "none",
            notes=(),
        )
        for step in steps
    ]


@pytest.mark.parametrize("what_if", [WhatIf(), WhatIf(line=1e6, cache=False, cores=4)], ids=["as it is", "otherwise"])
def test_names_and_texts_of_a_plan_mean_nothing(what_if: WhatIf, tmp_path: Path, profile: Profile) -> None:
    facts, steps = a_launch(tmp_path, agents=2, pull_ahead=True)
    reported, expected = staged(given.ROOT, what_if, steps, facts, WIDE)
    found = predict(profile, what_if, steps, facts, WIDE)
    again, expected_again = staged(given.ROOT, what_if, renamed(steps), facts, WIDE)
    assert again == reported
    assert [*expected_again.values()] == [*expected.values()]
    other = predict(profile, what_if, renamed(steps), facts, WIDE)
    assert (other.total_s, other.floor_s, other.changes) == (found.total_s, found.floor_s, found.changes)
    assert [*other.times.values()] == [*found.times.values()]
    assert [took for _, took in other.path] == [took for _, took in found.path]


def test_the_stand_ins_are_told_of_each_image_and_release(tmp_path: Path) -> None:
    facts, steps = a_launch(tmp_path)
    reported, _ = staged(given.ROOT, WhatIf(), steps, facts, WIDE)
    assert {"install platform/a", "release ready platform/a", "install platform/b"} <= reported.keys()
    assert {f"pull {image}" for image in facts.images} <= reported.keys()
    assert reported["create returns"] > reported["create prepare"] + reported["server answers"]
    assert all(seconds >= 0 for seconds in reported.values())


def test_what_is_staged_is_what_is_expected(tmp_path: Path, profile: Profile) -> None:
    facts, steps = a_launch(tmp_path)
    _, expected = staged(given.ROOT, WhatIf(), steps, facts, WIDE)
    reported = predict(profile, WhatIf(), steps, facts, WIDE)
    assert estimate(steps, expected, WIDE).total_s == pytest.approx(reported.total_s, rel=0.1)
    assert expected.keys() == {step.name for step in steps if step.skip is None and not step.until}


def test_on_a_cluster_that_stands_nothing_is_told_of_its_creation(tmp_path: Path) -> None:
    facts = given.facts(tmp_path, settings=given.settings(helm={"releases": []}))
    steps = launch(facts, ("namespaces",), CHOOSERS)
    assert "create returns" not in staged(given.ROOT, WhatIf(), steps, facts, WIDE)[0]


def test_an_answer_names_the_change_that_helps_most(tmp_path: Path, profile: Profile) -> None:
    facts, steps = a_launch(tmp_path)
    found = predict(profile, WhatIf(line=1e5, cache=False), steps, facts, WIDE)
    assert found.total_s > found.floor_s > 0
    assert found.changes[0].what in ("twice the bandwidth", "caches that have the images")
    assert [each.total_s for each in found.changes] == sorted(each.total_s for each in found.changes)
    assert "computed, not measured: the line, missing caches" in found.rests_on
    assert sum(took for _, took in found.path) == pytest.approx(found.total_s, abs=0.5)


def test_a_profile_is_read_as_it_was_written(tmp_path: Path, profile: Profile) -> None:
    folder = tmp_path / "config" / "rehearsal"
    folder.mkdir(parents=True)
    (folder / "same.yaml").write_text(dump_profile(profile))
    assert load_profile(tmp_path, "same") == profile


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("no_such_figure: 3\n", "no_such_figure"),
        ("- a list\n", "not a mapping"),
        ("boot: 3\n", "boot is not a cost"),
        ("boot: {cpu: -1}\n", "boot is not a cost"),
        ("boot: {cpu: fast}\n", "boot is not a cost"),
        ("boot: {gpu: 1}\n", "boot is not a cost"),
    ],
)
def test_a_file_that_is_no_profile_is_told_with_its_path(text: str, output: str, tmp_path: Path) -> None:
    folder = tmp_path / "config" / "rehearsal"
    folder.mkdir(parents=True)
    (folder / "odd.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        load_profile(tmp_path, "odd")
    assert "odd.yaml" in f"{caught.value}"
    assert output in f"{caught.value}"


def test_an_unknown_profile_is_told_with_those_that_are_there() -> None:
    with pytest.raises(BadInput, match="no time profile 'nowhere'") as caught:
        load_profile(given.ROOT, "nowhere")
    assert "default" in caught.value.fix


def test_costs_without_figures_take_no_time(tmp_path: Path) -> None:
    _, spans = play(tmp_path, Profile())
    assert spans[AFTER][1] < 2.0  # bytes that are unpacked
    assert Profile().boot == Cost()
