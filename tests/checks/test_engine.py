"""What is judged of the engine."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.checks.engine import cgroups, files, forwarding, owner, platform, reachable, storage, unpacking
from tasks.checks.facts import HostFacts
from tasks.core.errors import NoEngine
from tasks.facts.endpoint import EngineStopped
from tasks.settings.derived import kubernetes_minor
from tests.checks.given import WELL, engine, levels, one, settings
from tests.facts.docker_info import ROOTLESS

NONE = replace(WELL, engine=None)


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("28.2.2", "ok"),
        ("20.10.24+dfsg1", "ok"),
        ("20.10.5", "ok"),
        ("20.10.4", "problem"),
        ("19.03.15", "problem"),
        ("27.3.1-rd", "ok"),
        ("dev", "not known"),
    ],
)
def test_the_engines_version(version: str, level: str) -> None:
    found = one(reachable(replace(WELL, engine=engine(ServerVersion=version))))
    assert found.level.value == level
    assert version in found.what


@pytest.mark.parametrize(
    ("error", "startable", "remedy"),
    [
        (NoEngine("you may not use it", why="denied", fix="`sudo usermod`"), True, None),
        (EngineStopped("it does not run", why="w", fix="f"), False, None),
        (EngineStopped("it does not run", why="w", fix="f"), True, ("systemctl", "start", "docker")),
    ],
)
def test_no_engine_is_a_problem_with_reason(error: NoEngine, startable: bool, remedy: tuple[str, ...] | None) -> None:
    """One that was stopped can be started where systemd does it."""
    found = one(reachable(replace(NONE, no_engine=error, startable=startable)))
    assert (found.level.value, found.what, found.why, found.fix) == ("problem", error.what, error.why, error.fix)
    assert (found.remedy and found.remedy.argv) == remedy


@pytest.mark.parametrize(
    ("info", "kubernetes", "cluster", "level"),
    [
        ({"CgroupVersion": "2"}, 35, {}, "ok"),
        ({"CgroupVersion": "1"}, 34, {}, "ok"),
        ({"CgroupVersion": "1"}, 35, {}, "ok"),
        ({"CgroupVersion": "1"}, 36, {}, "ok"),
        ({"CgroupVersion": "1"}, 35, {"kubelet_config": {"failCgroupV1": True}}, "problem"),
        ({"CgroupVersion": "1"}, 35, {"args": {"kubelet": ["fail-cgroupv1=false"]}}, "ok"),
        ({"CgroupVersion": "1"}, 35, {"args": {"kubelet": ["--fail-cgroupv1=False"]}}, "ok"),
        ({"CgroupVersion": "1"}, 35, {"args": {"kubelet": ["fail-cgroupv1=true"]}}, "problem"),
        ({"CgroupVersion": "1"}, 35, {"kubelet_config": {"failCgroupV1": False}}, "ok"),
        ({"CgroupVersion": "1"}, None, {}, "not known"),
        ({"CgroupVersion": "2"}, None, {}, "ok"),
        ({"CgroupVersion": ""}, 32, {}, "not known"),
        ({"MemoryLimit": False}, 32, {}, "problem"),
        ({"CPUSet": False}, 32, {}, "problem"),
        ({"CPUSet": False, "CgroupVersion": "1"}, 32, {}, "ok"),
        ({"PidsLimit": False, "CgroupVersion": "1"}, 32, {}, "problem"),
        ({**ROOTLESS, "CPUSet": True}, 32, {}, "ok"),
        (ROOTLESS, 32, {}, "problem"),
        ({**ROOTLESS, "CPUSet": True, "CpuCfsQuota": False}, 32, {}, "problem"),
        ({**ROOTLESS, "CPUSet": True, "PidsLimit": False}, 32, {}, "problem"),
        ({**ROOTLESS, "MemoryLimit": False}, 32, {}, "problem"),
        ({**ROOTLESS, "CPUSet": True, "CgroupVersion": "1"}, 32, {}, "problem"),
    ],
)
def test_cgroups(info: dict[str, Any], kubernetes: int | None, cluster: dict[str, Any], level: str) -> None:
    facts = replace(WELL, engine=engine(**info), kubernetes=kubernetes, settings=settings(**cluster))
    finding = next(iter(cgroups(facts)))
    assert finding.level.value == level
    assert level not in ("warning", "problem") or (finding.why and finding.fix)


def test_a_rootless_engine_gets_the_command_that_delegates_what_is_missing() -> None:
    rootless = engine(**{**ROOTLESS, "CpuCfsQuota": False})
    finding = one(cgroups(replace(WELL, engine=rootless)))
    assert finding.what == "the rootless engine lacks the cpu and cpuset cgroup controllers"
    assert finding.fix.startswith(
        "`sudo sh -c 'mkdir -p /etc/systemd/system/user@.service.d && "
        'printf "[Service]\\nDelegate=cpu cpuset io memory pids\\n" > '
    )
    assert "systemctl daemon-reload'`" in finding.fix
    elsewhere = one(cgroups(replace(WELL, engine=replace(rootless, here=False))))
    assert elsewhere.fix.startswith("on the engine's machine: ")
    old = one(cgroups(replace(WELL, engine=engine(**{**ROOTLESS, "CgroupVersion": "1", "MemoryLimit": False}))))
    assert "systemd.unified_cgroup_hierarchy=1" in old.fix, "delegation needs cgroup v2 first"


@pytest.mark.parametrize(
    ("image", "minor"),
    [
        ("rancher/k3s:v1.32.3-k3s1", 32),
        ("127.0.0.1:5000/rancher/k3s:v1.35.5-k3s1", 35),
        ("rancher/k3s:1.9.1", 9),
        ("rancher/k3s:latest", None),
        ("rancher/k3s@sha256:9f2c", None),
        ("rancher/k3s", None),
    ],
)
def test_the_minor_version_in_an_images_name(image: str, minor: int | None) -> None:
    assert kubernetes_minor(image) == minor


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({}, []),
        ({"Driver": "btrfs"}, []),
        ({"Driver": "zfs", "DriverStatus": None}, ["warning"]),
        ({"Driver": "vfs"}, ["warning"]),
        ({"DriverStatus": [["Backing Filesystem", "zfs"]]}, ["warning"]),
        ({"Driver": "zfs", "DriverStatus": [["Backing Filesystem", "zfs"]]}, ["warning"]),
    ],
)
def test_storage(info: dict[str, Any], found: list[str]) -> None:
    assert levels(storage(replace(WELL, engine=engine(**info)))) == found


def test_forwarding() -> None:
    assert levels(forwarding(WELL)) == []
    finding = one(forwarding(replace(WELL, engine=engine(IPv4Forwarding=False))))
    assert "ip_forward=1" in finding.fix
    assert finding.remedy is None


@pytest.mark.parametrize(("there", "found"), [(True, []), (False, ["warning"]), (None, [])])
def test_unpacking_by_another_program_where_it_is_known_to_be_missing(there: bool | None, found: list[str]) -> None:
    assert levels(unpacking(replace(WELL, unpigz=there))) == found


@pytest.mark.parametrize("check", [reachable, cgroups, storage, forwarding, unpacking])
def test_without_an_engine_nothing_is_said_of_it(check: Any) -> None:
    facts: HostFacts = NONE
    assert list(check(facts)) == []


@pytest.mark.parametrize(("seen", "found"), [(True, []), (False, ["warning"])])
def test_a_container_whose_engine_sees_none_of_its_files(seen: bool, found: list[str]) -> None:
    assert levels(files(replace(WELL, engine=replace(engine(), files=seen)))) == found


@pytest.mark.parametrize(
    ("chosen", "arch", "found"),
    [
        (None, "x86_64", []),
        ("linux/amd64", "x86_64", []),
        ("linux/arm64", "x86_64", ["warning"]),
        ("linux/amd64", "aarch64", ["warning"]),
        ("linux/arm64/v8", "aarch64", []),
    ],
)
def test_a_platform_for_docker_that_is_not_the_engines(chosen: str | None, arch: str, found: list[str]) -> None:
    environ = {} if chosen is None else {"DOCKER_DEFAULT_PLATFORM": chosen}
    assert levels(platform(replace(WELL, environ=environ, engine=engine(Architecture=arch)))) == found


def test_a_cluster_of_this_name_that_another_user_owns() -> None:
    found = one(owner(replace(WELL, other_owner="ann on laptop")))
    assert (found.level.value, found.what) == ("problem", "the cluster 'openframe-dev' belongs to ann on laptop")
    assert list(owner(WELL)) == []
