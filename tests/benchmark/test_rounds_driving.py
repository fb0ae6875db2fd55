"""How commands are run: one at a time, or together within a stage."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.benchmark.commands import Act, Stage
from tasks.benchmark.rounds import drive, recorded, timed, up
from tasks.benchmark.variants import Place
from tasks.core.errors import LaunchError
from tasks.process.command import Command, CommandFailed
from tests.programs import Answer, FakePrograms
from tests.runs.records import record, skipped, step


def _stages() -> list[Stage]:
    def act(name: str) -> Act:
        return Act(name=name, command=Command(argv=("do", name)))

    return [Stage(name="first", acts=(act("a"), act("b"))), Stage(name="second", acts=(act("c"),))]


@pytest.mark.parametrize("together", [False, True])
def test_a_stage_begins_when_the_one_before_has_ended(together: bool) -> None:
    programs = FakePrograms(otherwise=Answer())
    spans, path = drive(programs, _stages(), together=together)
    assert sorted(call.line for call in programs.calls[:2]) == ["do a", "do b"]
    assert programs.calls[2].line == "do c"
    assert set(spans) == {"a", "b", "c"}
    assert spans["c"][0] >= max(spans["a"][1], spans["b"][1])
    assert path[-1] == "c"
    assert len(path) == (2 if together else 3)


@pytest.mark.parametrize("together", [False, True])
def test_a_failure_ends_the_launch(together: bool) -> None:
    programs = FakePrograms(answers={"do b": Answer(code=1, err="no")}, otherwise=Answer())
    with pytest.raises(CommandFailed, match="no"):
        drive(programs, _stages(), together=together)
    assert "do c" not in [call.line for call in programs.calls]


def test_time_and_processors_are_taken() -> None:
    done = timed(lambda: ({"a": (0.0, 1.0)}, ("a",)))
    assert done.wall_s >= 0
    assert done.busy_s >= 0
    assert (done.spans, done.path) == ({"a": (0.0, 1.0)}, ("a",))


def _place(folder: Path) -> Place:
    options = SimpleNamespace(profile="ci", sets=("cluster.name=openframe-bench",), engine="rehearsal")
    return Place(session=cast("Any", SimpleNamespace(options=options, root=folder)), folder=folder, cluster="x")


def test_up_is_a_process_of_its_own_with_the_same_settings(tmp_path: Path) -> None:
    programs = FakePrograms(otherwise=Answer())
    assert up(_place(tmp_path), programs) == ({}, ())
    [call] = programs.calls
    wanted = "-m invoke up --profile ci --set cluster.name=openframe-bench --engine rehearsal"
    assert call.line.partition(" ")[2] == wanted


def test_an_up_that_failed_is_told_with_its_last_lines(tmp_path: Path) -> None:
    programs = FakePrograms(otherwise=Answer(code=1, err="no space left on device"))
    with pytest.raises(LaunchError, match="no space left on device"):
        up(_place(tmp_path), programs)


def test_steps_come_from_the_record(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    made = record([step("a", at=(1.0, 1.0, 2.5)), skipped("b")], critical_path=["b", "a"])
    (tmp_path / "logs" / "latest.json").write_text(json.dumps(made))
    assert recorded(_place(tmp_path)) == ({"a": (1.0, 2.5)}, ("a",))
