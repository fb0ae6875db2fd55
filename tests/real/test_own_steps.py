"""What people build and run of their own: two services of a monorepo, built and pushed while the cluster starts, a
StatefulSet that a step fills, a smoke test at the end; only what has changed again; and what goes wrong.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.real.conftest import Make
from tests.real.project import Project, containers, interrupt, run
from tests.real.test_own_stack import chart
from tests.real.world import World

CLUSTER = "own-steps"
CANARY = "canary-of-a-step" + "0123456789"  # in two: the clone holds this file, too
STORE = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: db, image: IMAGE, command: [sleep, "100000"]}]
"""
SERVICES = ("api", "web")
NOW = time.time_ns()
"""In what is built: the registry may have the images of an earlier run."""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: NAME, image: "{{ .Values.image }}", command: [sleep, "100000"]}]
"""
IN_DB = "kubectl --context $CONTEXT --namespace data exec --stdin db-0 -- "


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("monorepo")


def services(here: World, files: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Builds of the services, and their releases."""
    for name in SERVICES:
        (files / name).mkdir()
        (files / name / "file").write_text(f"first {name} {NOW}\n")
        (files / name / "Dockerfile").write_text(f"FROM {here.shell}\nCOPY {name} /srv\n")
    builds = {
        name: {"image": f"{CLUSTER}/{name}", "context": str(files), "dockerfile": f"{name}/Dockerfile"}
        for name in SERVICES
    }
    releases = [
        {
            "name": name,
            "namespace": "apps",
            "chart": chart(files / "charts" / name, DEPLOYMENT.replace("NAME", name), image="", replicas=1),
            "values": {"image": f"${{image:{name}}}"},
        }
        for name in SERVICES
    ]
    return builds, releases


@pytest.fixture(scope="module")
def project(here: World, make: Make, files: Path) -> Iterator[Project]:
    (files / "seed.sql").write_text("one\n")
    database = chart(files / "charts" / "db", STORE.replace("IMAGE", here.shell))
    steps: dict[str, dict[str, Any]] = {
        "early": {"command": ["true"], "before": ["registry"], "inputs": []},
        "seed": {
            "shell": True,
            "dir": str(files),
            "command": f"{IN_DB} sh -c 'cat > /seed; test -s /seed' < seed.sql",
            "retries": 3,  # two in a hundred times `kubectl exec --stdin` loses what it is given, and ends well
            "needs": ["release:db"],
            "inputs": ["*.sql"],
        },
        "smoke": {
            "shell": True,
            "command": f'{IN_DB} cat /seed; kubectl --namespace apps rollout status deployment/web; echo "$T"',
            "needs": ["helm", "step:seed"],
            "secrets": {"T": {"env": "CANARY"}},
            "inputs": [],
        },
        "dump": {"shell": True, "command": f"{IN_DB} cat /seed > {files}/dump", "when": "down"},
    }
    builds, releases = services(here, files)
    releases.append({"name": "db", "namespace": "data", "chart": database})
    given = here.settings(releases, namespaces=["apps", "data"], builds=builds, steps=steps, cluster={"agents": 0})
    result = make(CLUSTER, given)
    result.environ["CANARY"] = CANARY
    yield result
    left = run("docker", "images", "--filter", "label=openframe.build", "--format", "{{.Repository}}:{{.Tag}}").split()
    if own := [name for name in left if f"/{CLUSTER}/" in name]:
        run("docker", "rmi", "--force", *own)


def ran(project: Project, *options: str) -> list[str]:
    """Builds, pushes, releases and the user's own steps that a launch ran; it must end well."""
    done = project.invoke("up", *options)
    assert done.code == 0, done.text
    acted = [name for name, state in project.states().items() if state == "ran"]
    return sorted(name for name in acted if name.startswith(("build: ", "steps: ", "helm: install ")))


def content(project: Project, name: str) -> str:
    return project.kubectl("--namespace", "apps", "exec", f"deployment/{name}", "--", "cat", "/srv/file")


def test_from_nothing_all_of_it_and_again_nothing(project: Project) -> None:
    first = ran(project)
    builds = [f"{what} {name}" for what in ("build:", "build: push") for name in SERVICES]
    releases = ["helm: install api in apps", "helm: install db in data", "helm: install web in apps"]
    own = ["steps: early", "steps: early is remembered", "steps: seed", "steps: smoke"]
    assert first == sorted([*builds, *releases, *own])
    steps = {step["name"]: step for step in project.record()["steps"]}
    assert steps["build: api"]["start_s"] < steps["cluster: create"]["end_s"]
    assert ran(project) == []
    assert project.invoke("status").code == 0


