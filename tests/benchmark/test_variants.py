"""What is compared."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tasks.bench import bench
from tasks.benchmark.variants import Setting, variants_of, workspace_for
from tasks.core.errors import BadInput
from tests import given

HERE, THERE = Setting(), Setting(profile="ci")


@pytest.mark.parametrize(
    ("modes", "state", "names"),
    [
        ("sequential,staged,graph", "warm", ["sequential", "staged", "graph"]),
        ("sequential,graph:noop", "warm", ["sequential", "graph:noop"]),
        ("sequential,graph", "noop", ["sequential", "graph:noop"]),
        ("graph,graph:second", "warm", ["graph", "graph:second"]),
        ("create, graph", "cold", ["create:cold", "graph:cold"]),
    ],
)
def test_modes_with_their_states(modes: str, state: str, names: list[str]) -> None:
    assert [each.name for each in variants_of(modes, state, HERE)] == names


def test_two_settings_are_two_variants() -> None:
    found = variants_of("graph", "warm", HERE, THERE)
    assert [(each.name, each.setting) for each in found] == [("A graph", THERE), ("B graph", HERE)]
    assert HERE.stem != THERE.stem


@pytest.mark.parametrize(
    ("modes", "state", "reported"),
    [
        ("graf", "warm", "'graf' is no mode"),
        ("graph:hot", "warm", "'hot' is no state"),
        ("graph,graph", "warm", "'graph' twice"),
        ("", "warm", "names nothing"),
    ],
)
def test_what_cannot_be_compared_is_refused(modes: str, state: str, reported: str) -> None:
    with pytest.raises(BadInput, match=reported):
        variants_of(modes, state, HERE)


def test_comparison_modes_need_a_real_engine(tmp_path: Path) -> None:
    session = given.session(tmp_path)
    rehearsed = replace(session, rehearsal=cast("Any", object()))
    with pytest.raises(BadInput, match="--modes sequential,create with --engine rehearsal"):
        cast("Any", bench.body).__wrapped__(rehearsed, modes="sequential,graph,create")


def test_other_circumstances_are_for_the_embedded_engine_alone(tmp_path: Path) -> None:
    session = given.session(tmp_path)
    with pytest.raises(BadInput, match="--cores without --engine rehearsal"):
        workspace_for(session, Setting(), "openframe-bench", {"cores": "8", "line": ""})


def test_the_engine_is_not_tuned_for_caches_that_go_again(tmp_path: Path) -> None:
    session = given.session(tmp_path)
    setting = Setting(sets=("docker.tune=auto",))
    assert workspace_for(session, setting, "openframe-bench").session.settings.docker.tune == "off"
