"""Objects in their database: versions by stages, changes that are whole, and what a watch is sent."""

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.rehearsal import objects
from tasks.rehearsal.objects import Objects


def pod() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": "a"}, "status": {}}


@pytest.mark.parametrize("ago", [0.001, -5.0], ids=["due before it was written", "due later"])
def test_each_stage_is_a_later_version(ago: float, tmp_path: Path) -> None:
    due = time.time() - ago
    stages = [[due, {"status": {"phase": "Running"}}], [due, {"status": {"ready": True}}]]
    with Objects(tmp_path / "x.db").change() as there:
        record = there.put(pod(), due, stages=stages)
    before, after = (objects.seen(record, moment) for moment in (due - 0.0005, due))
    assert (before["status"], after["status"]) == ({}, {"phase": "Running", "ready": True})
    versions = [int(each["metadata"]["resourceVersion"]) for each in (before, after)]
    assert versions[0] < versions[1]
    assert versions == [objects.version_of(record, moment) for moment in (due - 0.0005, due)]


def test_what_comes_later_is_of_its_moment(tmp_path: Path) -> None:
    due = time.time() + 5
    with Objects(tmp_path / "x.db").change() as there:
        record = there.put(pod(), due - 5, stages=[[due, {"status": {"phase": "Running"}}]])
    assert objects.version_of(record, due) == objects.micro(due)


def test_a_change_that_fails_leaves_nothing(tmp_path: Path) -> None:
    there = Objects(tmp_path / "x.db")
    with there.change() as doc:
        doc.put(pod(), 1.0)
    with contextlib.suppress(LookupError), there.change() as doc:
        for record in doc.existing("v1", "Pod", 2.0):
            record["object"]["status"] = {"phase": "Failed"}
        doc.put({**pod(), "metadata": {"name": "two", "namespace": "a"}}, 2.0)
        raise LookupError
    with Objects(tmp_path / "x.db").read() as view:
        assert [each["object"]["status"] for each in view.existing("v1", "Pod", 3.0)] == [{}]


def test_what_is_changed_in_place_is_stored_and_reported(tmp_path: Path) -> None:
    there, other = Objects(tmp_path / "x.db"), Objects(tmp_path / "x.db")
    with there.change() as doc:
        doc.put(pod(), 1.0)
    seq = other.seq()
    with there.change() as doc:
        for record in doc.existing("v1", "Pod", 2.0):
            record["stages"] = [[2.0, {"status": {"phase": "Running"}}]]
    with other.read() as view:
        again, changed, missing = view.changed("v1 Pod", seq)
    assert [objects.seen(each, 2.0)["status"] for each in changed] == [{"phase": "Running"}]
    with there.change() as doc:
        doc.remove(pod(), 3.0)
    assert (again > seq, missing) == (True, [])
    with other.read() as view:
        assert [moment for moment, _ in view.changed("v1 Pod", again)[2]] == [3.0]


def test_nobody_else_reads_what_is_in_it(tmp_path: Path) -> None:
    there = Objects(tmp_path / "x.db")
    with there.change() as doc:
        doc.put(pod(), 1.0)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
