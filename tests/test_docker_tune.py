"""`invoke docker-tune`, and what `up` does of it, from the facts to the file."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from tasks import docker_tune as tuning
from tasks.core.errors import BadInput, NoEngine
from tasks.engine.step import Step
from tasks.facts.cluster import ContainerState
from tasks.facts.facts import Facts
from tasks.facts.host import Rights
from tasks.facts.registries import Registry
from tasks.host import daemon as places
from tasks.host.daemon import Elsewhere
from tasks.host.writer import NoRights
from tasks.run.task import Options, begin
from tasks.settings.schema import Settings
from tests.checks.given import engine as host
from tests.given import act, by_name, facts, session, settings
from tests.given import call as run
from tests.given_engine import HUB, ports, there
from tests.host.dockerd import Dockerd, running
from tests.programs import FakePrograms

OURS = "http://127.0.0.1:5051"
OTHERS = '{\n  "debug": true\n}\n'


def wanted(**docker: Any) -> Settings:
    """Settings with these of `docker`."""
    given = {
        "tune": "auto",
        "daemon_json": None,
        "max_concurrent_downloads": 10,
        "max_concurrent_uploads": 8,
        "mirror": True,
    }
    return settings(docker={**given, **docker})


@pytest.fixture
def no_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is root's, and sudo would ask for a password."""
    monkeypatch.setattr("tasks.host.writer.replaceable", lambda _path: False)
    monkeypatch.setattr("tasks.host.writer.rights", lambda _programs: Rights(root=False, sudo=False))


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dockerd:
    """A dockerd with its file in a folder of the test."""
    (tmp_path / "etc").mkdir()
    found = Dockerd(file=tmp_path / "etc" / "daemon.json")
    found.file.write_text(OTHERS)
    monkeypatch.setattr(places, "ROOTFUL", found.file)
    monkeypatch.setattr(places, "SNAP", tmp_path / "snap.json")
    monkeypatch.setattr(places, "by_pidfile", lambda *_args: running(found.argv))
    return found


def given(
    folder: Path, engine: Dockerd, programs: FakePrograms | None = None, cache: Registry | None = None, **more: Any
) -> Facts:
    remaining = {} if cache is None else {cache.name: cache}
    changes: dict[str, Any] = {"settings": wanted(), "host": host(), "registries": remaining, **more}
    return facts(folder, programs or engine.programs, **changes)


def hub(**changes: Any) -> Registry:
    return there(HUB, **{"port": 5051, **changes})


# -- up ------------------------------------------------------------------------------------------------


def test_a_cluster_of_somebody_else_has_no_engine_to_tune(tmp_path: Path, engine: Dockerd) -> None:
    assert tuning.steps(given(tmp_path, engine, host=None)) == []


def test_one_step_where_the_cache_runs_already(tmp_path: Path, engine: Dockerd) -> None:
    programs = engine.programs
    (step,) = tuning.steps(given(tmp_path, engine, programs, hub()))
    assert (step.name, step.task, step.needs, step.skip) == (tuning.FILE, "docker-tune", (), None)
    assert "max-concurrent-downloads: 3 → 10" in step.why
    assert programs.lines == []  # a plan changes nothing, and asks nobody
    report = act(step)
    assert not report.skipped
    assert engine.values == (10, 8, [OURS])
    (again,) = tuning.steps(given(tmp_path, engine, cache=hub()))
    assert again.skip == f"{engine.file} is as configured"


@pytest.mark.parametrize("cache", [None, hub(state=ContainerState.CREATED)])
def test_a_cache_created_by_this_launch_comes_after_it(tmp_path: Path, engine: Dockerd, cache: Registry | None) -> None:
    result = given(tmp_path, engine, cache=cache)
    numbers, mirror = tuning.steps(result)
    assert numbers.needs == ()
    assert mirror.needs == ("registry: cache of docker.io",)
    act(numbers)
    assert engine.values == (10, 8, [])
    result.outputs.registry_ports[HUB] = 5077
    act(mirror)
    assert engine.values == (10, 8, ["http://127.0.0.1:5077"])


def test_an_earlier_mirror_stays_until_the_new_caches_address_is_known(tmp_path: Path, engine: Dockerd) -> None:
    act(tuning.steps(given(tmp_path, engine, cache=hub()))[0])
    result = given(tmp_path, engine)
    numbers, mirror = tuning.steps(result)
    assert numbers.skip is not None
    assert mirror.skip is None
    result.outputs.registry_ports[HUB] = 5052
    act(mirror)
    assert engine.mirrors == ["http://127.0.0.1:5052"]


@pytest.mark.parametrize(
    "more",
    [
        {"settings": wanted(mirror=False)},
        {"settings": wanted().model_copy(update={"registries": settings(registries={"caches": []}).registries})},
    ],
)
def test_without_a_mirror(tmp_path: Path, engine: Dockerd, more: Mapping[str, Any]) -> None:
    (step,) = tuning.steps(given(tmp_path, engine, **more))
    act(step)
    assert engine.values == (10, 8, [])


