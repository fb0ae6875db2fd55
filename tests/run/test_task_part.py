"""One part of the launch alone: what it looks at, what it refuses, what it runs, and whether it holds the cluster."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import ABSENT, STOPPED, ClusterAbsent, ClusterStopped
from tasks.core.lock import Held, held
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.settings.step_names import NEEDS_CLUSTER, PARTS
from tests.given import FakeSession, call, facts, session
from tests.programs import Answer, FakePrograms

ALONE = tuple(name for name in PARTS if name != "cluster")


class Around:
    """What surrounds the task: its facts, the fetching of programs, and the run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: Facts = facts(folder, FakePrograms(otherwise=Answer()))
        self.session: FakeSession = session(folder, self.given.programs, task="namespaces")
        self.happened: list[str] = []
        self.looked_at: list[tuple[str, ...]] = []
        self.runs: list[dict[str, Any]] = []
        self.held: list[bool] = []
        monkeypatch.setattr("tasks.run.gather.gather", self._gather)
        monkeypatch.setattr(FakeSession, "ensure_programs", lambda _session: self.happened.append("programs"))
        monkeypatch.setattr(FakeSession, "run", self._run)

    def _gather(self, _session: FakeSession, parts: tuple[str, ...], *, refuse: bool) -> Facts:
        assert refuse is (parts[0] not in ("prepull", "registry", "build"))
        self.happened.append("gather")
        self.looked_at.append(parts)
        return self.given

    def _run(self, steps: Any, bounds: Any, **more: Any) -> None:
        self.happened.append("run")
        self.runs.append({"steps": steps, "bounds": bounds, **more})
        try:
            with held(self.session.lock, "another"):
                self.held.append(False)
        except Held:
            self.held.append(True)


def alone(around: Around, name: str) -> int:
    return call(getattr(import_module(f"tasks.{name}"), name), around.session)


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Around:
    return Around(tmp_path, monkeypatch)


def stands(around: Around, tmp_path: Path, presence: Presence, **more: Any) -> None:
    around.given = facts(tmp_path, around.given.programs, presence=presence, **more)


@pytest.mark.parametrize("name", ALONE)
def test_only_what_it_needs_is_looked_at_and_run(around: Around, tmp_path: Path, name: str) -> None:
    stands(around, tmp_path, Presence.RUNNING)
    assert alone(around, name) == 0
    assert around.happened == ["programs", "gather", "run"]  # programs first: gather queries them
    assert around.looked_at == [(name,)]
    (run,) = around.runs
    assert {step.task for step in run["steps"]} <= {name, "namespaces", "prepull"}
    assert run["facts"] is around.given
    assert run["bounds"].kinds["download"] == 3


@pytest.mark.parametrize("name", sorted(NEEDS_CLUSTER))
@pytest.mark.parametrize(
    ("presence", "error", "status", "fix"),
    [
        (Presence.ABSENT, ClusterAbsent, ABSENT, "invoke cluster makes it"),
        (Presence.INCOMPLETE, ClusterAbsent, ABSENT, "invoke cluster makes it"),
        (Presence.STOPPED, ClusterStopped, STOPPED, "invoke cluster starts it"),
    ],
)
def test_without_a_cluster_that_runs_nothing_is_done(
    around: Around, tmp_path: Path, name: str, presence: Presence, error: type[Exception], status: int, fix: str
) -> None:
    stands(around, tmp_path, presence)
    with pytest.raises(error) as caught:
        alone(around, name)
    assert (caught.value.status, around.runs) == (status, [])  # type: ignore[attr-defined]
    assert fix in str(caught.value)


@pytest.mark.parametrize("name", ["prepull", "registry", "build"])
@pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.INCOMPLETE, Presence.STOPPED])
def test_images_and_registries_need_no_cluster(around: Around, tmp_path: Path, name: str, presence: Presence) -> None:
    stands(around, tmp_path, presence)
    assert alone(around, name) == 0
    assert len(around.runs) == 1


def test_somebody_elses_cluster_is_there(around: Around, tmp_path: Path) -> None:
    stands(around, tmp_path, Presence.RUNNING, engine="existing")
    assert alone(around, "namespaces") == 0


@pytest.mark.parametrize("name", ALONE)
def test_what_changes_the_cluster_holds_it_meanwhile(around: Around, tmp_path: Path, name: str) -> None:
    stands(around, tmp_path, Presence.RUNNING)
    alone(around, name)
    assert around.held == [name not in ("health", "prepull", "build")]


def test_health_only_looks(around: Around, tmp_path: Path) -> None:
    stands(around, tmp_path, Presence.RUNNING)
    for name in ALONE:
        alone(around, name)
    assert [run["acts"] for run in around.runs] == [name != "health" for name in ALONE]
