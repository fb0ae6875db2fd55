"""Images pulled into server-0 before pods are placed: when, which, and that nothing waits or fails for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.engine.step import Step, Stopped
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.k3d.ports import choosers
from tasks.run import images as known_images
from tasks.settings.step_names import (
    API_READY,
    FETCH_IMAGES,
    PARTS,
    PULL,
    PULL_AHEAD,
    SYSTEM,
    SYSTEM_READY,
    install_name,
    ready_name,
)
from tests import given
from tests.checks.given import engine
from tests.given import launch
from tests.programs import Answer, FakePrograms

RELEASES = [
    {"name": "web", "namespace": "platform", "chart": "shop/web", "version": "1.0.0"},
    {"name": "later", "namespace": "later", "chart": "shop/later", "version": "1.0.0", "wait": False},
]


def made(folder: Path, programs: FakePrograms | None = None, *, cpus: int = 8, **changes: Any) -> Facts:
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


def test_each_release_waits_for_its_images_and_ends_with_its_pods(tmp_path: Path) -> None:
    facts = made(tmp_path)
    found = ahead(facts)
    web, later = facts.releases
    assert list(found) == ["web in platform", "later"]
    assert {step.kind for step in found.values()} == {PULL}
    assert {API_READY, f"{FETCH_IMAGES}web in platform"} >= set(found["web in platform"].needs)
    assert found["web in platform"].until == (ready_name(web),)
    assert found["later"].until == (install_name(later),)


def test_the_systems_come_first_where_an_earlier_launch_tells_them(tmp_path: Path) -> None:
    facts = made(tmp_path)
    pods = [{"spec": {"containers": [{"image": "rancher/coredns:1"}]}}]
    known_images.remember(facts, known_images.system_key(facts), pods)
    found = ahead(facts)
    assert next(iter(found)) == SYSTEM
    assert found[SYSTEM].until == (SYSTEM_READY,)


@pytest.mark.parametrize(
    ("cpus", "wish", "done"),
    [(8, None, True), (4, None, True), (3, None, False), (2, True, True), (8, False, False)],
)
def test_the_setting_decides_else_the_processors(tmp_path: Path, cpus: int, wish: bool | None, done: bool) -> None:
    assert bool(ahead(made(tmp_path, cpus=cpus, chosen={"pull_ahead": wish}))) is done


def test_only_for_a_cluster_that_is_being_made_with_its_releases(tmp_path: Path) -> None:
    stands = given.cluster_state(Presence.RUNNING, given.node("server-0"))
    assert ahead(made(tmp_path, cluster=stands)) == {}
    assert ahead(made(tmp_path), ("prepull", "registry", "cluster")) == {}


def test_nobody_waits_for_them(tmp_path: Path) -> None:
    facts = made(tmp_path)
    plan = launch(facts, PARTS, choosers(facts))
    assert not [step.name for step in plan if any(need.startswith(PULL_AHEAD) for need in (*step.needs, *step.until))]


def test_they_are_pulled_inside_of_server_0(tmp_path: Path) -> None:
    programs = FakePrograms(answers={"docker exec": "shop/web:1\n"})
    facts = made(tmp_path, programs)
    remember(facts, "shop/web:1", "shop/side:1")
    report = given.act(ahead(facts)["web in platform"])
    (line,) = programs.lines
    assert line.startswith("docker exec k3d-openframe-dev-server-0 sh -c ")
    assert line.endswith(" sh shop/web:1 shop/side:1")
    assert report.why == "1 of 2 images"


def test_a_chart_that_names_none_has_nothing_to_pull(tmp_path: Path) -> None:
    programs = FakePrograms()
    facts = made(tmp_path, programs)
    step = ahead(facts)["web in platform"]
    remember(facts)  # while the plan runs, by what the chart is rendered to
    assert given.act(step).skipped
    assert programs.calls == []


@pytest.mark.parametrize("answer", [Answer(code=1, err="No such container"), Answer(late=True)])
def test_what_cannot_be_pulled_now_is_left_to_the_node(tmp_path: Path, answer: Answer) -> None:
    facts = made(tmp_path, FakePrograms(answers={"docker exec": answer}))
    remember(facts, "shop/web:1")
    assert "left to the node" in given.act(ahead(facts)["web in platform"]).why


def test_one_that_is_no_longer_needed_ends(tmp_path: Path) -> None:
    facts = made(tmp_path, FakePrograms(answers={"docker exec": Stopped("it")}))
    remember(facts, "shop/web:1")
    with pytest.raises(Stopped):
        given.act(ahead(facts)["web in platform"])
