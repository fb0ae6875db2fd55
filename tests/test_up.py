"""The plan of a launch, and of each task alone: what is in it, what waits for what, and what does not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.step import Step
from tasks.facts.cluster import ContainerState, Presence
from tasks.facts.facts import Facts, Shape
from tasks.k3d import kubeconfig
from tasks.k3d.ports import Choosers
from tasks.k3d.steps import ANSWER, WATCH
from tasks.run import charts
from tasks.run.components import IN_USE
from tasks.settings.derived import (
    API_READY,
    CREATE_CLUSTER,
    NAMESPACES,
    NEEDS_CLUSTER,
    PARTS,
    REMOVE_INCOMPLETE,
    START_CLUSTER,
)
from tests.given import above, act, by_name, facts, launch, settings
from tests.given_direct import DirectApi
from tests.given_engine import PUSHED, there
from tests.given_live import reached

MAKING = (Presence.ABSENT, Presence.INCOMPLETE)
EVERY = (*MAKING, Presence.STOPPED, Presence.RUNNING)
OUTSIDE = (charts.REPOSITORIES, "helm: fetch")
"""Steps of Helm that need no cluster."""
FETCH = ("registry: fetch images of", "registry: find images of")
INSIDE = tuple(part for part in PARTS if part in NEEDS_CLUSTER)
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "platform"}}
RELEASES = {
    "releases": [
        {"name": "db", "namespace": "data", "chart": "bitnami/postgresql", "version": "1.0.0"},
        {"name": "app", "namespace": "platform", "chart": "oci://ghcr.io/x/app", "version": "2.0.0", "needs": ["db"]},
    ]
}


def choosers() -> Choosers:
    return Choosers(next_ports=lambda ports, _reported: ports, free_port=lambda desired: desired or 5051)


def steps(given: Facts, parts: tuple[str, ...] = PARTS) -> list[Step]:
    return launch(given, parts, choosers())


def given(folder: Path, presence: Presence, **more: Any) -> Facts:
    """A launch with everything in it: secrets, releases that need each other, agents."""
    return facts(folder, **{"presence": presence, "secrets": (SECRET,), "settings": settings(helm=RELEASES), **more})


def registries(plan: Sequence[Step]) -> set[str]:
    """Steps that make or start one. Images that are fetched into it are wanted later."""
    return {step.name for step in plan if step.task == "registry" and not step.name.startswith(FETCH)}


def acting(plan: Sequence[Step]) -> list[str]:
    return [step.name for step in plan if step.skip is None]


# -- any part, on whatever stands --------------------------------------------------------------------


@pytest.mark.parametrize("presence", EVERY)
@pytest.mark.parametrize("parts", [*((part,) for part in PARTS), PARTS, ("prepull", "registry", "cluster")])
def test_every_plan_can_run(tmp_path: Path, presence: Presence, parts: tuple[str, ...]) -> None:
    plan = steps(given(tmp_path, presence), parts)
    names = set(by_name(plan))  # no need that is not met, no ring, no name twice
    for step in plan:
        assert set(step.until) <= names
        assert step.name not in step.needs
        assert step.skip is not None or step.why, f"{step.name} does not say why"
        assert step.expected is not None or step.skip is not None or step.until, step.name


@pytest.mark.parametrize(
    ("part", "tasks"),
    [
        ("prepull", {"prepull"}),
        ("registry", {"prepull", "registry"}),
        ("cluster", {"cluster"}),  # one that the same call has started
        ("namespaces", {"namespaces"}),
        ("secrets", {"namespaces", "secrets"}),
        ("manifests", {"namespaces", "manifests"}),
        ("helm", {"namespaces", "helm"}),
        ("health", {"health"}),
    ],
)
def test_a_single_part_does_nothing_of_the_others(tmp_path: Path, part: str, tasks: set[str]) -> None:
    for presence in EVERY:
        assert {step.task for step in steps(given(tmp_path, presence), (part,))} <= tasks
    assert {step.task for step in steps(given(tmp_path, Presence.RUNNING), (part,))} == tasks


# -- single parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "homes"),
    [
        ("secrets", {"platform"}),
        ("helm", {"data", "platform"}),
        ("manifests", set(settings().namespaces)),
        ("namespaces", {*settings().namespaces, "data"}),
    ],
)
def test_a_part_makes_the_namespaces_that_it_puts_things_into(tmp_path: Path, part: str, homes: set[str]) -> None:
    result = given(tmp_path, Presence.RUNNING)
    api = reached(result, DirectApi())
    plan = by_name(steps(result, (part,)))
    act(plan[NAMESPACES])
    assert set(api.names) == {f"Namespace/{home}" for home in homes}
    others = [step for step in plan.values() if step.task == part and part not in ("namespaces", "helm")]
    assert all(NAMESPACES in above(list(plan.values()), step.name) for step in others)


@pytest.mark.parametrize(
    ("registries", "has_image", "pulls"),
    [
        ({}, False, 1),
        ({}, True, 0),
        ({PUSHED: there()}, False, 0),
        ({PUSHED: there(state=ContainerState.CREATED)}, False, 1),
    ],
)
def test_registries_bring_their_image(tmp_path: Path, registries: dict[str, Any], has_image: bool, pulls: int) -> None:
    """Pulled by a step with a pull's deadline; `docker run` would pull it within the time of a short command."""
    image = "docker.io/library/registry:2"
    only_push = settings(registries={"caches": []})
    result = facts(
        tmp_path, settings=only_push, images={"rancher/k3s:x": False, image: has_image}, registries=registries
    )
    plan = steps(result, ("registry",))
    assert [step.name for step in plan if step.task == "prepull"] == [f"prepull: {image}"] * pulls
    (push,) = (step for step in plan if step.task == "registry")
    assert push.needs == (f"prepull: {image}",) * pulls


