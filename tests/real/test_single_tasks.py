"""Each task alone: without a cluster, on one, and twice."""

import time
from pathlib import Path

import pytest

from tests.contract.test_layers import LOADED, loaded
from tests.real.conftest import Make
from tests.real.project import Project, containers, run
from tests.real.world import World

INSIDE = ("namespaces", "secrets", "manifests", "helm", "health")
CLUSTER = "openframe-single"


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Project:
    return make(CLUSTER, here.settings([here.release(0, "apps")], namespaces=["apps", "more"]))


@pytest.mark.parametrize("task", INSIDE)
def test_without_a_cluster_it_ends_with_4_and_names_the_task_that_makes_one(project: Project, task: str) -> None:
    done = project.invoke(task)
    assert done.code == 4, done.text
    assert "invoke cluster" in done.err
    assert containers(CLUSTER) == []


@pytest.mark.parametrize("task", ["prepull", "registry", "plan", "doctor", "config", "down"])
def test_these_need_no_cluster(project: Project, task: str) -> None:
    for _ in range(2):
        done = project.invoke(task)
        assert done.code == 0, done.text
        assert containers(CLUSTER) == []


@pytest.mark.parametrize("task", ["cluster", *INSIDE])
def test_on_a_cluster_it_does_its_part_and_then_nothing(project: Project, task: str) -> None:
    done = project.invoke(task)
    assert done.code == 0, done.text
    again = project.invoke(task)
    assert again.code == 0, again.text
    assert "nothing to do" in again.out


def test_what_each_has_done_is_there(project: Project) -> None:
    names = {item["metadata"]["name"] for item in project.objects("namespaces")}
    assert {"apps", "more"} <= names
    assert len([s for s in project.objects("secrets") if s["metadata"]["name"] == "github-pat-secret"]) == 2
    assert len(project.objects("networkpolicies")) == 2
    deployed = [d for d in project.objects("deployments") if d["metadata"]["namespace"] == "apps"]
    assert deployed
    assert all(d["status"].get("availableReplicas") for d in deployed)


@pytest.mark.parametrize("missing", [False, True], ids=["nothing to do", "a secret to create"])
def test_a_part_loads_only_what_it_needs(project: Project, missing: bool) -> None:
    if missing:
        project.kubectl("delete", "secret", "--namespace=apps", "github-pat-secret")
    done = project.invoke("secrets", PYTHONPROFILEIMPORTTIME="1")
    assert ("nothing to do" in done.out) is not missing, done.text
    modules = loaded(done.err)
    assert 50 < len(modules) <= LOADED, sorted(modules)


def test_up_after_all_of_them_finds_nothing_to_do(project: Project) -> None:
    done = project.invoke("up")
    assert done.code == 0, done.text
    ran = [name for name, state in project.states().items() if state == "ran"]
    assert ran == [], ran


def test_registry_status_tells_size_and_clusters(project: Project) -> None:
    done = project.invoke("registry", "--status")
    assert done.code == 0, done.text
    assert "k3d-openframe-registry" in done.out
    assert CLUSTER in done.out
    refused = project.invoke("registry", "--purge")
    assert refused.code == 1, refused.text
    assert CLUSTER in refused.err


def test_a_cache_whose_list_was_cut_off_is_told_and_starts_again(project: Project, tmp_path: Path) -> None:
    ours = ("--filter", "label=openframe.cache=docker.io", "--filter", f"network=k3d-{CLUSTER}")
    name = run("docker", "ps", *ours, "--format", "{{.Names}}").split()[0]
    cut = tmp_path / "cut"
    cut.write_text('{"a')
    run("docker", "cp", str(cut), f"{name}:/var/lib/registry/scheduler-state.json")
    run("docker", "restart", name)
    end = time.monotonic() + 20
    while int(run("docker", "inspect", "--format", "{{.RestartCount}}", name)) < 3:
        assert time.monotonic() < end, "it does not keep ending"
        time.sleep(0.2)
    shown = project.invoke("registry", "--status")
    assert f"{name} keeps ending: " in shown.out, shown.text
    done = project.invoke("registry")
    assert done.code == 0, done.text
    assert "was truncated" in done.out
    assert "nothing to do" in project.invoke("registry").out
