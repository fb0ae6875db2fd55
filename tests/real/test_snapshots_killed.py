"""kill -9 at moments of a save and of a restore: the next call is right, and nothing is left over."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.real.conftest import Make
from tests.real.project import Project, run
from tests.real.world import World

CLUSTER = "snapshot-killed"
SAVE = (0.3, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.3, 2.6)
OWN = f"label=k3d.cluster={CLUSTER}"
RESTORE = (0.5, 0.8, 1.1, 1.5, 2.0, 3.0, 5.0, 7.0, 9.0, 11.0)


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Project:
    result = make(CLUSTER, here.settings([], namespaces=["platform"], cluster={"agents": 1}))
    assert result.invoke("up").code == 0
    assert result.invoke("snapshot", "--save", "one").code == 0
    return result


def killed(project: Project, seconds: float, *words: str) -> None:
    command = [sys.executable, "-m", "invoke", *words, "--profile", str(project.profile)]
    child = subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def left() -> tuple[int, int, int]:
    """Containers of copies, volumes of snapshots, and nodes that are paused."""
    label = "label=openframe.snapshot"
    return (
        len(run("docker", "ps", "--all", "--quiet", "--filter", label).split()),
        len(run("docker", "volume", "ls", "--quiet", "--filter", label).split()),
        len(
            run(
                "docker", "ps", "--quiet", "--filter", "status=paused", "--filter", f"label=k3d.cluster={CLUSTER}"
            ).split()
        ),
    )


@pytest.mark.parametrize("seconds", SAVE)
def test_a_killed_save_leaves_the_old_one_or_the_new_one(project: Project, seconds: float) -> None:
    killed(project, seconds, "snapshot", "--save", "one", "--replace")
    assert "nothing to do" in project.invoke("up").out
    assert left() == (0, 2, 0)


@pytest.mark.parametrize("seconds", RESTORE)
def test_a_killed_restore_is_done_by_the_next_call(project: Project, seconds: float) -> None:
    project.invoke("down")
    killed(project, seconds, "up", "--snapshot", "one")
    done = project.invoke("up", "--recreate", "--snapshot", "one")
    assert done.code == 0, done.text
    assert "nothing to do" in project.invoke("up").out
    assert left() == (0, 2, 0)
    volumes = run("docker", "volume", "ls", "--quiet", "--filter", f"label=k3d.cluster={CLUSTER}").split()
    assert len([name for name in volumes if name.endswith(("-data", "-node"))]) == 4


def test_nothing_is_left(project: Project) -> None:
    assert project.invoke("down").code == 0
    assert project.invoke("snapshot", "--delete", "one").code == 0
    assert left() == (0, 0, 0)
