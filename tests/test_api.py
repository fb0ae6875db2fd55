"""Tasks of the user's own in Python: the example of the docs, and the errors of wrong ones."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks import api, up
from tasks.core.errors import BadInput, LaunchError, PlanError
from tasks.core.paths import OWN_TASKS
from tasks.engine.step import Report, Step
from tasks.facts.facts import Facts
from tasks.k3d.ports import choosers
from tasks.run import own_steps, own_tasks
from tasks.settings.derived import CREATE_CLUSTER, done_name
from tests import given
from tests.programs import Answer, FakePrograms

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "own_tasks.py"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    sys.modules.pop(OWN_TASKS, None)


def facts(folder: Path, text: str | None = None) -> Facts:
    """Of a project with this module; None: with the example."""
    shutil.copytree(given.ROOT / "files", folder / "files")
    (folder / "own_tasks.py").write_text(EXAMPLE.read_text() if text is None else text)
    programs = FakePrograms(otherwise=Answer(out="deployment/one\ndeployment/two\n"))
    return replace(given.facts(folder, programs), root=folder)


def plan(result: Facts) -> dict[str, Step]:
    return given.by_name(up.steps(result, choosers(result)))


def test_the_example_joins_a_launch_and_is_a_task(tmp_path: Path) -> None:
    result = facts(tmp_path)
    step = plan(result)["warm: certificates"]
    assert step.needs == (done_name(result.releases[0]),)
    assert (step.task, step.kind) == ("steps", "own steps")
    assert own_steps.each_time(result, list(plan(result).values())) == {"warm: certificates"}
    assert "warm: certificates" in given.above(list(plan(result).values()), "cluster: switch your kubeconfig to it")
    assert given.act(step) == Report(why="2 deployments", exit_code=0)
    (call,) = result.programs.calls  # type: ignore[attr-defined]
    assert call.command.env["CONTEXT"] == "k3d-openframe-dev"
    assert (call.command.cwd, call.command.deadline) == (tmp_path, 20.0)
    (task,) = own_tasks.tasks(tmp_path)
    assert task.name == "warm"
    assert own_tasks.tasks(tmp_path / "files") == []


def test_steps_alone_need_nothing_of_a_launch(tmp_path: Path) -> None:
    (step,) = own_steps.woven(facts(tmp_path), (), own_tasks.steps(facts(tmp_path / "again")), alone=True)
    assert step.name == "warm: certificates"


STEP = "from tasks.api import Step\ndef steps(facts): return [Step(name='mine', {})]\n"


def test_names_of_steps_and_of_things_are_understood(tmp_path: Path) -> None:
    result = facts(tmp_path, STEP.format("needs=('namespaces: apply', 'secrets'), before=('cert-manager',)"))
    found = plan(result)
    assert {"namespaces: apply"} < given.above(list(found.values()), "mine")
    assert "mine" in found["helm: install cert-manager"].needs
    early = plan(facts(tmp_path / "early", STEP.format("before=('cluster',)")))
    assert "mine" in early[CREATE_CLUSTER].needs


@pytest.mark.parametrize(
    ("text", "kind", "reported"),
    [
        ("x = y\n", BadInput, "own_tasks.py, line 1: cannot be imported"),
        ("import sys\nsys.exit(3)\n", BadInput, "own_tasks.py, line 2: cannot be imported"),
        ("def steps(facts):\n    return facts.nothing\n", BadInput, "own_tasks.py, line 2: its `steps` failed"),
        ("def steps(facts): return 3\n", PlanError, "returned no list of steps"),
        (STEP.format("needs=('cert-manger',)"), PlanError, "did you mean cert-manager?"),
        (STEP.format("needs=('secrets',), before=('cluster',)"), PlanError, "wait for each other"),
    ],
)
def test_mistakes_are_found_at_the_start(tmp_path: Path, text: str, kind: type[LaunchError], reported: str) -> None:
    with pytest.raises(kind) as caught:
        plan(facts(tmp_path, text))
    assert reported in str(caught.value)


def test_the_interface_is_what_it_says() -> None:
    assert all(hasattr(api, name) for name in api.__all__)
