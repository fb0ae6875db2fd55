"""`invoke snapshot`: what is run to save a cluster, in which order, and what is left when it fails."""

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from tasks.clients.snapshots import Restore
from tasks.core.errors import BadInput, ClusterAbsent
from tasks.k3d.restore import amend, refuse_misfit
from tasks.run.gather import gather
from tasks.run.snapshots import settle, store
from tasks.snapshot import snapshot
from tests.clients.test_snapshots import SAVED
from tests.given import call, settings
from tests.given_engine import SMALL, Machine
from tests.given_live import obj
from tests.programs import Answer

SIZES = "docker run --rm --interactive --network none --label openframe.snapshot="


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    result = Machine(tmp_path, monkeypatch)
    result.make()
    for each in result.containers:
        each["Mounts"] = [{"Type": "volume", "Name": f"v{each['Name'][-7:]}", "Destination": "/var/lib/rancher/k3s"}]
    result.fails[SIZES] = Answer(out="100\n200\n300\n900000000\n")
    return result


def run_snapshot(machine: Machine, **options: Any) -> int:
    texts = {name: options.pop(name, "") for name in ("save", "delete", "export", "import_", "file", "name")}
    own = {**texts, "format": options.pop("format", "text"), "replace": options.pop("replace", False)}
    return call(snapshot, machine.session("snapshot", **options), **own)


def test_nodes_are_paused_while_they_are_copied_and_go_on(machine: Machine) -> None:
    assert run_snapshot(machine, save="one") == 0
    verbs = [line.split()[1] for line in machine.acted]
    assert verbs[:2] == ["run", "pause"]
    assert verbs.index("unpause") > max(number for number, verb in enumerate(verbs[2:], start=2) if verb == "run")
    assert [each["State"]["Status"] for each in machine.containers] == ["running"] * 3
    saved = store(machine.session()).get("one")
    assert [each.place for each in saved.nodes] == ["agent-0", "agent-1", "server-0"] or saved.servers == 1
    assert saved.agents == 2
    assert list(store(machine.session()).abandoned()) == []
    with pytest.raises(BadInput, match="already"):
        run_snapshot(machine, save="one")
    assert run_snapshot(machine, save="one", replace=True) == 0
    assert store(machine.session()).get("one").id != saved.id


def test_a_save_that_fails_lets_the_nodes_go_on_and_leaves_the_old_one(machine: Machine) -> None:
    run_snapshot(machine, save="one")
    before = store(machine.session()).get("one")
    machine.fails["docker volume create"] = Answer(code=1, err="no space left on device")
    with pytest.raises(Exit):
        run_snapshot(machine, save="one", replace=True)
    assert [each["State"]["Status"] for each in machine.containers] == ["running"] * 3
    assert store(machine.session()).get("one") == before
    removed = next(line for line in reversed(machine.acted) if line.startswith("docker volume rm"))
    assert not any(each.volume in removed for each in before.nodes)


def test_what_starts_late_is_pulled_before_it_is_saved(machine: Machine) -> None:
    late = obj("Deployment", "late", "kube-system", spec={"template": {"spec": {"containers": [{"image": "late:1"}]}}})
    machine.api.put(late)
    listed = {"images": [{"repoTags": ["docker.io/rancher/pause:3.6"], "repoDigests": ["rancher/pause@sha256:1"]}]}
    machine.fails["docker exec k3d-openframe-dev-"] = Answer(out=json.dumps(listed))
    assert run_snapshot(machine, save="one") == 0
    pulled = [line.split()[2] for line in machine.programs.lines if line.endswith(" late:1")]
    assert sorted(pulled) == [f"k3d-openframe-dev-{node}" for node in ("agent-0", "agent-1", "server-0")]
    assert store(machine.session()).get("one").images == ("rancher/pause@sha256:1",)


def test_no_room_is_told_before_anything_is_paused(machine: Machine) -> None:
    machine.fails[SIZES] = Answer(out="100\n200\n300\n400\n")
    with pytest.raises(Exit):
        run_snapshot(machine, save="one")
    assert not any(line.startswith("docker pause") for line in machine.acted)


def test_what_a_killed_save_left_is_settled(machine: Machine) -> None:
    found = store(machine.session())
    with found.journal("a1", volumes=["v1"], paused=["k3d-openframe-dev-server-0"]):
        pass
    (journal,) = found.abandoned()
    settle(machine.programs, found, journal)
    assert machine.acted[0] == "docker unpause k3d-openframe-dev-server-0"
    assert machine.acted[-1] == "docker volume rm --force v1"
    assert list(found.abandoned()) == []


def test_there_must_be_a_cluster(machine: Machine) -> None:
    machine.containers.clear()
    with pytest.raises(ClusterAbsent):
        run_snapshot(machine, save="one")
    with pytest.raises(BadInput, match="no snapshot 'none'"):
        run_snapshot(machine, delete="none")


