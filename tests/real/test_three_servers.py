"""Several servers: k3d's load balancer, and the first server's own port for the early start."""

import pytest

from tests.real.conftest import Make
from tests.real.project import Project, containers, remains
from tests.real.world import World

CLUSTER = "three-servers"


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Project:
    settings = here.settings(
        [here.release(0, "apps")],
        namespaces=["apps"],
        cluster={"servers": 3, "agents": 1, "kubelet_config": {"maxPods": 77}},
    )
    result = make(CLUSTER, settings)
    done = result.invoke("up")
    assert done.code == 0, done.text
    return result


def test_all_nodes_and_the_load_balancer_stand(project: Project) -> None:
    assert len(project.objects("nodes")) == 4
    assert f"k3d-{CLUSTER}-serverlb" in containers(CLUSTER)


def test_the_kubelets_drop_in_reaches_every_node(project: Project) -> None:
    assert {node["status"]["capacity"]["pods"] for node in project.objects("nodes")} == {"77"}


def test_work_began_before_the_cluster_was_complete(project: Project) -> None:
    steps = {step["name"]: step for step in project.record()["steps"]}
    assert steps["namespaces: apply"]["end_s"] < steps["cluster: create"]["end_s"]


def test_again_nothing_and_down(project: Project) -> None:
    again = project.invoke("up")
    assert "nothing to do" in again.out, again.text
    assert project.invoke("down").code == 0
    assert remains(CLUSTER) == []
