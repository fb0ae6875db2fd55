"""Room and pulls against what a launch will bring."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.checks.facts import Disk, HostFacts, Hub
from tasks.checks.storage import pulls, room
from tests.checks.given import GIB, WELL, one, settings

ALL = ("rancher/k3s:v1.32.3-k3s1", "ghcr.io/k3d-io/k3d-tools:5.9.0", "docker.io/library/registry:2")
NEW = replace(WELL, missing=ALL)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (NEW, "about 3.2 GiB: 3 images to pull, and those of 5 nodes and 1 release"),
        (replace(NEW, missing=()), "about 2.8 GiB: 0 images to pull"),
        (replace(NEW, missing=ALL[1:2], stands=True), "about 0.1 GiB: 1 image to pull, and the cluster has its own"),
        (replace(NEW, settings=settings(servers=3), agents=0), "those of 3 nodes"),
    ],
)
def test_room_is_told(facts: HostFacts, told: str) -> None:
    found = one(room(facts))
    assert found.level.value == "ok"
    assert told in found.what


@pytest.mark.parametrize(
    ("total", "free", "level"), [(20, 4.3, "ok"), (20, 4.1, "warning"), (100, 9, "ok"), (100, 8, "warning")]
)
def test_room_is_judged_by_what_would_be_left(total: float, free: float, level: str) -> None:
    found = one(room(replace(NEW, disk=Disk(total=int(total * GIB), free=int(free * GIB)))))
    assert found.level.value == level


@pytest.mark.parametrize("facts", [WELL, replace(NEW, disk=None), replace(NEW, engine=None)])
def test_room_that_does_not_show(facts: HostFacts) -> None:
    assert list(room(facts)) == []


def left(remaining: int, *, account: bool = False, limit: int | None = 100) -> Hub:
    return Hub(limit=limit, remaining=remaining, hours=6.0, account=account)


@pytest.mark.parametrize(
    ("facts", "level", "told"),
    [
        (replace(NEW, hub=left(76)), "ok", "76 of 100 pulls left for this address; this launch needs up to 12"),
        (replace(NEW, hub=left(12)), "ok", "needs up to 12"),
        (replace(NEW, hub=left(11, account=True)), "warning", "11 of 100 pulls left for your account"),
        (replace(NEW, hub=left(0, limit=None)), "warning", "0 pulls left"),
        (replace(NEW, missing=ALL[1:2], stands=True, hub=left(0)), "ok", "needs up to 0"),
    ],
)
def test_pulls(facts: HostFacts, level: str, told: str) -> None:
    found = one(pulls(facts))
    assert found.level.value == level
    assert told in found.what
    assert found.remedy is None


def test_pulls_that_docker_hub_does_not_tell() -> None:
    assert list(pulls(NEW)) == []
    assert list(pulls(replace(WELL, hub=left(1)))) == []
