"""A launch that is killed (`kill -9`) at any moment is completed by the next one, and leaves nothing of itself.

How many moments are tried, spread over a launch, says KILLS (default 4; 20 take nine minutes).
"""

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass

import psutil
import pytest

from tests.real.conftest import Make
from tests.real.project import Project, containers, remains, run
from tests.real.sameness import differences, settled
from tests.real.world import World

CLUSTER = "killed-one"
MOMENTS = int(os.environ.get("KILLS", "4"))


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """A launch that nothing happened to."""

    seconds: float
    objects: Counter[str]
    containers: list[str]
    volumes: set[str]
    """Those that belong to no container."""


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Project:
    releases = [here.release(number, space) for number, space in enumerate(("apps", "data", "apps"))]
    return make(CLUSTER, here.settings(releases, namespaces=["apps", "data"], cluster={"agents": 1}))


@pytest.fixture(scope="module")
def undisturbed(project: Project) -> Undisturbed:
    """The second of two: by then images and charts are there."""
    assert project.invoke("up").code == 0
    assert project.invoke("down").code == 0
    done = project.invoke("up")
    assert done.code == 0, done.text
    return Undisturbed(
        seconds=done.seconds, objects=settled(project), containers=containers(CLUSTER), volumes=unused_volumes()
    )


def unused_volumes() -> set[str]:
    return set(run("docker", "volume", "ls", "--quiet", "--filter", "dangling=true").split())


def at_work(project: Project) -> list[str]:
    """Programs that a run of this project started and that live."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = str(project.folder) in process.environ().get("OPENFRAME_RUN", "")
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_the_next_up_completes_it(project: Project, undisturbed: Undisturbed, moment: int) -> None:
    assert project.invoke("down").code == 0
    process = project.start("up")
    time.sleep(undisturbed.seconds * (moment + 0.5) / MOMENTS)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()
    done = project.invoke("up")
    assert done.code == 0, done.text
    differs = differences(undisturbed.objects, settled(project))
    assert not differs, "\n".join(differs)
    assert containers(CLUSTER) == undisturbed.containers
    assert unused_volumes() <= undisturbed.volumes
    assert at_work(project) == []
    assert list((project.folder / "tmp").iterdir()) == []
    assert list(project.folder.rglob(".*openframe-[0-9]*")) == []
    assert list(project.home.rglob("*.lock")) == []
    assert [lock for lock in (project.folder / "state").rglob("*.lock") if lock.read_text()] == []
    assert "nothing to do" in project.invoke("up").out


def test_it_can_be_removed_after_all_that(project: Project) -> None:
    assert project.invoke("down").code == 0
    assert remains(CLUSTER) == []
