"""The end of a run is shown even where its record cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from tasks.core.errors import LaunchError
from tasks.engine import record
from tasks.engine.step import Bounds, Step
from tasks.facts.cluster import Presence
from tests import given


def good() -> list[Step]:
    return [Step(name="a", task="task")]


def bad() -> list[Step]:
    def act(_context: object) -> None:
        raise LaunchError("it broke", fix="mend it")

    return [Step(name="a", task="task", action=act)]


def full(*_: Any, **__: Any) -> Path:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_hides_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "write", full)
    with pytest.raises(Exit) as caught:
        given.session(tmp_path).run(bad(), Bounds(work=1))
    assert caught.value.code == 1
    shown = capsys.readouterr().err
    assert shown.index("it broke") < shown.index("the record of this run could not be written")
    assert "No space left on device" in shown


def test_a_run_that_went_well_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "append_benchmark", full)
    session = given.session(tmp_path)
    assert session.run(good(), Bounds(work=1), facts=given.facts(tmp_path), launch=True)
    assert "could not be written" in capsys.readouterr().err
    assert (Path(session.settings.log_dir) / "latest.json").exists()


def test_a_log_folder_that_became_somebody_elses_is_told_after_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = given.session(tmp_path)
    Path(session.settings.log_dir).write_text("a file stands there")
    with pytest.raises(Exit):
        session.run(bad(), Bounds(work=1))
    shown = capsys.readouterr().err
    assert shown.index("it broke") < shown.index("cannot be made")


def lost(*_: Any, **__: Any) -> Any:
    raise RuntimeError("this is broken")


@pytest.mark.parametrize(
    ("place", "name", "note"),
    [
        ("tasks.engine.estimate", "remember", "note: how long steps take is not remembered: this is broken"),
        ("tasks.engine.record", "write", "could not be written below"),
        ("tasks.view.launch.Plain", "ended", "note: the run was not shown to its end: this is broken"),
        ("tasks.view.launch.Plain", "__enter__", "note: the run was not shown to its end: this is broken"),
        ("tasks.view.launch.View", "tick", "note: the run was not shown to its end: this is broken"),
    ],
)
def test_what_tells_of_a_run_cannot_fail_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    name: str,
    note: str,
) -> None:
    monkeypatch.setattr(f"{place}.{name}", lost)
    (result,) = given.session(tmp_path).run(good(), Bounds(work=1))
    assert result.state.value == "ran"
    shown = capsys.readouterr()
    assert [note in each for each in shown.err.splitlines()] == [True]
    assert "task took" in shown.out or "up took" in shown.out


@pytest.mark.parametrize(("steps", "launch", "blocks"), [(good, True, 1), (good, False, 0), (bad, True, 0)])
def test_only_a_launch_that_went_well_is_in_the_benchmark_log(
    tmp_path: Path, steps: Any, launch: bool, blocks: int
) -> None:
    session = given.session(tmp_path)
    try:
        session.run(steps(), Bounds(work=3), facts=given.facts(tmp_path), launch=launch)
    except Exit:
        assert steps is bad
    file = Path(session.settings.log_dir) / "cluster_setup_benchmark.log"
    text = file.read_text() if file.exists() else ""
    assert text.count("Cluster setup completed in 0m0s\nSystem information:\n") == blocks
    assert text.count("Concurrency level: 3") == blocks


@pytest.mark.parametrize(("there", "shown"), [(True, True), (False, False)])
def test_a_failed_run_says_how_to_look_at_what_it_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool, shown: bool
) -> None:
    facts = given.facts(tmp_path / "with blank", presence=Presence.RUNNING)
    facts.paths.state.mkdir(parents=True)
    if there:
        facts.paths.kubeconfig.touch()
    with pytest.raises(Exit):
        given.session(tmp_path).run(bad(), Bounds(work=1), facts=facts)
    line = f"kubectl --kubeconfig '{facts.paths.kubeconfig}' get pods --all-namespaces"
    assert (line in capsys.readouterr().err) is shown
