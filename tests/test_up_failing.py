"""A launch that fails, or that is refused: what stays, what goes, and what the next one finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from tasks.core.errors import BadInput
from tasks.core.lock import Held, held
from tasks.engine.step import Report, Step
from tasks.run import bring as module
from tasks.up import up
from tests.given import call
from tests.given_engine import OTHER, Machine
from tests.programs import Answer


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def bring(machine: Machine, **options: Any) -> int:
    recreate, rollback = options.pop("recreate", False), options.pop("rollback", False)
    return call(up, machine.session(**options), recreate=recreate, rollback=rollback)


def test_a_failure_leaves_the_cluster_and_the_next_run_goes_on(machine: Machine) -> None:
    machine.fails["kubectl --kubeconfig"] = Answer(code=1, err="Error from server (Forbidden): no")
    with pytest.raises(Exit) as caught:
        bring(machine)
    assert caught.value.code == 1
    assert machine.states()["namespaces: apply"] == "failed"
    assert len(machine.containers) == 3
    machine.fails.clear()
    machine.complete = True
    machine.programs.calls.clear()
    assert bring(machine) == 0
    assert not any(line.startswith("k3d") for line in machine.acted)


def test_rollback_removes_what_this_run_made(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.fails["kubectl --kubeconfig"] = Answer(code=1, err="Error from server (Forbidden): no")
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert machine.containers == []
    assert not (machine.folder / "state" / "openframe" / "clusters" / "openframe-dev").exists()
    assert "what this run made is removed" in capsys.readouterr().err


def test_rollback_removes_a_half_made_cluster_that_was_made_again(machine: Machine) -> None:
    machine.make(agents=0)
    machine.complete = False
    machine.fails["kubectl --kubeconfig"] = Answer(code=1, err="Error from server (Forbidden): no")
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert machine.containers == []


def test_rollback_leaves_a_cluster_that_was_there(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.make()
    machine.fails["kubectl --kubeconfig"] = Answer(code=1, err="Error from server (Forbidden): no")
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert len(machine.containers) == 3
    assert "was there before this run, so it stays" in capsys.readouterr().err


def test_rollback_leaves_what_another_user_made_meanwhile(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.owner = OTHER  # k3d's stand-in makes nodes, and they are the other user's
    machine.fails["docker cp"] = Answer(code=1, err="Error response from daemon: no")
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert "--rollback: the cluster 'openframe-dev' belongs to alice@laptop" in capsys.readouterr().err
    assert machine.containers
    assert not any(line.startswith("docker rm") for line in machine.acted)


@pytest.mark.parametrize("recreate", [False, True])
def test_a_cluster_of_another_user_is_neither_changed_nor_replaced(machine: Machine, recreate: bool) -> None:
    machine.owner = OTHER
    machine.make()
    with pytest.raises(BadInput, match="belongs to alice@laptop"):
        bring(machine, recreate=recreate)
    assert machine.acted == []


def test_rollback_leaves_registries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, registries={"caches": []})
    machine.put_registries()
    machine.fails["k3d cluster create"] = Answer(code=1, err="enough")
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert [each["Name"] for each in machine.containers] == ["/k3d-openframe-registry"]


def test_rollback_that_fails_says_what_is_left(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.fails |= {"kubectl --kubeconfig": Answer(code=1, err="no"), "docker rm": Answer(code=1, err="busy")}
    with pytest.raises(Exit):
        bring(machine, rollback=True)
    assert "--rollback: not removed: down: nodes" in capsys.readouterr().err


def test_a_cluster_of_somebody_else_is_never_touched(machine: Machine) -> None:
    machine.make(ours=False)
    with pytest.raises(BadInput, match="that this project did not make"):
        bring(machine)
    assert machine.acted == []


@pytest.mark.parametrize("option", ["recreate", "rollback"])
def test_a_cluster_that_is_not_ours_to_make_is_not_made_again(machine: Machine, option: str) -> None:
    with pytest.raises(BadInput, match=f"--{option} has no meaning with the engine existing"):
        bring(machine, engine="existing", context="prod", **{option: True})
    assert machine.programs.calls == []


def test_a_second_run_fails_at_once_and_names_the_first(machine: Machine) -> None:
    session = machine.session()
    with held(session.lock, "down"), pytest.raises(Held, match="runs 'down'"):
        bring(machine)
    assert machine.programs.calls == []


def test_checks_are_made_only_where_a_cluster_is_made(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr("tasks.checks.examine.problems", lambda _found: seen.append("checked"))
    bring(machine)
    assert seen == ["checked"]
    bring(machine)
    assert seen == ["checked"]


def test_programs_that_are_missing_are_fetched_first(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def fetch(_context: object) -> Report:
        order.append("fetched")
        return Report()

    monkeypatch.setattr(
        "tasks.host.fetching.fetch_plan", lambda _session: [Step(name="tools: helm", task="tools", action=fetch)]
    )

    def gathered(*_: object) -> None:
        order.append("gathered")
        raise Exit(code=7)

    monkeypatch.setattr(module, "gather", gathered)
    with pytest.raises(Exit):
        bring(machine)
    assert order == ["fetched", "gathered"]
