"""Pause, save and restore on the embedded engine: what was in the cluster is there again, and nothing is to be done."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.down import down
from tasks.rehearsal.folder import Folder
from tasks.run.task import Options, run_task
from tasks.snapshot import snapshot
from tasks.status import status
from tasks.up import up
from tests.given import call
from tests.rehearsal.played import QUIET, RELEASES, Played, played
from tests.rehearsal.reach import delete

pytestmark = pytest.mark.whole

__all__ = ["played"]


def run(task: Any, name: str, **own: Any) -> int:
    options = Options(task=name, engine="rehearsal", sets=(*QUIET, *RELEASES))
    return run_task(options, lambda session: call(task, session, **own))


def test_a_paused_cluster_goes_on(played: Played) -> None:
    assert played.run() == 0
    assert run(down, "down", pause=True) == 0
    assert run(status, "status") == 3
    assert run(up, "up") == 0
    assert run(status, "status") == 0


def test_a_restored_cluster_is_as_it_was_saved(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    assert played.run() == 0
    assert run(snapshot, "snapshot", save="one") == 0
    assert run(snapshot, "snapshot", save="one") == 2
    delete(Folder(played.place), "/api/v1/namespaces/platform/secrets/github-pat-secret")
    assert run(up, "up", snapshot="one") == 2
    assert run(down, "down") == 0
    assert run(up, "up", snapshot="one") == 0
    capsys.readouterr()
    assert run(status, "status") == 0
    assert run(down, "down") == 0
    assert run(snapshot, "snapshot", delete="one") == 0
    assert not (played.place / "state" / "engine.json").exists()
