"""Projects on real clusters: each is taken down at the end, also when its test failed."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.real.project import Project, containers, run
from tests.real.world import World, world

Make = Callable[..., Project]


LONG = frozenset(
    f"test_{name}.py" for name in ("bundle", "faults", "fidelity", "kill", "logs", "many", "snapshots_killed")
)
"""They take a quarter of an hour together: run where LONG=1 is set."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder starts clusters, and takes its time."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(600))
            if item.path.name in LONG and not os.environ.get("LONG"):
                item.add_marker(pytest.mark.skip(reason="it takes long: LONG=1 runs it"))


@pytest.fixture(scope="session")
def here() -> World:
    """Images and charts of this machine; skips where no cluster can be created."""
    missing = [name for name in ("docker", "k3d", "kubectl", "helm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not on the PATH: {', '.join(missing)}")
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers")
    return world()


@pytest.fixture(scope="module")
def make(here: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Makes projects, one for each cluster name."""
    result: list[Project] = []

    def new(cluster: str, settings: Mapping[str, Any]) -> Project:
        assert not containers(cluster), f"a cluster {cluster} is there already: remove it first"
        project = Project.make(tmp_path_factory.mktemp(cluster), cluster, settings)
        result.append(project)
        return project

    yield new
    for project in result:
        names = containers(project.cluster)
        if names:
            project.invoke("down")
        names = containers(project.cluster)
        if names:
            run("docker", "rm", "--force", "--volumes", *names)
