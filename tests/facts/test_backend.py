"""Where a launch goes: what each backend makes, and that nothing else knows them by name."""

import re

import pytest

from tasks.facts.backend import BACKENDS, Backend
from tasks.rehearsal.backend import Rehearsed
from tasks.rehearsal.folder import Folder
from tasks.run.task import ENGINES, Options
from tasks.settings.derived import NEEDS_CLUSTER, PARTS
from tests import given
from tests.given import ROOT

KNOWING = {"tasks/facts/backend.py", "tasks/run/task.py"}
"""The backends, and the options."""


def test_the_options_name_the_backends() -> None:
    assert set(ENGINES) == {*BACKENDS, Rehearsed.name}


@pytest.mark.parametrize("name", ENGINES)
def test_only_where_this_project_makes_the_cluster_there_are_parts_that_make_one(name: str) -> None:
    backend: Backend = BACKENDS[name]() if name in BACKENDS else Rehearsed(Folder(ROOT))
    assert backend.name == name
    assert backend.owns_cluster is Options(task="up", engine=name).owns_cluster
    assert backend.owns_cluster is (name != "existing")
    assert set(backend.parts) == (set(PARTS) if backend.owns_cluster else {*NEEDS_CLUSTER, "build"})
    assert backend.rehearsed is (name == "rehearsal")
    assert given.session(ROOT, engine="existing", context="c").backend.owns_cluster is False


def test_whose_a_cluster_is_is_asked_of_the_facts_alone() -> None:
    """A comparison elsewhere would be forgotten where a backend is added, and a foreign cluster would be changed."""
    files = (path for path in (ROOT / "tasks").rglob("*.py"))
    found = {str(path.relative_to(ROOT)) for path in files if re.search(r"""["']existing["']""", path.read_text())}
    assert found == KNOWING
