"""Faults in the middle of real launches: each ends well, or in one right message soon after it could be seen.

They need a registry and a chart server of this machine (LAB_MIRROR, LAB_CHARTS), between which and the launch a line
of the test's own lies.
"""

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.real.conftest import Make
from tests.real.line import Line, charts
from tests.real.project import Call, Project, run
from tests.real.world import World

CLUSTER = "faulty-one"
SOON = 10.0
"""Seconds in which a visible fault must be reported."""
AFTER = 5.0
"""Seconds after a deadline in which that must be reported, in addition to the start of a process."""
START = 2.0
"""Seconds that a call takes before its first step, and after its last."""


@pytest.fixture(scope="module")
def lab(here: World) -> World:
    if here.caches is None or "LAB_CHARTS" not in os.environ:
        pytest.skip("LAB_MIRROR and LAB_CHARTS are not set")
    return here


@pytest.fixture(scope="module")
def project(lab: World, make: Make) -> Project:
    return make(CLUSTER, settings(lab))


@pytest.fixture
def fresh(project: Project, lab: World) -> Project:
    """No cluster, and the usual settings."""
    project.configure(settings(lab))
    assert project.invoke("down").code == 0
    return project


def settings(lab: World, *releases: dict[str, Any], **more: Any) -> dict[str, Any]:
    return lab.settings(
        list(releases) or [lab.release(0, "apps")], namespaces=["apps"], **{"cluster": {"agents": 1}, **more}
    )


@pytest.fixture
def line(lab: World) -> Iterator[Line]:
    """To the registry; the cache that a launch makes at its end is removed."""
    there = urlsplit(os.environ["LAB_MIRROR"])
    assert there.hostname
    before = set(registries())
    result = Line(host=there.hostname, upstream=(there.hostname, there.port or 80))
    yield result
    result.cut()
    for name in set(registries()) - before:
        run("docker", "rm", "--force", "--volumes", name)
        run("docker", "volume", "rm", "--force", name)


def registries() -> list[str]:
    return run("docker", "ps", "--all", "--filter", "label=openframe.cache", "--format", "{{.Names}}").split()


def note(text: str) -> None:
    """For whoever reads what the tests saw (pytest -rA)."""
    sys.stdout.write(text + "\n")


def failure(done: Call) -> str:
    """The message of a launch that failed; it must be one, with a remedy."""
    note(done.err)
    assert done.code == 1, done.text
    assert "Traceback" not in done.text
    assert done.err.count("what to do") + done.err.count("fix") <= 2, done.err
    return done.err


