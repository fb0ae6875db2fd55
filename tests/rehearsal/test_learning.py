"""From records of launches to a time profile: what was put into them must come out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.core.paths import log_folder
from tasks.engine.record import RunRecord
from tasks.engine.work import FetchImages, PullImage
from tasks.rehearsal.learning import Recorded, fit, learn, predicted, recorded, sizes
from tasks.rehearsal.model import AFTER, Cost, Profile, load_profile
from tests import given
from tests.rehearsal.test_model import a_launch

pytestmark = pytest.mark.whole

NAME = "20261125T120000.000Z-up"


@pytest.fixture
def start() -> Profile:
    return load_profile(given.ROOT, "default")


def a_record(folder: Path, profile: Profile) -> dict[str, Any]:
    """Of a launch that has taken what this profile says."""
    _facts, steps = a_launch(folder)
    rows = [
        {
            "name": step.name,
            "task": step.task,
            "needs": list(step.needs),
            "state": "skipped" if step.skip is not None else "ran",
            "why": step.skip or step.why,
            "ready_s": 0.0,
            "start_s": 0.0,
            "end_s": 0.0,
            "attempts": 1,
            "exit_code": None,
            "slot": None if step.wait or step.skip is not None else 0,
            **({"work": step.work.as_json()} if step.work is not None else {}),
        }
        for step in steps
    ]
    record: dict[str, Any] = {
        "schema": 1,
        "task": "up",
        "engine": "k3d",
        "outcome": "ok",
        "started": "2026-11-25T12:00:00.000Z",
        "wall_s": 0.0,
        "floor_s": 0.0,
        "settings_hash": "",
        "critical_path": [],
        "concurrency": 2,
        "system": {"cpus": 2, "docker": "28.2.2", "k3d": "v5.9.0", "k3s_image": "rancher/k3s:v1.32.3-k3s1"},
        "steps": rows,
    }
    launch = launch_of(record)
    assert launch is not None
    ends = predicted(profile, launch)
    for row in rows:
        row["end_s"] = ends.get(str(row["name"]), 0.0)
    record["wall_s"] = ends[AFTER]
    return record


def launch_of(record: dict[str, Any]) -> Recorded | None:
    return recorded(RunRecord.from_json(record, NAME))


def slower(profile: Profile) -> Profile:
    """A machine on which k3s starts more slowly, and pods do."""
    return replace(profile, boot=Cost(cpu=profile.boot.cpu * 2, width=1.5), pod=Cost(cpu=0.9, time=3.0))


def test_what_launches_took_is_learned(tmp_path: Path, start: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    record = a_record(tmp_path, slower(start))
    session, launch = session_with(tmp_path, record), launch_of(record)
    assert launch is not None
    assert learn(session, ["latest"], "slow") == 0
    assert "1 launches took" in capsys.readouterr().out
    result = load_profile(session.root, "slow")
    before, after = (predicted(profile, launch) for profile in (start, result))
    assert before[AFTER] < 0.9 * launch.wall
    assert after[AFTER] == pytest.approx(launch.wall, rel=0.03)
    late = "helm: b in platform ready"
    assert abs(after[late] - launch.ends[late]) < abs(before[late] - launch.ends[late])
    assert (result.cores, result.recorded["launches"], result.recorded["date"]) == (2.0, 1, "2026-11-25")
    assert result.recorded["k3d"] == "v5.9.0"


def test_a_launch_that_is_told_rightly_changes_nothing(tmp_path: Path, start: Profile) -> None:
    launch = launch_of(a_record(tmp_path, start))
    assert launch is not None
    assert fit([launch], start) == start


def test_sizes_are_learned_where_a_record_tells_them(tmp_path: Path, start: Profile) -> None:
    record = a_record(tmp_path, start)
    works = [
        PullImage(image="rancher/k3s:v1.32.3-k3s1", node=True, bytes=55_000_000),
        FetchImages(release="a in platform", images=1, bytes=20_000_000),
        FetchImages(release="b in platform", images=3, bytes=40_000_000),
        PullImage(image="registry:2", bytes=9_000_000),
    ]
    rows = [{**record["steps"][0], "work": work.as_json()} for work in works]
    plain, reported = (RunRecord.from_json(each, NAME) for each in (record, {**record, "steps": rows}))
    assert sizes([plain]) == {}
    assert sizes([plain, reported]) == {"k3s": 55.0, "workload": 15.0}


@pytest.mark.parametrize(
    "change", [{"outcome": "failed"}, {"engine": "rehearsal"}, {"task": "down"}, {"steps": []}], ids=str
)
def test_what_is_no_launch_teaches_nothing(change: dict[str, Any], tmp_path: Path, start: Profile) -> None:
    session = session_with(tmp_path, {**a_record(tmp_path, start), **change})
    with pytest.raises(BadInput, match="not a launch to learn from"):
        learn(session, [NAME], "slow")
    assert not (session.root / "config" / "rehearsal" / "slow.yaml").exists()


def test_a_record_that_tells_no_work_of_its_steps_teaches_nothing(tmp_path: Path, start: Profile) -> None:
    record = a_record(tmp_path, start)
    assert launch_of({**record, "steps": [{**row, "work": None} for row in record["steps"]]}) is None


@pytest.mark.parametrize("name", ["../up", "Big", "a b", "-x"])
def test_a_profile_has_the_name_of_a_file(name: str, tmp_path: Path, start: Profile) -> None:
    session = session_with(tmp_path, a_record(tmp_path, start))
    with pytest.raises(BadInput, match="--timing is"):
        learn(session, ["latest"], name)


def session_with(folder: Path, record: dict[str, Any]) -> given.FakeSession:
    """A project of its own, and one recorded run."""
    root = folder / "project"
    (root / "config" / "rehearsal").mkdir(parents=True)
    (root / "config" / "rehearsal" / "default.yaml").write_bytes(
        (given.ROOT / "config" / "rehearsal" / "default.yaml").read_bytes()
    )
    session = given.session(folder, root=root)
    runs = log_folder(log_folder(Path(session.settings.log_dir)) / "runs")
    (runs / f"{NAME}.json").write_text(json.dumps(record))
    return session