def test_list_has_nothing_secret(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    store(machine.session()).put(SAVED)
    assert run_snapshot(machine) == 0
    assert "unknown" in capsys.readouterr().out, "it was saved while it did not run"
    assert run_snapshot(machine, format="json") == 0
    out = capsys.readouterr().out
    (row,) = json.loads(out)
    assert (row["name"], row["bytes"], sorted(row["lost"])) == ("one", 10, ["v-agent-0", "v-server-0"])
    assert "a-token" not in out


@pytest.mark.parametrize("kind", ["text", "tar", "folder", "link", "pipe"])
def test_an_export_takes_the_place_of_nothing_else(machine: Machine, tmp_path: Path, kind: str) -> None:
    store(machine.session()).put(SAVED)
    target = tmp_path / "mine"
    if kind == "folder":
        target.mkdir()
    elif kind == "link":
        target.symlink_to("theirs")
        (tmp_path / "theirs").write_text("a year's work")
    elif kind == "pipe":
        os.mkfifo(target)
        with pytest.raises(BadInput, match="cannot be imported"):
            run_snapshot(machine, import_=str(target))
    elif kind == "tar":
        with tarfile.open(target, "w") as archive:
            archive.addfile(tarfile.TarInfo("photos/1.jpg"))
    else:
        target.write_text("a year's work")
    before = _identity(target)
    with pytest.raises(BadInput, match="exists, and is not an exported snapshot"):
        run_snapshot(machine, export="one", file=str(target))
    assert _identity(target) == before


def _identity(path: Path) -> tuple[int, ...]:
    """What a write changes; reading changes the time of the last access."""
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns


def test_a_restored_cluster_gets_volumes_token_and_names(machine: Machine) -> None:
    config: dict[str, Any] = {"options": {"k3s": {"extraArgs": []}}}
    amend(config, machine.session().name, Restore(manifest=SAVED, id="ab" * 8))
    assert config["token"] == "a-token"
    assert {
        "volume": "k3d-openframe-dev-agent-0-abababab-node:/etc/rancher/node",
        "nodeFilters": ["agent:0"],
    } in config["volumes"]
    args = [(row["arg"], *row["nodeFilters"]) for row in config["options"]["k3s"]["extraArgs"]]
    assert args == [
        ("--node-name=k3d-dev-server-0", "server:0"),
        ("--tls-san=k3d-openframe-dev-server-0", "server:0"),
        ("--node-name=k3d-dev-agent-0", "agent:0"),
    ]
    assert {"envVar": "HOSTNAME=k3d-dev-agent-0", "nodeFilters": ["agent:0"]} in config["env"]


@pytest.mark.parametrize(
    ("change", "why"),
    [({"servers": 3}, "3 servers"), ({"agents": 5}, "5 agents"), ({"arch": "riscv"}, "riscv")],
)
def test_what_cannot_be_restored_is_told_before(machine: Machine, change: dict[str, Any], why: str) -> None:
    restore = Restore(manifest=replace(SAVED, **change), id="ab" * 8)
    with pytest.raises(BadInput, match=why):
        refuse_misfit(replace(gather(machine.session(), ()), restore=restore))


@pytest.mark.parametrize(("given", "fits"), [("10.9.0.0/16", True), ("10.8.0.0/16", False), (None, False)])
def test_ranges_of_addresses_are_those_of_the_data(machine: Machine, given: str | None, fits: bool) -> None:
    config = {"options": {"k3s": {"extraArgs": [{"arg": "--cluster-cidr=10.9.0.0/16"}, {"arg": "--disable=x"}]}}}
    restore = Restore(manifest=replace(SAVED, k3d=json.dumps(config)), id="ab" * 8)
    cluster = {"args": {"k3s": [f"cluster-cidr={given}"] if given else []}}
    machine.settings = settings(**{**SMALL, "cluster": cluster})
    facts = replace(gather(machine.session(), ()), restore=restore)
    if fits:
        refuse_misfit(facts)
        return
    with pytest.raises(BadInput, match=r"its address ranges are --cluster-cidr=10\.9\.0\.0/16, and"):
        refuse_misfit(facts)


def test_what_another_engine_has_is_left_to_it(machine: Machine) -> None:
    """DOCKER_HOST has changed since: nothing is done here, and nothing is forgotten."""
    here = store(machine.session())
    other = replace(here, engine="ssh://there")
    other.put(replace(SAVED, engine=other.engine))
    with other.journal("a1", volumes=["v1"], paused=["n"]):
        pass
    assert list(here.abandoned()) == []
    with pytest.raises(BadInput, match="not on this engine"):
        run_snapshot(machine, save="one", replace=True)
    assert run_snapshot(machine, delete="one") == 0
    assert machine.acted == []
    assert here.find("one") is None
    assert {each.name: set(each.volumes) for each in other.abandoned()} == {
        "a1": {"v1"},
        SAVED.id: {"v-server-0", "v-agent-0"},
    }


def test_a_first_save_that_fails_leaves_nothing(machine: Machine) -> None:
    machine.fails["docker volume create"] = Answer(code=1, err="no space left on device")
    with pytest.raises(Exit):
        run_snapshot(machine, save="one")
    assert list(store(machine.session()).folder.iterdir()) == []