class Later(threading.Thread):
    """Does something when a step of the running launch has begun or ended."""

    def __init__(self, act: Callable[[], object], after: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self.act, self.after, self.at = act, after, 0.0
        self.start()

    def run(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                if self.after():
                    self.at = time.monotonic()
                    self.act()
                    return
            time.sleep(0.05)


def runs(container: str) -> bool:
    return f"k3d-{CLUSTER}-{container}" in run("docker", "ps", "--format", "{{.Names}}").split()


def api_answers(project: Project) -> bool:
    return project.kubeconfig.exists() and "apps" in project.kubectl("get", "namespaces", "--output=name")


def launch(project: Project, *options: str) -> tuple[Call, float]:
    """`up`, and when it ended."""
    done = project.invoke("up", *options)
    return done, time.monotonic()


def completed(project: Project) -> None:
    """The next `up`, without the fault, ends well."""
    done = project.invoke("up")
    assert done.code == 0, done.text


def test_the_registry_dies_in_the_middle_of_a_pull(fresh: Project, lab: World, line: Line) -> None:
    line.rate = 1_000_000
    fresh.configure(settings(lab, registries={"push": False, "caches": [{"upstream": "docker.io", "url": line.url}]}))
    cut = Later(line.cut, lambda: line.carried > 6_000_000)
    done, ended = launch(fresh)
    assert cut.at, "the pull was over before"
    message = failure(done)
    assert "lab/app-a" in message or "coredns" in message  # whichever pod asked last
    assert "k3d-openframe-cache-docker-io-" in message
    assert line.url in message
    note(f"{ended - cut.at:.1f} s after the cut")
    fresh.invoke("down")
    fresh.configure(settings(lab))
    completed(fresh)


def test_the_line_drops_to_a_trickle(fresh: Project, lab: World, line: Line) -> None:
    release = lab.release(0, "apps", timeout=20)
    fresh.configure(
        settings(lab, release, registries={"push": False, "caches": [{"upstream": "docker.io", "url": line.url}]})
    )

    def slow() -> None:
        line.rate = 50_000

    Later(slow, lambda: line.carried > 2_000_000)
    done, _ = launch(fresh)
    message = failure(done)
    assert "is still waiting for the pull of its image" in message
    assert "lab/app-a" in message
    fresh.invoke("down")
    fresh.configure(settings(lab))
    completed(fresh)


@pytest.mark.parametrize("process", ["k3s server", "kube-apiserver"])
def test_the_api_server_is_killed(fresh: Project, process: str) -> None:
    """Where its container ends with it, the engine starts it again, and the launch goes on."""
    rows: list[str] = []

    def kill() -> None:
        rows.extend(run("docker", "top", f"k3d-{CLUSTER}-server-0").splitlines())
        run("kill", "-9", next(row.split()[1] for row in rows if f"/bin/{process}" in row or f"k3s {process}" in row))

    killed = Later(kill, lambda: api_answers(fresh))
    done, ended = launch(fresh)
    assert killed.at
    note(f"{ended - killed.at:.1f} s after the kill: code {done.code}")
    if done.code:
        assert "server-0" in failure(done)
        assert ended - killed.at <= SOON
        completed(fresh)
    assert "nothing to do" in fresh.invoke("up").out


def test_the_server_is_killed(fresh: Project) -> None:
    killed = Later(lambda: run("docker", "kill", f"k3d-{CLUSTER}-server-0"), lambda: api_answers(fresh))
    done, ended = launch(fresh)
    assert killed.at
    assert f"the node k3d-{CLUSTER}-server-0 has ended: it was killed" in failure(done)
    assert ended - killed.at <= SOON
    completed(fresh)


def test_an_agent_is_killed(fresh: Project) -> None:
    killed = Later(lambda: run("docker", "kill", f"k3d-{CLUSTER}-agent-0"), lambda: runs("agent-0"))
    done, ended = launch(fresh)
    assert killed.at
    assert f"the node k3d-{CLUSTER}-agent-0 has ended: it was killed" in failure(done)
    assert ended - killed.at <= SOON
    completed(fresh)


def test_a_port_is_taken_between_check_and_use(fresh: Project) -> None:
    with contextlib.ExitStack() as stack:

        def take() -> None:
            server = stack.enter_context(socket.socket())
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", 18080))
            server.listen()

        occupied = Later(
            take, lambda: f"k3d-{CLUSTER}" in run("docker", "network", "ls", "--format", "{{.Name}}").split()
        )
        done, _ = launch(fresh, "--set", "cluster.ports.http=18080")
        assert occupied.at
        assert done.code == 0, done.text
    bindings = json.loads(run("docker", "inspect", f"k3d-{CLUSTER}-server-0"))[0]["HostConfig"]["PortBindings"]
    assert bindings["80/tcp"][0]["HostPort"] != "18080"


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    place.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield
    finally:
        run("umount", "--lazy", str(place))


def test_the_disk_of_a_node_is_full(fresh: Project, lab: World) -> None:
    """What containerd keeps lies on a disk that holds less than the images of the launch."""
    place = fresh.folder / "openframe-images"
    with small_disk(place, "4m"):
        volume = f"{place}:/var/lib/rancher/k3s/agent/containerd@server:0"
        releases = [lab.release(0, "apps", timeout=60)]
        fresh.configure(settings(lab, *releases, cluster={"agents": 0, "volumes": [volume]}))
        done, _ = launch(fresh)
        message = failure(done)
        assert "no space left on device" in message
        assert "disk is full" in message
        fresh.invoke("down")


def test_the_disk_of_the_logs_is_full(fresh: Project) -> None:
    place = fresh.folder / "openframe-small"
    with small_disk(place, "64k"):
        with contextlib.suppress(OSError):
            (place / "ballast").write_bytes(b"x" * 65536)
        done = fresh.invoke("up", "--set", "cluster.agents=0", DEPLOY_LOG_DIR=str(place))
        note(done.text)
        assert done.code in (0, 2), done.text
        assert "Traceback" not in done.text
        assert "space" in done.text.lower()


def test_docker_is_restarted(fresh: Project) -> None:
    """DOCKER_RESTART is the command that does it: it ends every container of this machine."""
    command = os.environ.get("DOCKER_RESTART")
    if not command:
        pytest.skip("DOCKER_RESTART is not set")
    killed = Later(
        lambda: subprocess.run(shlex.split(command), check=True, capture_output=True), lambda: api_answers(fresh)
    )
    done, ended = launch(fresh)
    killed.join(120)
    if done.code:
        assert "Docker engine" in failure(done)
        assert ended - killed.at <= SOON
        completed(fresh)


@pytest.fixture(scope="module")
def launched(project: Project, lab: World) -> Project:
    """An existing cluster, for tests of single releases."""
    project.configure(settings(lab))
    completed(project)
    return project


def test_a_release_never_gets_ready(launched: Project, lab: World) -> None:
    release = lab.release(1, "apps", values={"startup": "600s"}, timeout=12)
    launched.configure(settings(lab, release))
    done = launched.invoke("up")
    message = failure(done)
    assert "app-b" in message
    assert "readiness" in message.lower()
    assert done.seconds <= 12 + AFTER + START


def test_a_chart_repository_fails_and_recovers(launched: Project, lab: World) -> None:
    with charts(os.environ["LAB_CHARTS"] + "/repo-c") as server:
        server.failures = 2
        launched.configure(_from(lab, server.url))
        done = launched.invoke("up")
        assert done.code == 0, done.text
        assert server.failures == 0
        assert len(server.commands) >= 3


def test_a_chart_repository_hangs(launched: Project, lab: World) -> None:
    with charts(os.environ["LAB_CHARTS"] + "/repo-d") as server:
        server.hangs = True
        launched.configure({**_from(lab, server.url, 3), "timeouts": {"pull": 6}})
        done = launched.invoke("up")
        message = failure(done)
        assert "moody" in message
        assert f"no answer within 6 s from the chart repository moody ({server.url})" in message
        assert "timeouts.pull" in message
        assert done.seconds <= 6 + AFTER + START
    launched.configure(settings(lab))
    completed(launched)


def _from(lab: World, url: str, number: int = 2) -> dict[str, Any]:
    """A release from an unreliable repository."""
    release = lab.release(number, "apps")
    release["chart"] = "moody/" + str(release["chart"]).partition("/")[2]
    result = settings(lab, release)
    result["helm"]["repositories"]["moody"] = url
    return result
