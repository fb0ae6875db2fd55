"""The engine's machine against the plan, and what this user may do."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.checks import machine
from tasks.checks.facts import Context, HostFacts
from tasks.core.errors import BadInput
from tasks.facts.host import Disk, Inotify, Rights
from tasks.facts.programs import Versions
from tasks.settings.schema import Settings
from tests.checks.given import GIB, WELL, engine, one, settings
from tests.facts.docker_info import DESKTOP


@pytest.mark.parametrize(
    ("ncpu", "agents", "cluster", "level", "fix"),
    [
        (8, 4, {}, "ok", ""),
        (2, 1, {}, "ok", ""),
        (1, 1, {}, "warning", "colima start --cpu"),
        (4, 1, {"limits": {"agent_cpus": 6}}, "ok", ""),
    ],
)
def test_cpus(ncpu: int, agents: int, cluster: dict[str, Any], level: str, fix: str) -> None:
    found = one(machine.cpus(replace(WELL, engine=engine(NCPU=ncpu), agents=agents, settings=settings(**cluster))))
    assert found.level.value == level
    assert fix in found.fix


@pytest.mark.parametrize(
    ("have", "agents", "cluster", "level", "output"),
    [
        (16, 4, {}, "ok", "may use 8.0 GiB"),
        (6, 4, {}, "ok", "may use 8.0 GiB"),
        (5, 4, {}, "warning", "the engine has 5.0 GiB K3D_AGENTS=2 "),
        (3, 4, {"servers": 3}, "warning", "the engine has 3.0 GiB K3D_AGENTS=0 "),
        (5, 4, {"limits": {"enabled": False}}, "ok", "without limits"),
        (1, 1, {}, "warning", "the engine has 1.0 GiB"),
        (4, 0, {"servers": 3}, "ok", "3 servers and 0 agents"),
    ],
)
def test_memory(have: int, agents: int, cluster: dict[str, Any], level: str, output: str) -> None:
    facts = replace(WELL, engine=engine(MemTotal=have * GIB), agents=agents, settings=settings(**cluster))
    found = one(machine.memory(facts))
    assert found.level.value == level
    assert output in f"{found.what} {found.fix.removeprefix('`')}"
    assert list(machine.memory(replace(WELL, engine=engine(MemTotal=0)))) == [], "an engine that does not tell"


@pytest.mark.parametrize(
    ("total", "free", "cluster", "level"),
    [
        (200, 100, {}, "ok"),
        (100, 9, {}, "warning"),
        (100, 5.1, {}, "warning"),
        (100, 4.9, {}, "problem"),
        (1000, 40, {}, "problem"),
        (1000, 40, {"args": {"kubelet": ["eviction-hard=nodefs.available<1%"]}}, "ok"),
        (1000, 40, {"kubelet_config": {"evictionHard": {"nodefs.available": "1%"}}}, "ok"),
        (20, 1.9, {"args": {"kubelet": ["eviction-hard=nodefs.available<1%"]}}, "problem"),
    ],
)
def test_disk(total: float, free: float, cluster: dict[str, Any], level: str) -> None:
    width = Disk(total=int(total * GIB), free=int(free * GIB))
    found = one(machine.disk(replace(WELL, disk=width, settings=settings(**cluster))))
    assert found.level.value == level
    assert "/var/lib/docker" in found.what
    assert found.remedy is None  # nothing that deletes


@pytest.mark.parametrize(
    ("instances", "watches", "agents", "level"),
    [
        (1024, 1048576, 4, "ok"),
        (512, 65536, 4, "ok"),
        (128, 1048576, 4, "warning"),
        (128, 192536, 1, "warning"),
        (128, 8192, 0, "ok"),
        (512, 8192, 4, "warning"),
        (19, 1048576, 4, "problem"),
        (20, 1048576, 4, "warning"),
    ],
)
def test_inotify(instances: int, watches: int, agents: int, level: str) -> None:
    facts = replace(WELL, inotify=Inotify(instances=instances, watches=watches), agents=agents)
    assert one(machine.inotify(facts)).level.value == level


def test_inotify_is_only_ever_raised() -> None:
    found = one(machine.inotify(replace(WELL, inotify=Inotify(instances=128, watches=1048576))))
    assert found.remedy is not None
    argv = ("sysctl", "-w", "fs.inotify.max_user_instances=512", "fs.inotify.max_user_watches=1048576")
    assert found.remedy.argv == argv
    assert f"`sudo {' '.join(argv)}`" in found.fix


@pytest.mark.parametrize("check", [machine.disk, machine.inotify])
def test_another_machine_is_said_to_be_unseen(check: Any) -> None:
    facts = replace(WELL, engine=replace(engine(**DESKTOP), here=False), disk=None, inotify=None)
    found = one(check(facts))
    assert found.level.value == "not known"
    assert "in its own machine" in found.what


@pytest.mark.parametrize("check", [machine.cpus, machine.memory, machine.disk, machine.inotify])
def test_without_an_engine_nothing_is_said_of_it(check: Any) -> None:
    assert list(check(replace(WELL, engine=None))) == []


ALL = ("rancher/k3s:v1.35.5-k3s1", "ghcr.io/k3d-io/k3d-tools:5.9.0", "docker.io/library/registry:2")
NEW = replace(WELL, missing=ALL)


@pytest.mark.parametrize(
    ("facts", "output"),
    [
        (NEW, "about 3.2 GiB: 3 images to pull, and those of 5 nodes and 1 release"),
        (replace(NEW, missing=()), "about 2.8 GiB: 0 images to pull"),
        (
            replace(NEW, missing=ALL[1:2], cluster_exists=True),
            "about 0.1 GiB: 1 image to pull, and the cluster already has its own",
        ),
        (replace(NEW, settings=settings(servers=3), agents=0), "those of 3 nodes"),
    ],
)
def test_images_to_come(facts: HostFacts, output: str) -> None:
    found = one(machine.images(facts))
    assert found.level.value == "ok"
    assert output in found.what


@pytest.mark.parametrize(
    ("total", "free", "level"), [(20, 4.3, "ok"), (20, 4.1, "warning"), (100, 9, "ok"), (100, 8, "warning")]
)
def test_room_is_judged_by_what_would_be_left(total: float, free: float, level: str) -> None:
    found = one(machine.images(replace(NEW, disk=Disk(total=int(total * GIB), free=int(free * GIB)))))
    assert found.level.value == level


@pytest.mark.parametrize("facts", [WELL, replace(NEW, disk=None), replace(NEW, engine=None)])
def test_room_that_does_not_show(facts: HostFacts) -> None:
    assert list(machine.images(facts)) == []


@pytest.mark.parametrize(
    ("rights", "tune", "level", "output"),
    [
        (Rights(root=True, sudo=None), "auto", "ok", "you are root"),
        (Rights(root=False, sudo=True), "auto", "ok", "without a password"),
        (Rights(root=False, sudo=False), "off", "ok", "asks for a password"),
        (Rights(root=False, sudo=None), "off", "ok", "there is none"),
        (Rights(root=False, sudo=False), "auto", "warning", "docker.tune is auto"),
    ],
)
def test_sudo(rights: Rights, tune: str, level: str, output: str) -> None:
    facts = replace(WELL, rights=rights, settings=Settings.model_validate({"docker": {"tune": tune}}))
    found = one(machine.sudo(facts))
    assert list(machine.sudo(replace(facts, rights=None))) == []
    assert found.level.value == level
    assert output in found.what


@pytest.mark.parametrize(("fault", "found"), [(None, []), ("", []), ("Read-only file system", ["warning"])])
def test_a_kubeconfig_that_cannot_be_written(fault: str | None, found: list[str]) -> None:
    assert [each.level.value for each in machine.kubeconfig(replace(WELL, unwritable=fault))] == found


def test_folders_that_cannot_be_used() -> None:
    error = BadInput("/state cannot be used: Permission denied", why="it belongs to root", fix="sudo chown")
    found = one(machine.folders(replace(WELL, folders=error)))
    assert (found.level.value, found.what) == ("problem", "/state cannot be used: Permission denied")
    assert list(machine.folders(WELL)) == []


# -- programs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "versions", "kubernetes", "level"),
    [
        (machine.k3d, Versions(k3d="v5.9.0"), 32, "ok"),
        (machine.k3d, Versions(k3d="v5.7.0"), 32, "ok"),
        (machine.k3d, Versions(k3d="v5.6.3"), 32, "warning"),
        (machine.k3d, Versions(k3d="v4.4.8"), 32, "warning"),
        (machine.k3d, Versions(k3d="v5-dev"), 32, "ok"),
        (machine.k3d, Versions(k3d="v6.0.0"), 32, "problem"),
        (machine.k3d, Versions(), 32, "warning"),
        (machine.kubectl, Versions(kubectl="v1.32.4-dispatcher"), 32, "ok"),
        (machine.kubectl, Versions(kubectl="v1.33.13"), 32, "ok"),
        (machine.kubectl, Versions(kubectl="v1.31.0"), 32, "ok"),
        (machine.kubectl, Versions(kubectl="v1.34.1"), 32, "warning"),
        (machine.kubectl, Versions(kubectl="v1.28.0"), 32, "warning"),
        (machine.kubectl, Versions(kubectl="v1.28.0"), None, "ok"),
        (machine.kubectl, Versions(kubectl="v1.21.0"), None, "warning"),
        (machine.kubectl, Versions(), 32, "warning"),
        (machine.helm, Versions(helm="v4.1.4"), 32, "ok"),
        (machine.helm, Versions(helm="v4.1.4"), 35, "ok"),
        (machine.helm, Versions(helm="v4.1.4"), 36, "warning"),
        (machine.helm, Versions(helm="v4.2.0"), 32, "warning"),
        (machine.helm, Versions(helm="v3.13.0"), 28, "ok"),
        (machine.helm, Versions(helm="v3.12.3"), 27, "warning"),
        (machine.helm, Versions(helm="v3.19"), 32, "ok"),
        (machine.helm, Versions(helm="v5.0.0"), 32, "ok"),
        (machine.helm, Versions(), None, "warning"),
    ],
)
def test_versions(check: Any, versions: Versions, kubernetes: int | None, level: str) -> None:
    found = one(check(replace(WELL, versions=versions, kubernetes=kubernetes)))
    assert found.level.value == level


@pytest.mark.parametrize(
    ("check", "versions"),
    [(machine.k3d, Versions(k3d="v5.6.3")), (machine.helm, Versions(helm="v3.12.3")), (machine.kubectl, Versions())],
)
def test_what_should_have_been_fetched_stops_a_launch(check: Any, versions: Versions) -> None:
    assert list(check(replace(WELL, versions=None))) == []
    before = one(check(replace(WELL, versions=versions)))
    after = one(check(replace(WELL, versions=versions, fetched=True)))
    assert (before.level.value, after.level.value) == ("warning", "problem")
    assert before.remedy is not None
    assert before.remedy.fetch
    assert before.remedy.shown == "make tools"


@pytest.mark.parametrize(
    ("version", "window"),
    [
        ("v3.13.3", (25, 28)),
        ("v3.19.5", (31, 34)),
        ("v3.20.0", (32, 35)),
        ("v4.0.0", (31, 34)),
        ("v4.1.4", (32, 35)),
        ("v4.2.0", (33, 36)),
        ("v5.0.0", None),
        ("v2.17.0", None),
        ("", None),
        (None, None),
    ],
)
def test_the_window_of_a_helm(version: str | None, window: tuple[int, int] | None) -> None:
    """The table of helm.sh/docs/topics/version_skew."""
    assert machine.helm_window(version) == window


def test_a_foreign_cluster() -> None:
    reached = replace(WELL, engine=None, context=Context(name="prod", version="v1.33.1"))
    assert one(machine.context(reached)).level.value == "ok"
    lost = replace(reached, context=Context(name="prod", version=None, error='context "prod" does not exist'))
    found = one(machine.context(lost))
    assert (found.level.value, found.why) == ("problem", 'context "prod" does not exist')
    assert list(machine.k3d(reached)) == []
    assert list(machine.context(WELL)) == []
