"""Versions of objects: whoever watches is told of each stage, whenever it was written down."""

from __future__ import annotations

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
