"""Builds in a rehearsal: nothing is built, they take the times of real launches, and a pushed image stays."""

import json
import os
from pathlib import Path

import pytest

from tasks.core.paths import state_folder
from tests.rehearsal.played import Played

pytestmark = pytest.mark.whole


def test_a_launch_builds_once_and_again_what_has_changed(played: Played, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY file /\n")
    (tmp_path / "file").write_text("first")
    sets = (f"builds.api.context={tmp_path}", "builds.api.secrets.npm.command=[no-such-program]")
    desired = "helm.releases.web.values.image=${image:api}"
    expected = {"build: api", "build: push api", "helm: install web in platform"}
    assert played.run("up", *sets, desired) == 0
    assert {name for name, state in played.states().items() if name in expected and state == "ran"} == expected
    assert played.run("up", *sets, desired) == 0
    assert "ran" not in {played.states()[name] for name in expected}
    (tmp_path / "file").write_text("second")
    assert played.run("up", *sets, desired) == 0
    assert {name for name, state in played.states().items() if state == "ran" and not name.startswith("cluster:")} >= (
        expected
    )
    assert all(command.argv[0] != "no-such-program" for command in played.commands), "no source of a secret is asked"
    assert played.run("down") == 0


def test_a_build_takes_the_time_that_it_took(played: Played, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    remaining = state_folder(os.environ) / "durations.json"
    remaining.parent.mkdir(parents=True, exist_ok=True)
    remaining.write_text(json.dumps({"schema": 1, "seconds": {"k3d/build: api": [123.0]}}))
    assert played.run("rehearse", f"builds.api.context={tmp_path}") == 0
    times = json.loads((played.place / "times.json").read_text())
    assert times["build api"] == pytest.approx(123.0, abs=1.0)
