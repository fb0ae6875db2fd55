"""What a process may use, from cgroup files as kernels write them, and the size of a launch that follows."""

from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tasks.facts import machine
from tasks.facts import machine as module

GIB = 1024**3
V1 = "9:name=systemd:/\n4:memory:/process_api/c1967\n3:cpuset:/\n2:cpu,cpuacct:/user.slice\n0::/\n"
V2 = "0::/user.slice/user-1000.slice/session-2.scope\n"


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_groups_by_controller() -> None:
    assert machine.own_groups(V2) == {"": "/user.slice/user-1000.slice/session-2.scope"}
    groups = machine.own_groups(V1)
    assert groups["memory"] == "/process_api/c1967"
    assert groups["cpu"] == groups["cpuacct"] == "/user.slice"
    assert machine.own_groups("") == {}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cgroup.controllers": "cpu memory"}, machine.Limits()),
        ({"cgroup.controllers": "", "cpu.max": "max 100000", "memory.max": "max"}, machine.Limits()),
        (
            {"cgroup.controllers": "", "cpu.max": "150000 100000", "memory.max": str(4 * GIB)},
            machine.Limits(cpus=1.5, memory_bytes=4 * GIB),
        ),
        (  # a parent's limit holds for all below it
            {
                "cgroup.controllers": "",
                "user.slice/memory.max": str(2 * GIB),
                "user.slice/user-1000.slice/memory.max": str(8 * GIB),
                "user.slice/user-1000.slice/session-2.scope/cpu.max": "200000 100000",
                "system.slice/memory.max": str(GIB),
            },
            machine.Limits(cpus=2.0, memory_bytes=2 * GIB),
        ),
        ({"cgroup.controllers": "", "cpu.max": "rubbish", "memory.max": ""}, machine.Limits()),
    ],
)
def test_limits_of_cgroup_v2(tmp_path: Path, files: Mapping[str, str], expected: machine.Limits) -> None:
    assert machine.limits(machine.own_groups(V2), tree(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            machine.Limits(),
        ),
        (
            {
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
                "cpu/user.slice/cpu.cfs_quota_us": "50000",
                "cpu/user.slice/cpu.cfs_period_us": "100000",
                "memory/process_api/memory.limit_in_bytes": str(3 * GIB),
            },
            machine.Limits(cpus=0.5, memory_bytes=3 * GIB),
        ),
    ],
)
def test_limits_of_cgroup_v1(tmp_path: Path, files: Mapping[str, str], expected: machine.Limits) -> None:
    assert machine.limits(machine.own_groups(V1), tree(tmp_path, files)) == expected


def test_a_path_of_another_namespace_leads_nowhere(tmp_path: Path) -> None:
    root = tree(tmp_path / "cgroup", {"cgroup.controllers": "", "memory.max": str(GIB)})
    tree(tmp_path, {"memory.max": "1"})
    assert machine.limits({"": "/../../kubepods/pod1"}, root) == machine.Limits(memory_bytes=GIB)


def test_no_cgroups_no_limits(tmp_path: Path) -> None:
    assert machine.own_limits(tmp_path / "none", tmp_path) == machine.Limits()


@pytest.mark.parametrize(("cpus", "quota", "expected"), [(8, None, 8), (8, 2.9, 2), (8, 0.5, 1), (2, 16.0, 2)])
def test_whole_cpus_and_at_least_one(cpus: int, quota: float | None, expected: int) -> None:
    assert machine.bounded_cpus(cpus, machine.Limits(cpus=quota)) == expected


def test_memory_is_the_smaller_one() -> None:
    assert machine.bounded_memory(8, machine.Limits()) == 8
    assert machine.bounded_memory(8, machine.Limits(memory_bytes=4)) == 4
    assert machine.bounded_memory(8, machine.Limits(memory_bytes=16)) == 8


def test_this_machine_less_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "own_limits", lambda: machine.Limits(cpus=1.0, memory_bytes=GIB))
    found = machine.machine()
    assert (found.cpus, found.memory_bytes) == (1, min(GIB, psutil.virtual_memory().total))
    assert found.os
    assert found.arch


@pytest.mark.parametrize(
    ("platform", "release", "expected"),
    [
        ("linux", "6.8.0-45-generic", "linux"),
        ("linux", "5.15.153.1-microsoft-standard-WSL2", "wsl"),
        ("darwin", "23.6.0", "darwin"),
    ],
)
def test_the_system(monkeypatch: pytest.MonkeyPatch, platform: str, release: str, expected: str) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("platform.release", lambda: release)
    assert module.system() == expected


GIB = 1024**3


@pytest.mark.parametrize(
    ("cpus", "memory", "agents", "concurrency"),
    [
        (1, 1 * GIB, 1, 2),
        (2, 2 * GIB, 1, 2),
        (4, 8 * GIB, 2, 2),
        (8, 16 * GIB, 4, 4),
        (8, 16 * GIB - 1, 4, 4),
        (16, 16 * GIB - 1, 6, 7),
        (16, 64 * GIB, 6, 8),
        (64, 256 * GIB, 6, 32),
        (64, 4 * GIB, 2, 2),
        (7, 64 * GIB, 3, 3),
        (0, 0, 1, 2),
    ],
)
def test_half_of_what_is_scarcer(cpus: int, memory: int, agents: int, concurrency: int) -> None:
    assert machine.sizing(cpus, memory) == machine.Sizing(agents=agents, concurrency=concurrency)
