"""More agents are added to a cluster that runs; what k3d cannot change in place is refused, or recreated."""

import json

import pytest

from tests.real.conftest import Make
from tests.real.project import Project, containers, run
from tests.real.world import World

CLUSTER = "growing-one"


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Project:
    return make(CLUSTER, here.settings([], namespaces=["apps"], cluster={"agents": 0}))


@pytest.mark.parametrize("agents", [0, 1, 2])
def test_agents_are_added_one_by_one(project: Project, agents: int) -> None:
    done = project.invoke("up", K3D_AGENTS=str(agents))
    assert done.code == 0, done.text
    roles = [node["metadata"]["labels"].get("role") for node in project.objects("nodes")]
    assert sorted(roles) == ["agent"] * agents + ["server"]
    shown = run("docker", "inspect", "--format", "{{.HostConfig.NanoCpus}}", *containers(CLUSTER))
    assert all(int(line) > 0 for line in shown.split())
    assert "nothing to do" in project.invoke("up", K3D_AGENTS=str(agents)).out


def test_what_cannot_be_changed_in_place_is_refused_with_the_list(project: Project) -> None:
    before = containers(CLUSTER)
    done = project.invoke("up", "--set", "cluster.ports.http=18080", "--set", "cluster.limits.agent_memory=1G")
    assert done.code == 5, done.text
    assert "cluster.ports.http: 80 → 18080" in done.err
    assert "cluster.limits.agent_memory" in done.err
    assert "--recreate" in done.err
    assert containers(CLUSTER) == before


def test_recreate_makes_it_anew(project: Project) -> None:
    done = project.invoke("up", "--recreate", "--set", "cluster.ports.http=18080")
    assert done.code == 0, done.text
    server = json.loads(run("docker", "inspect", f"k3d-{CLUSTER}-server-0"))[0]
    bound = {inside.split("/")[0]: rows[0]["HostPort"] for inside, rows in server["HostConfig"]["PortBindings"].items()}
    assert bound["80"] == "18080"
    assert len(project.objects("nodes")) == 1