# -- the whole launch --------------------------------------------------------------------------------


@pytest.mark.parametrize("presence", MAKING)
def test_nothing_that_needs_only_the_api_waits_for_the_creation(tmp_path: Path, presence: Presence) -> None:
    """Work goes in as soon as the API answers, while k3d still waits for agents and helpers."""
    plan = steps(given(tmp_path, presence))
    inside = [step for step in plan if step.task in NEEDS_CLUSTER]
    assert {step.task for step in inside} == NEEDS_CLUSTER - {"steps"}
    for step in inside:
        assert CREATE_CLUSTER not in above(plan, step.name), step.name
    assert CREATE_CLUSTER not in above(plan, API_READY)


@pytest.mark.parametrize("presence", [*MAKING, Presence.STOPPED])
def test_what_is_put_into_a_cluster_waits_for_its_api(tmp_path: Path, presence: Presence) -> None:
    plan = steps(given(tmp_path, presence))
    for step in plan:
        if step.task in NEEDS_CLUSTER and not step.name.startswith(OUTSIDE):
            assert API_READY in above(plan, step.name), step.name


@pytest.mark.parametrize("presence", EVERY)
def test_images_caches_and_charts_wait_for_nothing_of_the_cluster(tmp_path: Path, presence: Presence) -> None:
    plan = steps(given(tmp_path, presence))
    tasks = {step.name: step.task for step in plan}
    fetched = [name for name in tasks if name.startswith(OUTSIDE)]
    assert len(fetched) == 3
    for name in [*fetched, *(name for name, task in tasks.items() if task in ("prepull", "registry"))]:
        assert {tasks[each] for each in above(plan, name)} <= {"prepull", "registry", "helm"}, name


def test_the_creation_waits_for_what_k3d_asks_for_and_for_nothing_else(tmp_path: Path) -> None:
    chosen = settings(images=["redis:7", "rancher/k3s:v1.35.5-k3s1"])
    plan = steps(facts(tmp_path, settings=chosen))
    before = above(plan, CREATE_CLUSTER)
    assert before == {
        "prepull: rancher/k3s:v1.35.5-k3s1",  # though the user names it too
        "prepull: ghcr.io/k3d-io/k3d-tools:5.9.0",
        "prepull: docker.io/library/registry:2",
        *registries(plan),
    }
    assert "prepull: redis:7" in acting(plan)
    assert above(plan, ANSWER) == before


@pytest.mark.parametrize("presence", [*MAKING, Presence.STOPPED])
def test_starting_and_making_come_after_the_registries(tmp_path: Path, presence: Presence) -> None:
    plan = steps(given(tmp_path, presence))
    result = START_CLUSTER if presence is Presence.STOPPED else CREATE_CLUSTER
    assert registries(plan)
    assert registries(plan) <= above(plan, result)


def test_a_half_made_cluster_is_removed_first(tmp_path: Path) -> None:
    plan = steps(given(tmp_path, Presence.INCOMPLETE))
    for step in plan:
        if (
            step.task in ("cluster", *NEEDS_CLUSTER)
            and step.name != REMOVE_INCOMPLETE
            and not step.name.startswith(OUTSIDE)
        ):
            assert REMOVE_INCOMPLETE in above(plan, step.name), step.name
    assert above(plan, REMOVE_INCOMPLETE) == frozenset()


