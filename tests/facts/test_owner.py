"""Whose a cluster is: the same user from every shell and clone, and nobody else."""

import os
import pwd
from pathlib import Path

import pytest

from tasks.core.paths import user_name
from tasks.facts import cluster as module
from tasks.facts.cluster import Owner, owner, owner_of


def test_a_label_tells_it_and_holds_nothing_that_k3d_or_docker_reads_otherwise(tmp_path: Path) -> None:
    mine = owner({}, tmp_path)
    assert owner_of(mine.label) == mine
    assert not set(mine.label) & set(",;@$ ")
    assert mine.name.startswith(f"{pwd.getpwuid(os.geteuid()).pw_name}@")


@pytest.mark.parametrize("label", ["", "name=alice", "nonsense", "id="])
def test_what_is_no_owner(label: str) -> None:
    assert owner_of(label) is None


def test_another_state_folder_or_home_is_the_same_user(tmp_path: Path) -> None:
    first = owner({"HOME": "/home/one"}, tmp_path / "one")
    assert owner({"HOME": "/home/two", "USER": "somebody"}, tmp_path / "two") == first
    assert not (tmp_path / "one").exists(), "nothing is kept where the machine has an id"


def test_another_user_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = owner({}, tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert owner({}, tmp_path).id != mine.id
    assert user_name() == "4711", "an account without a name"


@pytest.mark.parametrize("outside", [True, False])
def test_without_a_machine_id_the_state_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside: bool) -> None:
    monkeypatch.setattr("tasks.facts.cluster.contained", lambda _environ: True)
    monkeypatch.setattr("tasks.facts.cluster.outside", lambda *_: outside)
    monkeypatch.setattr(module, "MACHINE", Path("/etc/machine-id" if outside else "/nowhere"))
    first = owner({}, tmp_path / "one" / "openframe")
    assert owner({}, tmp_path / "one" / "openframe").id == first.id
    assert owner({}, tmp_path / "two").id != first.id
    assert [each.name for each in (tmp_path / "one" / "openframe").iterdir()] == ["identity"]


def test_without_any_writable_folder_there_is_an_owner_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MACHINE", Path("/nowhere"))
    (tmp_path / "file").touch()
    assert owner({}, tmp_path / "file" / "state").id


def test_a_given_name_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = owner({}, tmp_path, "team-a")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert owner({}, tmp_path, "team-a") == mine == Owner(id=mine.id, name="team-a")
    assert owner({}, tmp_path, "team-b").id != mine.id


def test_a_socket_of_another_system_here_is_no_other_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WSL2: Docker Desktop's socket is of another PID namespace, and this is no container."""
    mine = owner({}, tmp_path)
    monkeypatch.setattr("tasks.facts.cluster.contained", lambda _environ: False)
    monkeypatch.setattr("tasks.facts.cluster.outside", lambda *_: True)
    assert owner({}, tmp_path) == mine
