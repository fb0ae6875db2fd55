"""Registry containers, from what the engine tells of them."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.facts.cluster import ContainerState
from tasks.facts.registries import Registry, read
from tests.facts import inspected
from tests.kept import GHCR, there


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (inspected.registry(), there(networks=("bridge",))),
        (inspected.registry(state="exited"), there(networks=("bridge",), state=ContainerState.STOPPED)),
        (inspected.registry(state="restarting"), there(networks=("bridge",), state=ContainerState.LOOPING)),
        (inspected.registry(state="created"), there(networks=("bridge",), state=ContainerState.CREATED)),
        (
            inspected.registry(GHCR, "5053", labels={"openframe.cache": "ghcr.io"}, networks=("k3d-b", "k3d-a")),
            there(GHCR, upstream="ghcr.io", port=5053, networks=("k3d-a", "k3d-b")),
        ),
        (inspected.registry(ports={}), there(networks=("bridge",))),  # then k3d's label tells the port
        (inspected.registry(ports=None, port="random"), there(networks=("bridge",), port=None)),
        (inspected.registry("k3d-theirs", ours=False), there("k3d-theirs", networks=("bridge",), ours=False)),
    ],
)
def test_reading(given: dict[str, Any], expected: Registry) -> None:
    assert read([given]) == {expected.name: expected}


@pytest.mark.parametrize(
    ("networks", "expected"), [((), ()), (("bridge", "lab"), ()), (("bridge", "k3d-a", "k3d-b-2"), ("a", "b-2"))]
)
def test_clusters_that_are_attached(networks: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert there(networks=networks).clusters == expected
