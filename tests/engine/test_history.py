"""Durations of earlier runs: stored by engine and step, and never a reason to fail."""

import fcntl
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tasks.engine import estimate
from tasks.engine.estimate import history_file, load, remember
from tasks.engine.step import Result, State


def ran(name: str, seconds: float, state: State = State.RAN) -> Result:
    return Result(name=name, task="t", needs=(), state=state, start_s=1.0, end_s=1.0 + seconds)


def test_the_median_of_the_last_five_runs(tmp_path: Path) -> None:
    path = tmp_path / "state" / "durations.json"
    for seconds in (100, 100, 1, 2, 3, 4, 50):
        remember(path, "k3d", [ran("a", seconds)])
    assert load(path, "k3d") == {"a": 3.0}
    remember(path, "k3d", [ran("b", 1)])
    remember(path, "k3d", [ran("b", 2)])
    assert load(path, "k3d") == {"a": 3.0, "b": 1.5}


def test_engines_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    remember(path, "k3d", [ran("a/b", 5)])
    remember(path, "rehearsal", [ran("a/b", 1)])
    assert load(path, "k3d") == {"a/b": 5.0}
    assert load(path, "rehearsal") == {"a/b": 1.0}
    assert load(path, "existing") == {}


def test_only_what_ran_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    remember(path, "k3d", [ran(s.value, 1, s) for s in State if s is not State.RAN])
    assert not path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema": 2, "seconds": {"k3d/a": [1]}}',
        '{"schema": 1, "seconds": [1]}',
        '{"schema": 1, "seconds": {"k3d/a": 1, "k3d/b": [], "k3d/c": [true, -1, NaN, Infinity, "2", null]}}',
        "[" * 100_000,
        "\x00",
    ],
)
def test_a_broken_file_is_no_history_and_is_repaired(tmp_path: Path, text: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(text)
    assert load(path, "k3d") == {}
    remember(path, "k3d", [ran("x", 2)])
    assert load(path, "k3d") == {"x": 2.0}


def test_a_missing_or_unreadable_file_is_no_history(tmp_path: Path) -> None:
    assert load(tmp_path / "none", "k3d") == {}
    assert load(tmp_path, "k3d") == {}
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        remember(tmp_path / "file" / "d.json", "k3d", [ran("a", 1)])
    assert load(tmp_path / "file" / "d.json", "k3d") == {}


def test_the_names_not_used_for_longest_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_NAMES", 2)
    path = tmp_path / "d.json"
    remember(path, "k3d", [ran("a", 1), ran("b", 1)])
    remember(path, "k3d", [ran("a", 1), ran("c", 1)])
    assert set(load(path, "k3d")) == {"a", "c"}


def test_two_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    threads = [threading.Thread(target=remember, args=(path, "k3d", [ran(f"s{i}", 1)])) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(load(path, "k3d")) == {f"s{i}" for i in range(8)}


def test_a_held_lock_costs_the_history_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_PATIENCE", 0.0)
    path = tmp_path / "d.json"
    with (tmp_path / "d.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError):
            remember(path, "k3d", [ran("a", 1)])
    assert not path.exists()


@pytest.mark.parametrize(("environ", "given"), [({"XDG_STATE_HOME": "/x"}, True), ({"XDG_STATE_HOME": "rel"}, False)])
def test_where_the_file_lies(environ: dict[str, Any], given: bool) -> None:
    path = history_file(environ)
    assert path.parts[-2:] == ("openframe", "durations.json")
    assert path.is_absolute()
    assert (path == Path("/x/openframe/durations.json")) is given


def test_the_file_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    remember(path, "k3d", [ran("a", 1.23456)])
    assert json.loads(path.read_text()) == {"schema": 1, "seconds": {"k3d/a": [1.235]}}