@pytest.mark.parametrize(
    ("more", "before", "reported"),
    [
        ({"host": replace(host(), desktop=True, os="Docker Desktop")}, OTHERS, "Docker Desktop"),
        ({"host": replace(host(), here=False)}, OTHERS, "not on this machine"),
        ({}, "{ // mine\n}", "is not plain JSON"),
        ({}, '{"max-concurrent-downloads": "9"}', "is not plain JSON"),
    ],
)
def test_a_launch_continues_without_the_change(
    tmp_path: Path, engine: Dockerd, more: Mapping[str, Any], before: str, reported: str
) -> None:
    engine.file.write_text(before)
    (step,) = tuning.steps(given(tmp_path, engine, cache=hub(), **more))
    assert reported in str(step.skip)
    assert engine.file.read_text() == before


def test_without_rights_nothing_is_planned(tmp_path: Path, engine: Dockerd, no_rights: None) -> None:
    (step,) = tuning.steps(given(tmp_path, engine))
    assert "sudo would ask for a password" in str(step.skip)


def test_what_is_left_as_it_is_is_told_and_the_launch_goes_on(tmp_path: Path, engine: Dockerd) -> None:
    engine.argv = ("dockerd", "--max-download-attempts=9")
    (step,) = tuning.steps(given(tmp_path, engine, cache=hub()))
    report = act(step)
    assert report.skipped
    assert "--max-download-attempts" in report.why
    assert engine.file.read_text() == OTHERS


def test_everything_else_waits_for_the_first_step(tmp_path: Path, engine: Dockerd) -> None:
    others = [Step(name="a", task="t"), Step(name="b", task="t", needs=("a",))]
    plan = by_name(tuning.first([*others, *tuning.steps(given(tmp_path, engine, cache=hub()))]))
    assert plan["a"].needs == (tuning.FILE,)
    assert plan["b"].needs == ("a",)
    assert plan[tuning.FILE].needs == ()
    assert tuning.first(others) == others
    skipped = [*others, Step(name=tuning.FILE, task="docker-tune", skip="as configured")]
    assert tuning.first(skipped) == skipped


def test_who_removes_the_caches_takes_the_mirror_out(tmp_path: Path, engine: Dockerd) -> None:
    assert tuning.unmirrored(given(tmp_path, engine)) == []
    act(tuning.steps(given(tmp_path, engine, cache=hub()))[0])
    (step,) = tuning.unmirrored(given(tmp_path, engine, settings=wanted(tune="off")))
    assert OURS in step.why
    act(step)
    assert engine.values == (10, 8, [])
    assert tuning.unmirrored(given(tmp_path, engine)) == []
    assert tuning.unmirrored(given(tmp_path, engine, host=None)) == []


def test_an_irremovable_mirror_is_named(tmp_path: Path, engine: Dockerd, request: pytest.FixtureRequest) -> None:
    act(tuning.steps(given(tmp_path, engine, cache=hub()))[0])
    request.getfixturevalue("no_rights")
    (step,) = tuning.unmirrored(given(tmp_path, engine))
    assert "docker-tune --undo" in str(step.skip)


# -- the task ------------------------------------------------------------------------------------------


@pytest.fixture
def well(engine: Dockerd, monkeypatch: pytest.MonkeyPatch) -> Dockerd:
    """The engine answers, and the cache of Docker Hub runs."""
    monkeypatch.setattr("tasks.facts.engine.engine", lambda _programs: host())
    return engine


def restarted(engine: Dockerd, cache: Mapping[str, Any] | None = None) -> FakePrograms:
    programs = engine.programs
    programs.answers["docker container inspect"] = json.dumps([cache] if cache is not None else [])
    return programs


CACHE = {
    "Id": "x",
    "Name": f"/{HUB}",
    "Config": {"Labels": {}},
    "HostConfig": {"PortBindings": {"5000/tcp": [{"HostPort": "5051"}]}},
    "State": {"Running": True, "Status": "running"},
    "NetworkSettings": {"Networks": {}},
}


def call(tmp_path: Path, programs: FakePrograms, *, undo: bool = False, **more: Any) -> int:
    result = session(tmp_path, programs, task="docker-tune", settings=wanted(tune="off", **more))
    return run(tuning.docker_tune, result, undo=undo)


def latest(folder: Path) -> Any:
    return json.loads((folder / "openframe-logs" / "latest.json").read_text())


def test_merged_and_given_back(tmp_path: Path, well: Dockerd) -> None:
    assert call(tmp_path, restarted(well, CACHE)) == 0
    assert well.values == (10, 8, [OURS])
    assert call(tmp_path, restarted(well, CACHE)) == 0
    assert well.reloads == 1
    assert call(tmp_path, restarted(well), undo=True) == 0
    assert well.values == (3, 5, [])
    assert {path.name: path.read_text() for path in well.file.parent.iterdir()} == {"daemon.json": OTHERS}
    assert (latest(tmp_path)["task"], latest(tmp_path)["outcome"]) == ("docker-tune", "ok")


