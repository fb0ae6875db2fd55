"""Steps of the user's own: a StatefulSet that one fills, a smoke test at the end, and those that go wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.real.conftest import Make
from tests.real.project import Project, containers, interrupt
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
IN_DB = "kubectl --context $CONTEXT --namespace data exec --stdin db-0 -- "


@pytest.fixture(scope="module")
def project(here: World, make: Make, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("own-steps-files")
    (folder / "seed.sql").write_text("one\n")
    database = chart(folder / "db", STORE.replace("IMAGE", here.shell))
    steps: dict[str, dict[str, Any]] = {
        "early": {"command": ["true"], "before": ["registry"], "inputs": []},
        "seed": {
            "shell": True,
            "dir": str(folder),
            "command": f"{IN_DB} sh -c 'cat > /seed' < seed.sql",
            "needs": ["release:db"],
            "inputs": ["*.sql"],
        },
        "smoke": {
            "shell": True,
            "command": f'{IN_DB} cat /seed; kubectl --namespace apps rollout status deployment/app-a; echo "$T"',
            "needs": ["helm", "step:seed"],
            "secrets": {"T": {"env": "CANARY"}},
            "inputs": [],
        },
        "dump": {"shell": True, "command": f"{IN_DB} cat /seed > {folder}/dump", "when": "down"},
    }
    releases = [here.release(0, "apps"), {"name": "db", "namespace": "data", "chart": database}]
    given = here.settings(releases, namespaces=["apps", "data"], steps=steps, cluster={"agents": 0})
    made = make(CLUSTER, given)
    made.environ |= {"CANARY": CANARY, "SEED": str(folder / "seed.sql"), "DUMP": str(folder / "dump")}
    return made


def ran(project: Project, *options: str) -> list[str]:
    """The user's own steps, and releases, that a launch ran; it must end well."""
    done = project.invoke("up", *options)
    assert done.code == 0, done.text
    acted = [name for name, state in project.states().items() if state == "ran"]
    return sorted(name for name in acted if name.startswith(("steps: ", "helm: install ")))


def test_they_run_once_and_again_when_something_changes(project: Project) -> None:
    first = ran(project)
    own = ["steps: early", "steps: early is remembered", "steps: seed", "steps: smoke"]
    assert first == ["helm: install app-a in apps", "helm: install db in data", *own]
    assert ran(project) == []
    assert project.invoke("status").code == 0
    Path(project.environ["SEED"]).write_text("two\n")
    assert project.invoke("status").code == 5
    assert ran(project) == ["steps: seed", "steps: smoke"]
    assert ran(project, "--set", "helm.releases.app-a.values.replicaCount=2") == [
        "helm: install app-a in apps",
        "steps: smoke",
    ]
    project.kubectl("--namespace", "data", "exec", "db-0", "--", "grep", "two", "/seed")
    # a launch that ends between a release and what checks it: the next one checks it all the same
    step = "steps.bad={command: ['false'], needs: ['release:apps/app-a'], before: ['step:smoke']}"
    assert project.invoke("up", "--set", "helm.releases.app-a.values.replicaCount=1", "--set", step).code == 1
    assert ran(project, "--set", "helm.releases.app-a.values.replicaCount=1") == ["steps: smoke"]


@pytest.mark.parametrize(
    ("step", "code", "told"),
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
def test_one_that_goes_wrong_is_told_and_leaves_nothing(project: Project, step: str, code: int, told: str) -> None:
    done = project.invoke("up", "--set", f"steps.bad={step}")
    assert done.code == code, done.text
    assert told in done.text
    assert left() == []
    assert CANARY not in done.text


def left() -> list[list[str]]:
    """Programs of steps that still run."""
    found = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [argv for argv in found if argv[:2] == ["sleep", "4711"]]


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


def test_on_a_cluster_that_exists_they_are_remembered_apart(project: Project) -> None:
    context = ("--engine", "existing", "--context", f"k3d-{CLUSTER}")
    for state in ("ran", "skipped"):
        done = project.invoke("steps", *context)
        assert done.code == 0, done.text
        assert project.states()["steps: smoke"] == state
    assert len([each for each in project.objects("configmap") if "openframe-step" in each["metadata"]["name"]]) == 6
    done = project.invoke("down", *context, "--yes")
    assert done.code == 0, done.text
    assert len([each for each in project.objects("configmap") if "openframe-step" in each["metadata"]["name"]]) == 3
    Path(project.environ["DUMP"]).unlink()


def test_down_runs_those_that_are_for_it_and_no_secret_is_anywhere(project: Project) -> None:
    kept = project.invoke("down", "--set", "steps.bad={command: ['false'], when: down}")
    assert kept.code == 1
    assert "steps.bad.enabled=false" in kept.text
    assert containers(CLUSTER)
    done = project.invoke("down")
    assert done.code == 0, done.text
    assert Path(project.environ["DUMP"]).read_text() == "two\n"
    assert containers(CLUSTER) == []
    for path in project.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert CANARY.encode() not in path.read_bytes(), path