def test_of_one_source_file_what_depends_on_it(project: Project, files: Path) -> None:
    (files / "web" / "file").write_text(f"second web {NOW}\n")
    assert project.invoke("status").code == 5
    assert ran(project) == ["build: push web", "build: web", "helm: install web in apps", "steps: smoke"]
    assert (content(project, "api"), content(project, "web")) == (f"first api {NOW}\n", f"second web {NOW}\n")
    (files / "web" / "file").write_text(f"first web {NOW}\n")
    assert ran(project) == ["helm: install web in apps", "steps: smoke"], "its registry has that image"


def test_steps_run_again_when_something_changes(project: Project, files: Path) -> None:
    (files / "seed.sql").write_text("two\n")
    assert project.invoke("status").code == 5
    assert ran(project) == ["steps: seed", "steps: smoke"]
    project.kubectl("--namespace", "data", "exec", "db-0", "--", "grep", "two", "/seed")
    # a launch that ends between a release and what checks it: the next one checks it all the same
    more = ("--set", "helm.releases.web.values.replicas=2")
    step = "steps.bad={command: ['false'], needs: ['release:apps/web'], before: ['step:smoke']}"
    assert project.invoke("up", *more, "--set", step).code == 1
    assert ran(project, *more) == ["steps: smoke"]
    assert ran(project) == ["helm: install web in apps", "steps: smoke"]


@pytest.mark.parametrize(
    ("step", "code", "reported"),
    [
        ("{shell: true, command: 'sleep 4711 & sleep 4711', timeout: 1}", 1, "did not end within 1 s"),
        ("{shell: true, command: 'echo why; exit 3'}", 1, "ended with code 3: why"),
        ("{shell: true, command: 'echo $T; exit 1', secrets: {T: {env: CANARY}}}", 1, "ended with code 1: ***"),
        ("{shell: true, command: 'sleep 4711 & kill 0'}", 1, "was ended by SIGTERM"),
        ("{command: [no-such-program]}", 1, "steps.bad.command"),
        ("{command: ['true'], needs: [sead]}", 2, "did you mean seed?"),
        ("{command: ['true'], secrets: {T: {env: NOT_SET}}}", 2, "NOT_SET is not set"),
    ],
)
def test_one_that_goes_wrong_is_told_and_leaves_nothing(project: Project, step: str, code: int, reported: str) -> None:
    done = project.invoke("up", "--set", f"steps.bad={step}")
    assert done.code == code, done.text
    assert reported in done.text
    assert left() == []
    assert CANARY not in done.text


def left(seconds: str = "4711") -> list[list[str]]:
    """Programs of steps, and of builds where the engine is on this machine, that still run."""
    found = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [argv for argv in found if argv[:2] == ["sleep", seconds]]


def test_ctrl_c_ends_one_with_all_that_it_has_started(project: Project) -> None:
    step = "steps.bad={shell: true, command: 'trap : TERM; sleep 4711 & while :; do sleep 1; done'}"
    running = project.start("up", "--set", step)
    end = time.monotonic() + 60
    while not left():
        assert time.monotonic() < end
        time.sleep(0.1)
    took, children = interrupt(running)
    assert running.returncode == 130
    assert took < 8
    assert (children, left()) == ([], [])


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
    while not left("4712"):
        assert time.monotonic() < end
        time.sleep(0.1)
    took, children = interrupt(running)
    assert running.returncode == 130
    assert took < 8
    assert children == []
    end = time.monotonic() + 10
    while left("4712"):  # the engine ends it when docker has gone
        assert time.monotonic() < end
        time.sleep(0.1)


def test_on_a_cluster_that_exists_they_are_remembered_apart(project: Project, files: Path) -> None:
    elsewhere = (part for name in SERVICES for part in ("--set", f"builds.{name}.image=registry.example/{name}"))
    context = ("--engine", "existing", "--context", f"k3d-{CLUSTER}", *elsewhere)
    for state in ("ran", "skipped"):
        done = project.invoke("steps", *context)
        assert done.code == 0, done.text
        assert project.states()["steps: smoke"] == state
    assert len([each for each in project.objects("configmap") if "openframe-step" in each["metadata"]["name"]]) == 6
    done = project.invoke("down", *context, "--yes")
    assert done.code == 0, done.text
    assert len([each for each in project.objects("configmap") if "openframe-step" in each["metadata"]["name"]]) == 3
    (files / "dump").unlink()


def test_down_runs_those_that_are_for_it_and_no_secret_is_anywhere(project: Project, files: Path) -> None:
    remaining = project.invoke("down", "--set", "steps.bad={command: ['false'], when: down}")
    assert remaining.code == 1
    assert "steps.bad.enabled=false" in remaining.text
    assert containers(CLUSTER)
    done = project.invoke("down")
    assert done.code == 0, done.text
    assert (files / "dump").read_text() == "two\n"
    assert containers(CLUSTER) == []
    for path in project.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert CANARY.encode() not in path.read_bytes(), path
