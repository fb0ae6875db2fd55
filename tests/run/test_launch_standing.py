"""The launch where something stands already: only what is missing or asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.facts.cluster import ContainerState, Presence
from tasks.facts.facts import Facts, Shape
from tasks.k3d.steps import ANSWER, MARK, WATCH
from tasks.settings.step_names import API_READY, CREATE_CLUSTER, PARTS, REMOVE_INCOMPLETE, START_CLUSTER
from tests.given import above, by_name, cluster_state, facts, live, node, settings
from tests.kept import PUSHED, there
from tests.run.test_launch import acting, given, steps


def test_on_a_cluster_that_runs_nothing_is_made_or_started(tmp_path: Path) -> None:
    plan = by_name(steps(given(tmp_path, Presence.RUNNING)))
    assert plan[CREATE_CLUSTER].skip
    assert plan[API_READY].skip == "the API answers"
    assert not {START_CLUSTER, REMOVE_INCOMPLETE, MARK, ANSWER} & set(plan)


def settled(folder: Path) -> Facts:
    """A cluster in which everything is as configured."""
    from tasks.clients.kubeconfig import merge, private, switch
    from tasks.kube.objects import key

    chosen = settings(helm={"releases": []}, registries={"caches": []}, secrets=[])
    stands = cluster_state(
        Presence.RUNNING,
        node("server-0", nano_cpus=2_000_000_000, memory=2048 * 1024**2),
        node("agent-0", nano_cpus=1_000_000_000, memory=1536 * 1024**2),
    )
    text = "clusters: [{cluster: {server: x}}]\nusers: [{user: {client-key-data: S0VZ}}]\n"
    entry = private(text, "openframe-dev", "https://127.0.0.1:6550")
    merge(folder / ".kube" / "config", entry)
    switch(folder / ".kube" / "config", "k3d-openframe-dev")
    made = facts(
        folder,
        settings=chosen,
        presence=Presence.RUNNING,
        cluster=stands,
        registries={PUSHED: there()},
        releases=(),
        live=live(nodes=("a", "b"), served=("/readyz",), system={"deployment/coredns": ""}),
    )
    made.paths.state.mkdir(parents=True, exist_ok=True)
    made.paths.kubeconfig.write_text(entry, encoding="utf-8")
    from tasks.run.desired import desired_objects

    objects = {key(each): each for each in desired_objects(made, PARTS)}
    alive = live(objects=objects, nodes=("a", "b"), served=("/readyz",), system={"deployment/coredns": ""})
    return facts(
        folder,
        settings=chosen,
        presence=Presence.RUNNING,
        cluster=stands,
        registries={PUSHED: there()},
        releases=(),
        live=alive,
    )


def test_where_all_is_as_configured_nothing_acts(tmp_path: Path) -> None:
    plan = steps(settled(tmp_path))
    assert acting(plan) == []
    assert WATCH not in by_name(plan)  # a plan that does nothing needs no guard
    assert all(step.skip for step in plan)


@pytest.mark.parametrize(
    ("presence", "agents", "registries", "asked"),
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
def test_only_images_that_something_asks_for(
    tmp_path: Path, presence: Presence, agents: int, registries: dict[str, Any], asked: set[str]
) -> None:
    chosen = settings(registries={"caches": []}, images=["redis:7"])
    shape = Shape(image="rancher/k3s:v1.32.3-k3s1", agents=agents, concurrency=4)
    plan = steps(facts(tmp_path, settings=chosen, presence=presence, shape=shape, registries=registries))
    short = {"rancher/k3s": "k3s", "ghcr.io/k3d-io/k3d-tools": "tools", "docker.io/library/registry": "registry"}
    pulled = {name.removeprefix("prepull: ").rsplit(":", 1)[0] for name in acting(plan) if name.startswith("prepull")}
    assert {short.get(name, name) for name in pulled} == asked


def test_more_agents_come_after_their_image_and_their_registries(tmp_path: Path) -> None:
    shape = Shape(image="rancher/k3s:v1.32.3-k3s1", agents=2, concurrency=4)
    plan = steps(given(tmp_path, Presence.RUNNING, shape=shape))
    before = above(plan, "cluster: add agent openframe-dev-agent-1")
    assert {"prepull: rancher/k3s:v1.32.3-k3s1", "registry: push", API_READY} <= before
