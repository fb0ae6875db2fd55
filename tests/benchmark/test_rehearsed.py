"""The comparison modes on the embedded engine: the plan that their commands are, and what the model makes of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.benchmark.commands import Stage, create, stages
from tasks.benchmark.rehearsed import circumstances, steps
from tasks.benchmark.rounds import up
from tasks.benchmark.variants import Place, Setting, place
from tasks.core.errors import BadInput
from tasks.engine.step import Bounds
from tasks.facts.facts import Facts
from tasks.rehearsal.model import AFTER, Scene, activities
from tasks.rehearsal.profile import load
from tasks.rehearsal.simulate import Machine, simulate
from tests import given
from tests.programs import Answer, FakePrograms

SETTINGS = given.settings(
    namespaces=["platform"],
    helm={
        "repositories": {"repo": "https://charts.example.com"},
        "releases": [
            {"name": "one", "namespace": "platform", "chart": "repo/one"},
            {"name": "two", "namespace": "platform", "chart": "repo/two", "needs": ["one"], "wait": False},
        ],
    },
    cluster={"name": "openframe-bench", "agents": 1},
)


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    return given.facts(tmp_path, settings=SETTINGS)


@pytest.fixture
def there(tmp_path: Path) -> Place:
    (tmp_path / "files").mkdir()
    session = cast("Any", SimpleNamespace(settings=SETTINGS, environ={"PATH": "/usr/bin:/bin"}))
    return Place(session=session, folder=tmp_path, cluster="openframe-bench")


def _planned(there: Place, facts: Facts) -> tuple[Stage, ...]:
    return stages(there, facts)


def test_one_at_a_time_each_comes_after_the_one_before(there: Place, facts: Facts) -> None:
    plan = steps(_planned(there, facts), facts, together=False)
    names = [step.name for step in plan]
    assert [step.needs for step in plan] == [(), *((name,) for name in names[:-1])]
    assert [name for name in names if not name.startswith(("kubectl: ", "registry: ", "prepull: "))] == [
        "cluster: create",
        "helm: update: repo add repo",
        "helm: update: repo update repo",
        "helm: install one in platform",
        "helm: one in platform ready",
        "helm: install two in platform",
    ]
    assert f"prepull: {next(iter(facts.images))}" in names
    assert "kubectl: namespace platform" in names
    assert {step.name for step in plan if step.wait} == {"cluster: create", "helm: one in platform ready"}


def test_in_stages_each_comes_after_the_whole_stage_before(there: Place, facts: Facts) -> None:
    planned = _planned(there, facts)
    by_name = {step.name: step for step in steps(planned, facts, together=True)}
    pulls = {f"prepull: {image}" for image in facts.images}
    registries = [step for step in by_name.values() if step.name.startswith("registry: ")]
    assert registries
    assert all(set(step.needs) == pulls for step in registries)
    assert set(by_name["cluster: create"].needs) == {step.name for step in registries}
    assert by_name["helm: install two in platform"].needs == ("helm: one in platform ready",)


@pytest.mark.parametrize(("bare", "balanced"), [(False, True), (True, False)])
def test_the_cluster_is_k3ds_own_and_charts_are_checked(bare: bool, balanced: bool, there: Place, facts: Facts) -> None:
    seen = circumstances(Scene(validated=frozenset({"one"})), (create(there, facts, bare=bare),))
    assert (seen.balanced, seen.validated) == (balanced, frozenset())


def test_the_model_takes_it_and_more_cores_or_going_together_are_faster(there: Place, facts: Facts) -> None:
    planned, profile, bounds = _planned(there, facts), load(given.ROOT, "default"), Bounds(work=1000, waits=1000)

    def wall(together: bool, cores: float) -> float:
        seen = circumstances(Scene(agents=1), planned)
        found = activities(steps(planned, facts, together=together), seen, profile)
        return simulate(found, Machine(cores=cores), bounds)[AFTER][1]

    assert wall(True, 2) < wall(False, 2)
    assert wall(False, 8) < wall(False, 2)
    assert wall(True, 8) < wall(False, 8)


def test_other_circumstances_are_for_the_embedded_engine_alone(tmp_path: Path) -> None:
    session = given.session(tmp_path)
    with pytest.raises(BadInput, match="--cores without --engine rehearsal"):
        place(session, Setting(), "openframe-bench", {"cores": "8", "line": ""})


def test_a_launch_under_other_circumstances_is_rehearsed(tmp_path: Path) -> None:
    options = SimpleNamespace(profile=None, sets=(), engine="rehearsal")
    session = cast("Any", SimpleNamespace(options=options, root=tmp_path))
    made = Place(session=session, folder=tmp_path, cluster="x", asked=("--cores", "8"))
    programs = FakePrograms(otherwise=Answer())
    up(made, programs)
    assert programs.calls[0].line.partition(" ")[2] == "-m invoke rehearse --cores 8"
