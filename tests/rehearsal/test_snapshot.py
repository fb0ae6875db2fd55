"""Pause, save and restore on the embedded engine: what was in the cluster is there again, and nothing is to be done."""

import pytest

from tasks.rehearsal.folder import ENGINE, Folder
from tests.rehearsal.played import Played
from tests.rehearsal.reach import delete

pytestmark = pytest.mark.whole


def test_a_paused_cluster_goes_on(played: Played) -> None:
    assert played.run() == 0
    assert played.run("down", pause=True) == 0
    assert played.run("status") == 3
    assert played.run("up") == 0
    assert played.run("status") == 0


def test_a_restored_cluster_is_as_it_was_saved(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    assert played.run() == 0
    assert played.run("snapshot", save="one") == 0
    assert played.run("snapshot", save="one") == 2
    delete(Folder(played.place), "/api/v1/namespaces/platform/secrets/github-pat-secret")
    assert played.run("up", snapshot="one") == 2
    assert played.run("down") == 0
    assert played.run("up", snapshot="one") == 0
    capsys.readouterr()
    assert played.run("status") == 0
    assert played.run("down") == 0
    assert played.run("snapshot", delete="one") == 0
    assert not (played.place / "state" / ENGINE).exists()
