"""Names and plans of the push registry and the caches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks.facts.cluster import ContainerState, Presence
from tasks.facts.registries import Registry, read
from tasks.run.registries import steps
from tasks.settings.derived import (
    cache_container,
    mirrors,
    push_container,
    registries_in_use,
    registry_containers,
    upstream_url,
)
from tasks.settings.schema import Cache
from tests.facts import inspected
from tests.given import act, facts, settings
from tests.kept import GHCR, HUB, ONLY_PUSH, PUSHED, engine, only, ports, there

LOGIN = {"upstream": "ghcr.io", "username_env": "CACHE_USER", "password_env": "CACHE_PASSWORD"}


def test_by_default() -> None:
    assert list(registry_containers(settings())) == [
        PUSHED,
        HUB,
        GHCR,
        "k3d-openframe-cache-quay-io",
        "k3d-openframe-cache-registry-k8s-io",
    ]
    assert registries_in_use(settings())[0] == f"{PUSHED}:5000"  # k3d tells clients of the first one
    assert mirrors(settings())["docker.io"] == [f"http://{HUB}:5000"]


@pytest.mark.parametrize(
    ("registries", "expected"),
    [
        ({"push": False}, 4),
        ({"caches": []}, 1),
        ({"push": False, "caches": []}, 0),
    ],
)
def test_each_can_be_left_out(registries: Mapping[str, Any], expected: int) -> None:
    assert (
        len(registry_containers(settings(registries=registries)))
        == len(registries_in_use(settings(registries=registries)))
        == expected
    )


def test_the_push_registrys_name_is_a_setting() -> None:
    assert push_container(settings(registries={"name": "mine"})) == "k3d-mine"


@pytest.mark.parametrize(
    ("cache", "name", "url"),
    [
        ({"upstream": "ghcr.io"}, GHCR, "https://ghcr.io"),
        ({"upstream": "ghcr.io", "url": "https://ghcr.io/"}, GHCR, "https://ghcr.io/"),
        ({"upstream": "docker.io"}, HUB, "https://registry-1.docker.io"),  # docker.io itself serves no images
        ({"upstream": "docker.io", "url": "https://registry-1.docker.io"}, HUB, "https://registry-1.docker.io"),
        ({"upstream": "r.example.com:5000"}, "k3d-openframe-cache-r-example-com-5000", "https://r.example.com:5000"),
    ],
)
def test_a_caches_name_and_address(cache: dict[str, Any], name: str, url: str) -> None:
    assert (cache_container(Cache(**cache)), upstream_url(Cache(**cache))) == (name, url)


@pytest.mark.parametrize(
    "cache",
    [
        {"upstream": "ghcr.io", "url": "http://mirror.example.com"},
        {"upstream": "ghcr.io", "url": "http://other.example.com"},
        {"upstream": "docker.io", "url": "https://mirror.gcr.io"},
        LOGIN,
        {**LOGIN, "username_env": "ANOTHER"},
    ],
)
def test_a_cache_that_asks_elsewhere_is_another_container(cache: dict[str, Any]) -> None:
    made = cache_container(Cache(**cache))
    usual = cache_container(Cache(upstream=cache["upstream"]))
    assert made.startswith(f"{usual}-")
    assert len(made) == len(usual) + 7
    assert cache_container(Cache(**{**cache, "url": "http://another.example.com"})) != made


def test_those_that_are_missing_are_made(tmp_path: Path) -> None:
    made = steps(facts(tmp_path), ports())
    assert [step.name for step in made] == [
        "registry: push",
        "registry: cache of docker.io",
        "registry: cache of ghcr.io",
        "registry: cache of quay.io",
        "registry: cache of registry.k8s.io",
    ]
    for step in made:
        assert (step.skip, step.task, step.why) == (None, "registry", "it is missing")
        assert step.needs == ("prepull: docker.io/library/registry:2",)
        assert step.retry.attempts > 1


@pytest.mark.parametrize(
    ("found", "presence", "skip", "why"),
    [
        (there(), Presence.ABSENT, f"{PUSHED} runs at 127.0.0.1:5050", ""),
        (there(networks=("bridge",)), Presence.ABSENT, f"{PUSHED} runs at 127.0.0.1:5050", ""),
        (there(networks=("bridge",)), Presence.INCOMPLETE, f"{PUSHED} runs at 127.0.0.1:5050", ""),
        (there(), Presence.RUNNING, f"{PUSHED} runs at 127.0.0.1:5050", ""),
        (there(networks=("bridge",)), Presence.RUNNING, None, f"{PUSHED} is not in k3d-openframe-dev"),
        (there(state=ContainerState.STOPPED), Presence.ABSENT, None, f"{PUSHED} is stopped"),
        (there(state=ContainerState.STOPPED), Presence.STOPPED, None, f"{PUSHED} is stopped"),
        (there(state=ContainerState.LOOPING), Presence.RUNNING, None, f"{PUSHED} keeps ending"),
        (there(state=ContainerState.CREATED), Presence.ABSENT, None, "it is missing"),
    ],
)
def test_what_is_there(tmp_path: Path, found: Registry, presence: Presence, skip: str | None, why: str) -> None:
    given = facts(tmp_path, settings=ONLY_PUSH, presence=presence, registries={PUSHED: found})
    step = only(given)
    assert (step.skip, step.why) == (skip, why)


@pytest.mark.parametrize(
    ("state", "networks", "presence", "lines"),
    [
        ("exited", ("k3d-openframe-dev",), Presence.ABSENT, [f"docker start {PUSHED}"]),
        ("exited", ("k3d-openframe-dev",), Presence.STOPPED, [f"docker start {PUSHED}"]),
        ("restarting", ("k3d-openframe-dev",), Presence.RUNNING, [f"docker restart {PUSHED}"]),
        ("paused", ("k3d-openframe-dev",), Presence.RUNNING, [f"docker unpause {PUSHED}"]),
        (
            "exited",
            (),
            Presence.STOPPED,
            [f"docker start {PUSHED}", f"docker network connect k3d-openframe-dev {PUSHED}"],
        ),
        ("running", (), Presence.RUNNING, [f"docker network connect k3d-openframe-dev {PUSHED}"]),
    ],
)
def test_what_is_done_to_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    networks: tuple[str, ...],
    presence: Presence,
    lines: list[str],
) -> None:
    monkeypatch.setattr("tasks.clients.registry_http.answers", lambda *_: True)
    found = inspected.registry(state=state, networks=networks)
    fake = engine(**{"docker container inspect": json.dumps([found])})
    act(only(facts(tmp_path, fake, settings=ONLY_PUSH, presence=presence, registries=read([found]))))
    assert [line for line in fake.lines if "inspect" not in line] == lines
