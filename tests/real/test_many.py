"""Several runs at the same time: beside each other on different clusters, one after another on one."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.conftest import Make
from tests.real.project import Project, remains, run
from tests.real.world import World

NAMES = ("many-one", "many-two", "many-three")


@pytest.fixture(scope="module")
def projects(here: World, make: Make) -> Iterator[list[Project]]:
    """Three clusters of one user, launched at once."""
    settings = here.settings(
        [here.release(0, "apps"), here.release(1, "apps")], namespaces=["apps"], cluster={"agents": 0}
    )
    result = [make(name, settings) for name in NAMES]
    for project in result[1:]:  # one user: one home, one kubeconfig, one state and cache
        for name in ("HOME", "KUBECONFIG", "XDG_STATE_HOME", "XDG_CACHE_HOME", "DEPLOY_LOG_DIR"):
            project.environ[name] = result[0].environ[name]
    together(result, "up")
    yield result
    together(result, "down")
    for name in NAMES:
        assert remains(name) == []


def together(projects: list[Project], task: str) -> None:
    """The same task of all at the same time."""
    started = [project.start(task) for project in projects]
    output = [process.communicate(timeout=400)[0] for process in started]
    for process, text in zip(started, output, strict=True):
        assert process.returncode == 0, text


def private(project: Project) -> str:
    return str(project.kubeconfig).replace(str(project.folder / "state"), project.environ["XDG_STATE_HOME"])


def test_all_of_them_stand(projects: list[Project]) -> None:
    for project in projects:
        assert project.invoke("status").code == 0
        listed = run("kubectl", "--kubeconfig", private(project), "get", "deployments", "--namespace=apps", "-ojson")
        ready = [item["status"].get("availableReplicas", 0) for item in json.loads(listed)["items"]]
        assert ready == [1, 1]
        assert project.invoke("up").code == 0
        ran = {step["name"] for step in record_of(project)["steps"] if step["state"] != "skipped"}
        assert ran <= {"cluster: switch your kubeconfig to it", "cluster: watch the nodes"}  # only one can be that


def record_of(project: Project) -> dict[str, Any]:
    """Of the newest run of all of them: they share their logs."""
    found: dict[str, Any] = json.loads((Path(project.environ["DEPLOY_LOG_DIR"]) / "latest.json").read_text())
    return found


def test_no_port_is_theirs_together(projects: list[Project]) -> None:
    ports = []
    for project in projects:
        shown = json.loads(run("docker", "inspect", f"k3d-{project.cluster}-server-0"))[0]
        ports += [rows[0]["HostPort"] for rows in shown["NetworkSettings"]["Ports"].values() if rows]
    assert len(ports) == len(set(ports)) >= 9


def test_the_kubeconfig_has_them_all(projects: list[Project]) -> None:
    path = projects[0].environ["KUBECONFIG"]
    names = run("kubectl", "--kubeconfig", path, "config", "get-contexts", "--output=name").split()
    assert sorted(names) == sorted(f"k3d-{name}" for name in NAMES)
    for name in NAMES:
        nodes = run("kubectl", "--kubeconfig", path, "--context", f"k3d-{name}", "get", "nodes", "--output=name")
        assert nodes.split() == [f"node/k3d-{name}-server-0"]


def test_a_second_run_on_one_says_who_holds_it_or_waits(projects: list[Project]) -> None:
    project = projects[0]
    run("kubectl", "--kubeconfig", private(project), "delete", "deployment", "app-a", "--namespace=apps")
    first = project.start("up")
    wait_until_held(project, first)
    second = project.invoke("up")
    third = project.invoke("up", "--wait-lock")
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 0, output
    assert second.code == 1
    assert f"process {first.pid} runs 'up'" in second.err
    assert second.seconds < 2
    assert third.code == 0, third.text
    assert "nothing to do" in third.out


def wait_until_held(project: Project, process: subprocess.Popen[str]) -> None:
    lock = Path(project.environ["XDG_STATE_HOME"]) / "openframe" / "clusters" / f"{project.cluster}.lock"
    end = time.monotonic() + 20
    while f"{process.pid} up" not in lock.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
