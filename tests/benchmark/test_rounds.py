"""The order of launches, how they are run and measured, and how long is left."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.benchmark.commands import Call, Stage
from tasks.benchmark.rounds import (
    Clock,
    Rounds,
    prepare,
    recorded,
    refuse_shared,
    remove_caches,
    remove_cluster,
    remove_images,
    run_stages,
    timed,
    up,
)
from tasks.benchmark.variants import Setting, Workspace, variants_of
from tasks.clients.docker import OWNER
from tasks.core.errors import BadInput, LaunchError
from tasks.process.command import Command, CommandFailed
from tasks.settings.derived import registry_containers
from tests import given
from tests.facts.inspected import container, registry
from tests.given_engine import OTHER
from tests.programs import Answer, FakePrograms
from tests.runs.records import record, skipped, step


def _rounds(modes: str, runs: int = 5) -> Rounds:
    return Rounds(variants=variants_of(modes, "warm", Setting()), workspaces={}, runs=runs, warmups=1)


def test_the_order_turns_from_round_to_round() -> None:
    trials = list(_rounds("sequential,staged,graph").trials())
    rounds = {number: [trial.variant.mode for trial in trials if trial.round == number] for number in range(-1, 3)}
    assert rounds == {
        -1: ["sequential", "staged", "graph"],
        0: ["staged", "graph", "sequential"],
        1: ["graph", "sequential", "staged"],
        2: ["sequential", "staged", "graph"],
    }


def test_every_rival_is_launched_as_often() -> None:
    trials = list(_rounds("sequential,graph").trials())
    assert Counter(trial.variant.mode for trial in trials if trial.round >= 0) == {"sequential": 5, "graph": 5}
    assert [trial.number for trial in trials] == list(range(1, 13))


def test_the_time_left_goes_by_what_each_took() -> None:
    trials = list(_rounds("sequential,graph", runs=1).trials())
    clock = Clock()
    assert clock.left(trials) is None
    clock.add("sequential", 40.0)
    assert clock.left(trials[1:]) == 120.0  # nothing is known of the other yet
    clock.add("graph", 10.0)
    assert clock.left(trials[2:]) == 50.0


def test_what_a_cold_launch_has_removed_is_filled_again() -> None:
    rounds = _rounds("graph:cold,graph:second,graph")
    cold, second, warm = rounds.variants
    rounds.filled = {second.name, warm.name}
    rounds._forget(second)
    assert rounds.filled == {second.name}
    rounds._forget(cold)
    assert rounds.filled == set()


def _stages() -> list[Stage]:
    def act(name: str) -> Call:
        return Call(name=name, command=Command(argv=("do", name)))

    return [Stage(name="first", calls=(act("a"), act("b"))), Stage(name="second", calls=(act("c"),))]


@pytest.mark.parametrize("together", [False, True])
def test_a_stage_begins_when_the_one_before_has_ended(together: bool) -> None:
    programs = FakePrograms(otherwise=Answer())
    spans, path = run_stages(programs, _stages(), together=together)
    assert sorted(call.line for call in programs.calls[:2]) == ["do a", "do b"]
    assert programs.calls[2].line == "do c"
    assert set(spans) == {"a", "b", "c"}
    assert spans["c"][0] >= max(spans["a"][1], spans["b"][1])
    assert path[-1] == "c"
    assert len(path) == (2 if together else 3)


@pytest.mark.parametrize("together", [False, True])
def test_a_failure_ends_the_launch(together: bool) -> None:
    programs = FakePrograms(answers={"do b": Answer(code=1, err="no")}, otherwise=Answer())
    with pytest.raises(CommandFailed, match="no"):
        run_stages(programs, _stages(), together=together)
    assert "do c" not in [call.line for call in programs.calls]


def test_time_and_processors_are_taken() -> None:
    trial = next(_rounds("graph").trials())
    done = timed(trial, lambda: ({"a": (0.0, 1.0)}, ("a",)), 0.5)
    assert (done.variant, done.round, done.rest) == ("graph", -1, 0.5)
    assert done.wall_s >= 0
    assert done.busy_s >= 0
    assert (done.steps, done.critical_path) == ({"a": (0.0, 1.0)}, ("a",))


def _place(folder: Path) -> Workspace:
    options = SimpleNamespace(profile="ci", sets=("cluster.name=openframe-bench",), engine="rehearsal")
    return Workspace(session=cast("Any", SimpleNamespace(options=options, root=folder)), folder=folder, cluster="x")


def test_up_is_a_process_of_its_own_with_the_same_settings(tmp_path: Path) -> None:
    programs = FakePrograms(otherwise=Answer())
    assert up(_place(tmp_path), programs) == ({}, ())
    [call] = programs.calls
    expected = "-m invoke up --profile ci --set cluster.name=openframe-bench --engine rehearsal"
    assert call.line.partition(" ")[2] == expected


def test_an_up_that_failed_is_told_with_its_last_lines(tmp_path: Path) -> None:
    programs = FakePrograms(otherwise=Answer(code=1, err="no space left on device"))
    with pytest.raises(LaunchError, match="no space left on device"):
        up(_place(tmp_path), programs)


def test_steps_come_from_the_record(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    result = record([step("a", at=(1.0, 1.0, 2.5)), skipped("b")], critical_path=["b", "a"])
    (tmp_path / "logs" / "latest.json").write_text(json.dumps(result))
    assert recorded(_place(tmp_path)) == ({"a": (1.0, 2.5)}, ("a",))


def test_a_launch_under_other_circumstances_is_rehearsed(tmp_path: Path) -> None:
    options = SimpleNamespace(profile=None, sets=(), engine="rehearsal")
    session = cast("Any", SimpleNamespace(options=options, root=tmp_path))
    result = Workspace(session=session, folder=tmp_path, cluster="x", conditions=("--cores", "8"))
    programs = FakePrograms(otherwise=Answer())
    up(result, programs)
    assert programs.calls[0].line.partition(" ")[2] == "-m invoke rehearse --cores 8"


def _mine(folder: Path, programs: FakePrograms, **settings: Any) -> Workspace:
    """A workspace with scripted programs."""
    cluster = {"owner": "me", "name": "openframe-bench"}
    result = given.session(folder, programs, settings=given.settings(cluster=cluster, **settings))
    return Workspace(session=result, folder=folder, cluster="openframe-bench")


@pytest.mark.parametrize(
    ("mode", "builds", "reported"), [("staged", 1, 1), ("staged", 0, 0), ("graph", 1, 0), ("create", 1, 0)]
)
def test_images_of_releases_are_built_before_commands(tmp_path: Path, mode: str, builds: int, reported: int) -> None:
    programs = FakePrograms(otherwise=Answer())
    (variant,) = variants_of(mode, "warm", Setting())
    prepare(_mine(tmp_path, programs), variant, given.facts(tmp_path, builds=(cast("Any", None),) * builds))
    assert len([line for line in programs.lines if " -m invoke build" in line]) == reported


@pytest.mark.parametrize(
    ("volumes", "reported"),
    [
        (["/data:/data", "/c:/c:ro,z@server:0"], "mounts /data:/data$"),
        (["pg:/pg:rw@agent:*"], "mounts pg:/pg:rw$"),
        (["/c:/c:ro", "/anonymous"], ""),
    ],
)
def test_folders_that_another_cluster_writes_to_are_refused(tmp_path: Path, volumes: list[str], reported: str) -> None:
    settings = given.settings(cluster={"volumes": volumes})
    workspace = replace(_mine(tmp_path, FakePrograms()), session=given.session(tmp_path, settings=settings))
    if not reported:
        return refuse_shared(workspace)
    with pytest.raises(BadInput) as caught:
        refuse_shared(workspace)
    assert re.search(reported, caught.value.what)
    return None


@pytest.mark.parametrize("labels", [None, {OWNER: OTHER}])
def test_a_cluster_that_others_created_in_between_is_not_removed(tmp_path: Path, labels: dict[str, str] | None) -> None:
    theirs = container("server-0", "server", cluster="openframe-bench", ours=labels is not None, labels=labels or {})
    fake = FakePrograms(answers={"docker ps": theirs["Id"], "docker container inspect": json.dumps([theirs])})
    with pytest.raises(BadInput):
        remove_cluster(_mine(tmp_path, fake))
    assert not fake.calls_of("k3d")


def test_registries_of_others_with_the_same_name_stay(tmp_path: Path) -> None:
    caches = [{"upstream": name} for name in ("docker.io", "ghcr.io", "quay.io")]
    fake = FakePrograms(otherwise=Answer())
    result = _mine(tmp_path, fake, registries={"caches": caches, "push": False})
    mine, alices, manual = registry_containers(result.session.settings)
    rows = [
        registry(mine, labels={OWNER: result.session.owner.label}),
        registry(alices, labels={OWNER: OTHER}),
        registry(manual, ours=False),
    ]
    fake.answers["docker ps"] = "a b c"
    fake.answers["docker container inspect"] = json.dumps(rows)
    fake.answers["docker volume ls"] = f"{mine}\n{alices}\nk3d-openframe-registry\n"
    remove_caches(result)
    assert [call.line for call in fake.calls_of("docker rm")] == [f"docker rm --force --volumes {mine}"]
    assert [call.line for call in fake.calls_of("docker volume rm")] == [f"docker volume rm --force {mine}"]


def test_an_image_that_no_registry_has_stays(tmp_path: Path) -> None:
    known = {"pulled": ["r/pulled@sha256:1"], "built-here": []}
    fake = FakePrograms(
        answers={"docker image": lambda call: Answer(out=json.dumps({"digests": known.get(call.command.argv[-1])}))},
        otherwise=Answer(),
    )
    remove_images(_mine(tmp_path, fake), known)
    assert [call.line for call in fake.calls_of("docker rmi")] == ["docker rmi pulled"]
