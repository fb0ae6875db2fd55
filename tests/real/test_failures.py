"""A launch that fails or is interrupted says why at once, leaves no child, and the next one completes it."""

import os
import subprocess
import threading
import time
from datetime import datetime

import psutil
import pytest

from tests.real.conftest import Make
from tests.real.project import Project, containers, interrupt, remains
from tests.real.world import World

CLUSTER = "failing-one"


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Project:
    return make(CLUSTER, here.settings([here.release(0, "apps")], namespaces=["apps"], cluster={"agents": 1}))


class Deaths(threading.Thread):
    """Listens to the engine for the first end of the server. k3d ends a helper of its own in any launch."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.first: float | None = None
        self.process = subprocess.Popen(
            ["docker", "events", "--filter", f"container=k3d-{CLUSTER}-server-0", "--filter", "event=die"],
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if self.first is None:
                self.first = datetime.fromisoformat(line.split(" ", 1)[0][:26] + "+00:00").timestamp()


def _fatal() -> float:
    """When the server's log reported that its kubelet has exited."""
    done = subprocess.run(
        ["docker", "logs", "--timestamps", f"k3d-{CLUSTER}-server-0"], capture_output=True, text=True, check=True
    )
    reported = next(line for line in (done.stdout + done.stderr).splitlines() if "kubelet exited" in line)
    return datetime.fromisoformat(reported[:26] + "+00:00").timestamp()


def test_a_bad_kubelet_flag_is_named_soon_after_the_first_exit(project: Project) -> None:
    deaths = Deaths()
    deaths.start()
    done = project.invoke("up", "--set", 'cluster.args.kubelet=["max-parallel-image-pulls=4"]')
    ended = time.time()
    deaths.process.terminate()
    deaths.process.communicate(timeout=10)
    assert done.code == 1, done.text
    assert "max-parallel-image-pulls" in done.err
    assert "cluster.args.kubelet" in done.err
    first = deaths.first if deaths.first is not None else _fatal()  # k3d's entrypoint may outlive k3s
    assert ended - first <= 5
    assert done.seconds < 30


def test_rollback_removes_what_the_failed_launch_made(project: Project) -> None:
    assert project.invoke("down").code == 0
    done = project.invoke("up", "--rollback", "--set", 'cluster.args.kubelet=["max-parallel-image-pulls=4"]')
    assert done.code == 1, done.text
    assert "what this run created is removed" in done.err
    assert remains(CLUSTER) == []


@pytest.mark.parametrize("after", [1.0, 3.0, 6.0, 9.0] if os.environ.get("LONG") else [6.0])
def test_ctrl_c_ends_everything_and_the_next_up_completes_it(project: Project, after: float) -> None:
    project.invoke("down")
    process = project.start("up")
    time.sleep(after)
    assert process.poll() is None
    took, left = interrupt(process)
    assert process.returncode == 130
    assert took < 5
    assert left == []
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(project.root) in " ".join(p.info["cmdline"] or ())]
    done = project.invoke("up")
    assert done.code == 0, done.text
    assert "nothing to do" in project.invoke("up").out


def test_it_can_be_removed_after_all_that(project: Project) -> None:
    assert project.invoke("down").code == 0
    assert containers(CLUSTER) == []