def test_how_to_get_the_missing_cache(tmp_path: Path, well: Dockerd) -> None:
    assert call(tmp_path, restarted(well)) == 0
    assert well.values == (10, 8, [])
    assert "invoke registry creates it" in latest(tmp_path)["steps"][0]["why"]


def test_on_docker_desktop_the_steps_are_told(tmp_path: Path, well: Dockerd, monkeypatch: pytest.MonkeyPatch) -> None:
    away = replace(host(), desktop=True, here=False, os="Docker Desktop")
    monkeypatch.setattr("tasks.facts.engine.engine", lambda _programs: away)
    with pytest.raises(Elsewhere, match="Docker Desktop") as caught:
        call(tmp_path, restarted(well))
    assert "max-concurrent-downloads" in caught.value.fix
    assert well.file.read_text() == OTHERS


def test_without_rights(tmp_path: Path, well: Dockerd, no_rights: None) -> None:
    programs = restarted(well, CACHE)
    with pytest.raises(NoRights, match="nothing was changed"):
        call(tmp_path, programs)
    assert well.file.read_text() == OTHERS
    assert not any(line.startswith("sudo") for line in programs.lines)


def test_an_impossible_change_fails_the_task(tmp_path: Path, well: Dockerd, capsys: pytest.CaptureFixture[str]) -> None:
    well.file.write_text("{ # mine\n}")
    with pytest.raises(Exit) as caught:
        call(tmp_path, restarted(well, CACHE))
    assert caught.value.code == BadInput.status
    assert "a comment" in capsys.readouterr().err
    assert well.file.read_text() == "{ # mine\n}"


def test_undoing_needs_no_engine(tmp_path: Path, well: Dockerd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that keeps Docker from starting is given back too."""
    call(tmp_path, restarted(well, CACHE))

    def down(_programs: object) -> None:
        raise NoEngine("the Docker engine does not run")

    monkeypatch.setattr("tasks.facts.engine.engine", down)
    assert call(tmp_path, FakePrograms(answers={}), undo=True) == 0
    assert well.file.read_text() == OTHERS


def test_nothing_to_undo(tmp_path: Path, well: Dockerd) -> None:
    assert call(tmp_path, restarted(well), undo=True) == 0
    assert latest(tmp_path)["steps"][0]["state"] == "skipped"


@pytest.mark.parametrize(
    ("user", "environ", "own"),
    [(0, {"SUDO_UID": "1000"}, True), (0, {}, False), (0, {"SUDO_UID": "0"}, False), (1000, {"SUDO_UID": "1"}, False)],
)
def test_by_sudo_no_folder_of_the_users_becomes_roots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, environ: Mapping[str, str], own: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    (tmp_path / "config").mkdir()
    logs = str(tmp_path / "logs")
    folders = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "DEPLOY_LOG_DIR": logs}
    found = tuning._with_logs_of_its_own(begin(Options(task="docker-tune"), tmp_path, {**folders, **environ}))
    assert found.settings.log_dir == (str(tmp_path / "state" / "openframe" / "openframe-logs") if own else logs)


# -- where it is called --------------------------------------------------------------------------------


def test_a_launch_begins_with_it_and_a_part_does_not(tmp_path: Path, engine: Dockerd) -> None:
    from tasks.k3d.ports import Choosers
    from tasks.settings.derived import PARTS
    from tests.given import launch

    result = given(tmp_path, engine, cache=hub())
    chooser = Choosers(next_ports=lambda each, _reported: each, free_port=ports(5051))
    plan = launch(result, PARTS, chooser)
    assert [step.name for step in plan if not step.needs and step.skip is None] == [tuning.FILE]
    assert tuning.FILE not in by_name(launch(result, ("prepull", "registry", "cluster"), chooser))


def test_a_rehearsal_leaves_the_real_engine_alone(tmp_path: Path, engine: Dockerd) -> None:
    from tasks.rehearsal.backend import Rehearsed

    act(tuning.steps(given(tmp_path, engine, cache=hub()))[0])
    rehearsed = given(tmp_path, engine, cache=hub(port=5099), backend=Rehearsed.__new__(Rehearsed))
    assert tuning.steps(rehearsed) == []
    assert tuning.unmirrored(rehearsed) == []
    assert engine.mirrors == [OURS]


def test_the_caches_go_after_the_mirror(tmp_path: Path, engine: Dockerd) -> None:
    from tasks.registry import purge_steps

    act(tuning.steps(given(tmp_path, engine, cache=hub()))[0])
    programs = engine.programs
    programs.answers["docker volume ls"] = ""
    programs.answers["docker volume ls --quiet"] = ""
    result = given(tmp_path, engine, programs, hub())
    plan = by_name(purge_steps(session(tmp_path, programs, task="registry"), result))
    assert next(iter(plan)) == tuning.UNMIRROR
    assert plan["registry: remove"].needs == (tuning.UNMIRROR,)
