"""`invoke plan`: what `up` would do, in four forms, and nothing done."""

import json
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.plan import plan as task
from tasks.up import up
from tests import given
from tests.given import call
from tests.given_engine import SMALL, Machine


def plan(machine: Machine, capsys: pytest.CaptureFixture[str], form: str = "json", **options: Any) -> Any:
    """What is shown; as a document, if it is one."""
    recreate = options.pop("recreate", False)
    capsys.readouterr()
    assert call(task, machine.session("plan", **options), format=form, recreate=recreate) == 0
    out = capsys.readouterr().out
    return json.loads(out) if form == "json" else out


def doing(document: Any) -> dict[str, str]:
    return {step["name"]: step["do"] for step in document["steps"]}


@pytest.mark.parametrize(
    ("form", "holds"),
    [
        ("text", ["would run", "critical path", "cluster: create"]),
        ("json", ['"critical_path"', '"expected_s"']),
        ("mermaid", ["flowchart", "cluster: create"]),
        ("dot", ["digraph", "cluster: create"]),
    ],
)
def test_a_plan_in_each_form(machine: Machine, capsys: pytest.CaptureFixture[str], form: str, holds: list[str]) -> None:
    machine.images = False
    capsys.readouterr()
    call(task, machine.session("plan"), format=form, recreate=False)
    out = capsys.readouterr().out
    assert all(text in out for text in holds)
    assert machine.acted == []
    assert machine.records() == {}
    assert not (machine.folder / "openframe-logs").exists()


def test_another_form_is_bad_input(machine: Machine) -> None:
    with pytest.raises(BadInput, match="--format is 'svg'") as caught:
        call(task, machine.session("plan"), format="svg", recreate=False)
    assert "mermaid" in caught.value.fix
    assert machine.programs.calls == []


def test_it_is_what_up_does(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    before = doing(plan(machine, capsys))
    call(up, machine.session())
    assert {name: "skip" if state == "skipped" else "run" for name, state in machine.states().items()} == before
    after = doing(plan(machine, capsys))
    assert set(after.values()) == {"skip"}


def test_it_knows_how_long_steps_took(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    call(up, machine.session())
    machine.containers.clear()
    steps = {step["name"]: step for step in plan(machine, capsys)["steps"]}
    assert steps["cluster: create"]["last_s"] is not None


def test_an_agent_that_would_be_added_is_a_difference(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    call(up, machine.session())
    machine.settings = given.settings(**{**SMALL, "cluster": {**SMALL.get("cluster", {}), "agents": 3}})
    capsys.readouterr()
    call(task, machine.session("plan"), format="text", recreate=False, diff=True)
    assert "cluster: add agent openframe-dev-agent-2: 3 agents configured, 2 exist" in capsys.readouterr().out


def test_recreate_removes_first(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.make(settings=given.settings(**{**SMALL, "cluster": {"servers": 3}}))
    document = plan(machine, capsys, recreate=True)
    steps = {step["name"]: step for step in document["steps"]}
    assert steps["down: nodes"]["do"] == "run"
    assert "down: nodes" in given_above(document, "cluster: create")
    assert machine.acted == []
    assert "will refuse" not in plan(machine, capsys, "text", recreate=True)


def given_above(document: Any, name: str) -> set[str]:
    needs = {step["name"]: step["needs"] for step in document["steps"]}
    found: set[str] = set()
    new = set(needs[name])
    while new:
        found |= new
        new = {need for each in new for need in needs[each]} - found
    return found


def test_drift_is_told_beside_the_plan(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.make(settings=given.settings(**{**SMALL, "cluster": {"servers": 3}}))
    out = plan(machine, capsys, "text")
    assert "`up` will refuse: k3d cannot change in place" in out
    assert "cluster.servers: 3 → 1" in out
    assert "--recreate" in out


def test_of_a_stopped_cluster_it_says_what_it_cannot_know(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.make(running=False)
    out = plan(machine, capsys, "text")
    assert "The cluster is stopped" in out
    assert "cluster: start" in out


def test_downloads_first(machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.uname", lambda: type("Uname", (), {"sysname": "Linux", "machine": "x86_64"}))
    object.__setattr__(machine.programs, "paths", {"helm": None})
    document = plan(machine, capsys)
    assert doing(document)["tools: helm"] == "run"
    assert "tools: kubectl" not in doing(document)
    assert "tools: helm" in given_above(document, "cluster: create")
    assert machine.acted == []
