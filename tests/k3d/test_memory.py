"""What nodes report as their memory: files of the launch where the engine can mount them, else k3d's own way."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.facts.facts import Facts, Ports, Shape
from tasks.k3d.config import Files, k3d_config, render
from tasks.k3d.create import write_config
from tests.checks.given import engine
from tests.given import facts, settings

PORTS = Ports(http=80, https=443, api=6550)
MEMINFO = {"server": "/state/meminfo-server", "agent": "/state/meminfo-agent"}
EDAC = "/sys/devices/system/edac"


def configured(files: Files, agents: int = 2, **cluster: Any) -> dict[str, Any]:
    shape = Shape(image="rancher/k3s:v1.32.3-k3s1", agents=agents, concurrency=4)
    found: dict[str, Any] = json.loads(render(k3d_config(settings(cluster=cluster), shape, PORTS, files)))
    return found


def memory(config: dict[str, Any]) -> dict[str, Any]:
    """The memory options of k3d."""
    return {name: size for name, size in config["options"]["runtime"].items() if name != "labels"}


K3DS_OWN = {"serversMemory": "2048m", "agentsMemory": "1536m"}


@pytest.mark.parametrize(
    ("files", "limits", "sizes"),
    [
        (Files(meminfo=MEMINFO), True, {}),
        (Files(), True, K3DS_OWN),
        (Files(seen=False), True, {}),
        (Files(), False, {}),
    ],
)
def test_k3d_makes_missing_files_that_the_engine_can_see(files: Files, limits: bool, sizes: dict[str, str]) -> None:
    config = configured(files, limits={"enabled": limits})
    assert memory(config) == sizes
    assert ("volumes" in config) is bool(files.meminfo)


@pytest.mark.parametrize(("agents", "roles"), [(0, ["server"]), (1, ["server", "agent"])])
def test_agents_are_named_only_where_there_are_some(agents: int, roles: list[str]) -> None:
    """k3d refuses a filter that fits no node."""
    config = configured(Files(meminfo=MEMINFO, edac="/state/edac"), agents=agents, volumes=["/data:/data@server:0"])
    assert config["volumes"] == [
        *({"volume": f"{MEMINFO[role]}:/proc/meminfo:ro", "nodeFilters": [f"{role}:*"]} for role in roles),
        {"volume": f"/state/edac:{EDAC}:ro", "nodeFilters": [f"{role}:*" for role in roles]},
        {"volume": "/data:/data", "nodeFilters": ["server:0"]},
    ]


# -- the files ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that reports its memory in one way, unless this folder exists."""
    folder = tmp_path / "sys" / "edac"
    monkeypatch.setattr("tasks.k3d.create.EDAC", str(folder))
    return folder


def written(result: Facts) -> dict[str, Any]:
    write_config(result, PORTS)
    found: dict[str, Any] = json.loads(result.paths.k3d_config.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    ("limits", "server", "agent"),
    [
        ({}, 2097152, 1572864),
        ({"server_memory": "512M", "agent_memory": "1.5GiB"}, 524288, 1572864),
        ({"server_memory": "3000000000"}, 2929687, 1572864),
    ],
)
def test_they_say_what_the_limits_will_be(tmp_path: Path, limits: dict[str, str], server: int, agent: int) -> None:
    result = facts(tmp_path, settings=settings(cluster={"limits": limits}), host=engine())
    config = written(result)
    files = {role: result.paths.state / f"meminfo-{role}" for role in ("server", "agent")}
    assert [row["volume"] for row in config["volumes"]] == [f"{file}:/proc/meminfo:ro" for file in files.values()]
    for file, size in ((files["server"], server), (files["agent"], agent)):
        assert file.read_text() == f"MemTotal: {size} kB\nSwapTotal: 0 kB\n"
        assert stat.S_IMODE(file.stat().st_mode) == 0o644, "the nodes read it"
    assert memory(config) == {}
    assert not (result.paths.state / "edac").exists()


def test_the_second_way_is_an_empty_folder_of_ours(tmp_path: Path, plain: Path) -> None:
    plain.mkdir(parents=True)
    result = facts(tmp_path, host=engine())
    for _ in range(2):  # a second attempt writes them again
        rows = [row["volume"] for row in written(result)["volumes"]]
        assert rows[-1] == f"{result.paths.state}/edac:{EDAC}:ro"
    assert list((result.paths.state / "edac").iterdir()) == []


@pytest.mark.parametrize(("host", "sizes"), [("none", 2), ("elsewhere", 2), ("unlimited", 0)])
def test_where_the_engine_does_not_see_them_there_are_none(tmp_path: Path, host: str, sizes: int) -> None:
    """In a machine of its own, or on another one; and where nothing is limited."""
    chosen = settings(cluster={"limits": {"enabled": host != "unlimited"}})
    hosts = {"none": None, "elsewhere": replace(engine(), here=False), "unlimited": engine()}
    result = facts(tmp_path, settings=chosen, host=hosts[host])
    config = written(result)
    assert len(memory(config)) == sizes
    assert "volumes" not in config
    assert not list(result.paths.state.glob("meminfo-*"))
