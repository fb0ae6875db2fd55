"""The engine `existing`: the same objects on a cluster of somebody else, which is neither made nor removed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.real.conftest import Make
from tests.real.project import Project, containers, run
from tests.real.world import World

CLUSTER = "somebody-elses"
CONTEXT = "their-cluster"


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Project:
    settings = here.settings([here.release(0, "apps")], namespaces=["apps", "more"])
    made = make(CLUSTER, settings)
    done = made.invoke("cluster", "--set", "cluster.agents=0")
    assert done.code == 0, done.text
    theirs = made.home / "their-kubeconfig"
    theirs.write_text(made.kubeconfig.read_text())
    run("kubectl", "--kubeconfig", str(theirs), "config", "rename-context", f"k3d-{CLUSTER}", CONTEXT)
    run("kubectl", "--kubeconfig", str(theirs), "config", "unset", "current-context")
    made.environ["KUBECONFIG"] = str(theirs)
    return made


def existing(project: Project, task: str, *options: str, code: int = 0) -> str:
    done = project.invoke(task, "--engine", "existing", "--context", CONTEXT, *options)
    assert done.code == code, done.text
    return done.text


def test_the_context_must_be_named_and_be_there(project: Project) -> None:
    assert project.invoke("up", "--engine", "existing").code == 2
    wrong = project.invoke("up", "--engine", "existing", "--context", "no-such")
    assert wrong.code == 2
    assert CONTEXT in wrong.err


def test_up_puts_the_same_objects_in_and_touches_no_cluster(project: Project) -> None:
    before, theirs = containers(CLUSTER), Path(project.environ["KUBECONFIG"]).read_text()
    begun = time.time()
    existing(project, "up")
    assert containers(CLUSTER) == before
    assert Path(project.environ["KUBECONFIG"]).read_text() == theirs
    events = run(
        "docker",
        "events",
        "--since",
        str(int(begun)),
        "--until",
        str(int(time.time()) + 1),
        "--filter",
        "type=container",
        "--filter",
        "event=create",
        "--format",
        "{{json .}}",
    )
    assert not [line for line in events.splitlines() if json.loads(line)["Actor"]["Attributes"].get("app") == "k3d"]
    names = {item["metadata"]["name"] for item in project.objects("namespaces")}
    assert {"apps", "more"} <= names
    assert len([s for s in project.objects("secrets") if s["metadata"]["name"] == "github-pat-secret"]) == 2
    assert len(project.objects("networkpolicies")) == 2
    assert "nothing to do" in existing(project, "up")
    existing(project, "status")


def test_down_asks_and_removes_only_what_carries_the_label(project: Project) -> None:
    project.kubectl("create", "namespace", "not-ours")
    refused = existing(project, "down", code=2)
    assert "--yes" in refused
    existing(project, "down", "--yes")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        names = {item["metadata"]["name"] for item in project.objects("namespaces")}
        if not names & {"apps", "more"}:
            break
        time.sleep(0.5)
    assert not names & {"apps", "more"}
    assert "not-ours" in names
    assert containers(CLUSTER)
