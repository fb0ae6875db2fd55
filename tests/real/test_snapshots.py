"""Pause and resume; save, damage, restore, under another name too; files that are not sound."""

import json
import time
from pathlib import Path

import pytest

from tests.real.conftest import Make
from tests.real.project import Project, containers, run
from tests.real.world import World

CLUSTER, OTHER = "snapshot-one", "snapshot-two"


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Project:
    return make(CLUSTER, here.settings([here.release(0, "platform")], namespaces=["platform"], cluster={"agents": 1}))


def restarts(project: Project) -> dict[str, int]:
    pods = project.objects("pods")
    return {
        each["metadata"]["name"]: sum(row["restartCount"] for row in each["status"].get("containerStatuses", ()))
        for each in pods
    }


def test_a_paused_cluster_is_resumed_without_a_restart(project: Project) -> None:
    assert project.invoke("up").code == 0
    before = restarts(project)
    assert project.invoke("down", "--pause").code == 0
    assert project.invoke("status").code == 3
    assert project.invoke("namespaces").code == 3
    time.sleep(12)  # longer than a kubelet renews its lease (10 s)
    done = project.invoke("up")
    assert done.code == 0, done.text
    assert done.seconds < 20
    after = restarts(project)  # and what still started: metrics-server
    assert {name: after.get(name) for name in before} == before


def test_what_was_saved_comes_back(project: Project) -> None:
    done = project.invoke("snapshot", "--save", "one")
    assert done.code == 0, done.text
    (row,) = json.loads(project.invoke("snapshot", "--format", "json").out)
    assert (row["servers"], row["agents"], row["lost"]) == (1, 1, [])
    project.kubectl("delete", "namespace", "platform", "--wait=false")
    assert project.invoke("down").code == 0
    done = project.invoke("up", "--snapshot", "one")
    assert done.code == 0, done.text
    assert "nothing to do" in project.invoke("up").out
    assert project.invoke("status").code == 0


def test_under_another_name_beside_it(project: Project) -> None:
    options = ("--set", "cluster.ports.http=18080", "--set", "cluster.ports.https=18443")
    try:
        done = project.invoke("up", "--snapshot", "one", *options, CLUSTER_NAME=OTHER)
        assert done.code == 0, done.text
        assert containers(CLUSTER)
        assert "nothing to do" in project.invoke("up", *options, CLUSTER_NAME=OTHER).out
    finally:
        project.invoke("down", CLUSTER_NAME=OTHER)
    assert not containers(OTHER)


def test_a_file_is_taken_whole_or_not_at_all(project: Project) -> None:
    path = project.folder / "one.snapshot"
    assert project.invoke("snapshot", "--export", "one", "--file", str(path)).code == 0
    whole = path.read_bytes()
    bad = Path(f"{path}.bad")
    for content in (whole[: len(whole) // 2], whole[:-200_000] + b"\0" + whole[-199_999:]):
        bad.write_bytes(content)
        done = project.invoke("snapshot", "--import", str(bad), "--name", "bad")
        assert done.code == 2, done.text
    assert project.invoke("snapshot", "--import", str(path), "--name", "two").code == 0
    for name in ("one", "two"):
        assert project.invoke("snapshot", "--delete", name).code == 0
    assert run("docker", "volume", "ls", "--quiet", "--filter", "label=openframe.snapshot").strip() == ""
