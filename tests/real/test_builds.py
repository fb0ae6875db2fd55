"""Two services of a monorepo: built and pushed while the cluster starts, and only what has changed again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.real.conftest import Make
from tests.real.project import Project, interrupt, run
from tests.real.test_own_stack import chart
from tests.real.world import World

CLUSTER = "builds"
SERVICES = ("api", "web")
NOW = time.time_ns()
"""In what is built: the registry may have the images of an earlier run."""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: NAME, image: "{{ .Values.image }}", command: [sleep, "100000"]}]
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("monorepo")


@pytest.fixture(scope="module")
def project(here: World, make: Make, files: Path) -> Iterator[Project]:
    for name in SERVICES:
        (files / name).mkdir()
        (files / name / "file").write_text(f"first {name} {NOW}\n")
        (files / name / "Dockerfile").write_text(f"FROM {here.shell}\nCOPY {name} /srv\n")
    builds = {
        name: {"image": f"{CLUSTER}/{name}", "context": str(files), "dockerfile": f"{name}/Dockerfile"}
        for name in SERVICES
    }
    releases: list[dict[str, Any]] = [
        {
            "name": name,
            "namespace": "apps",
            "chart": chart(files / "charts" / name, DEPLOYMENT.replace("NAME", name), image=""),
            "values": {"image": f"${{image:{name}}}"},
        }
        for name in SERVICES
    ]
    yield make(CLUSTER, here.settings(releases, namespaces=["apps"], builds=builds, cluster={"agents": 0}))
    left = run("docker", "images", "--filter", "label=openframe.build", "--format", "{{.Repository}}:{{.Tag}}").split()
    if own := [name for name in left if f"/{CLUSTER}/" in name]:
        run("docker", "rmi", "--force", *own)


def ran(project: Project, *options: str) -> list[str]:
    """Builds, pushes and releases that a launch has made; it must end well."""
    done = project.invoke("up", *options)
    assert done.code == 0, done.text
    acted = [name for name, state in project.states().items() if state == "ran"]
    return sorted(name for name in acted if name.startswith(("build: ", "helm: install ")))


def content(project: Project, name: str) -> str:
    return project.kubectl("--namespace", "apps", "exec", f"deployment/{name}", "--", "cat", "/srv/file")


def test_only_what_has_changed_is_built_and_upgraded(project: Project, files: Path) -> None:
    whole = [f"{what} {name}" for what in ("build:", "build: push") for name in SERVICES]
    assert ran(project) == sorted([*whole, *(f"helm: install {name} in apps" for name in SERVICES)])
    steps = {step["name"]: step for step in project.record()["steps"]}
    assert steps["build: api"]["start_s"] < steps["cluster: create"]["end_s"]
    assert ran(project) == []
    assert project.invoke("status").code == 0
    (files / "web" / "file").write_text(f"second web {NOW}\n")
    assert project.invoke("status").code == 5
    assert ran(project) == ["build: push web", "build: web", "helm: install web in apps"]
    assert (content(project, "api"), content(project, "web")) == (f"first api {NOW}\n", f"second web {NOW}\n")
    (files / "web" / "file").write_text(f"first web {NOW}\n")
    assert ran(project) == ["helm: install web in apps"], "its registry has that image"


def test_a_build_that_fails_names_the_line_and_leaves_nothing(project: Project, here: World, files: Path) -> None:
    (files / "bad").mkdir()
    (files / "bad" / "Dockerfile").write_text(f"FROM {here.shell}\n\nRUN echo the reason; exit 3\n")
    done = project.invoke("up", "--set", f"builds.bad.context={files / 'bad'}")
    assert done.code == 1, done.text
    assert "the build of 'bad' failed at Dockerfile:3" in done.text
    assert "the reason" in done.text
    assert ran(project) == []


def test_ctrl_c_ends_a_build_whole(project: Project, here: World, files: Path) -> None:
    (files / "slow").mkdir()
    (files / "slow" / "Dockerfile").write_text(f"FROM {here.shell}\nRUN sleep 4712\n")
    running = project.start("up", "--set", f"builds.slow.context={files / 'slow'}")
    end = time.monotonic() + 60
    while not sleeping():
        assert time.monotonic() < end
        time.sleep(0.1)
    took, children = interrupt(running)
    assert running.returncode == 130
    assert took < 8
    assert children == []
    end = time.monotonic() + 10
    while sleeping():  # the engine ends it when docker has gone
        assert time.monotonic() < end
        time.sleep(0.1)


def sleeping() -> list[list[str]]:
    """What runs in a build, where the engine is on this machine."""
    found = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [argv for argv in found if argv[:2] == ["sleep", "4712"]]