@pytest.mark.parametrize("presence", EVERY)
def test_limits_come_after_all_work_and_the_switch_after_everything(tmp_path: Path, presence: Presence) -> None:
    plan = steps(given(tmp_path, presence))
    acts = set(acting(plan)) - {WATCH}
    limits = {name for name in acts if name.startswith("cluster: limits")}
    assert len(limits) == 2
    last = {kubeconfig.SWITCH, kubeconfig.MERGE}
    work = {step.name for step in plan if step.task in ("cluster", *NEEDS_CLUSTER)} & acts - limits - last
    for name in limits:
        assert work <= above(plan, name)
    assert acts - {kubeconfig.SWITCH} <= above(plan, kubeconfig.SWITCH)
    assert above(plan, kubeconfig.MERGE) & acts <= above(plan, API_READY) | {API_READY}


def test_components_are_looked_at_after_all_objects_are_applied(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("apiVersion: traefik.io/v1alpha1\nkind: IngressRoute\nmetadata: {name: shop}\n")
    chosen = settings(helm=RELEASES, manifests={"files": [str(path)]})
    plan = steps(given(tmp_path, Presence.ABSENT, settings=chosen))
    applied = {"manifests: base resources", "manifests: yours", "helm: install db in data"}
    assert applied <= above(plan, IN_USE)


@pytest.mark.parametrize("presence", EVERY)
def test_the_guard_lasts_from_the_first_node_to_the_last_step_that_needs_it(tmp_path: Path, presence: Presence) -> None:
    plan = by_name(steps(given(tmp_path, presence)))
    guard = plan[WATCH]
    maker = {Presence.STOPPED: START_CLUSTER, Presence.RUNNING: CREATE_CLUSTER}.get(presence, CREATE_CLUSTER)
    assert guard.needs == plan[maker].needs
    work = {step.name for step in plan.values() if step.task in ("cluster", *NEEDS_CLUSTER)}
    assert set(guard.until) == {name for name in work if plan[name].skip is None} - {WATCH}
    assert not any(WATCH in step.needs for step in plan.values())


def test_images_are_found_in_charts_before_they_are_fetched(tmp_path: Path) -> None:
    plan = steps(given(tmp_path, Presence.ABSENT))
    for name in ("app in platform", "db in data"):
        fetch, find = (by_name(plan)[f"registry: {what} images of {name}"] for what in ("fetch", "find"))
        assert find.name in fetch.needs
        assert (find.kind, fetch.kind) == (None, "download")  # of downloads there are few at once


# -- where something exists already ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("presence", "agents", "registries", "created"),
    [
        (Presence.ABSENT, 1, {}, {"k3s", "tools", "registry", "redis"}),
        (Presence.ABSENT, 1, {PUSHED: there()}, {"k3s", "tools", "redis"}),
        (Presence.INCOMPLETE, 1, {PUSHED: there()}, {"k3s", "tools", "redis"}),
        (Presence.RUNNING, 1, {PUSHED: there()}, {"redis"}),
        (Presence.RUNNING, 1, {PUSHED: there(state=ContainerState.CREATED)}, {"redis", "registry"}),
        (Presence.RUNNING, 2, {PUSHED: there()}, {"k3s", "tools", "redis"}),
        (Presence.STOPPED, 1, {PUSHED: there()}, {"redis"}),
        (Presence.STOPPED, 1, {}, {"redis", "registry"}),
    ],
)
def test_only_needed_images_are_pulled(
    tmp_path: Path, presence: Presence, agents: int, registries: dict[str, Any], created: set[str]
) -> None:
    chosen = settings(registries={"caches": []}, images=["redis:7"])
    shape = Shape(image="rancher/k3s:v1.35.5-k3s1", agents=agents, concurrency=4)
    plan = steps(facts(tmp_path, settings=chosen, presence=presence, shape=shape, registries=registries))
    short = {"rancher/k3s": "k3s", "ghcr.io/k3d-io/k3d-tools": "tools", "docker.io/library/registry": "registry"}
    pulled = {name.removeprefix("prepull: ").rsplit(":", 1)[0] for name in acting(plan) if name.startswith("prepull")}
    assert {short.get(name, name) for name in pulled} == created


def test_more_agents_come_after_their_image_and_their_registries(tmp_path: Path) -> None:
    shape = Shape(image="rancher/k3s:v1.35.5-k3s1", agents=2, concurrency=4)
    plan = steps(given(tmp_path, Presence.RUNNING, shape=shape))
    before = above(plan, "cluster: add agent openframe-dev-agent-1")
    assert {"prepull: rancher/k3s:v1.35.5-k3s1", "registry: push", API_READY} <= before
