"""One call of a task: its options, its folders, its plan's run, and its exit code."""

import _thread
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from tasks.core.errors import BadInput, ClusterAbsent, ClusterStopped, Drifted, LaunchError, NoEngine, PlanError
from tasks.core.redact import conceal
from tasks.engine.step import Bounds, Context, Report, State, Step
from tasks.facts.facts import Shape
from tasks.facts.programs import Need
from tasks.run.session import Session, bounds
from tasks.run.task import Options, begin
from tasks.settings.derived import setting_of
from tests import given
from tests.engine.schema import problems
from tests.given import FakeSession
from tests.programs import Answer, FakePrograms

SCHEMA = json.loads((given.ROOT / "docs" / "reference" / "record.schema.json").read_text())
WORK = Bounds(work=2)


def called(folder: Path, **options: Any) -> Session:
    """As a task begins."""
    environ = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
    return begin(Options(**{"task": "up", **options}), given.ROOT, environ)


def on_engine(folder: Path, socket: str, **options: Any) -> Session:
    environ = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "DOCKER_HOST": f"unix://{socket}"}
    return begin(Options(**{"task": "up", **options}), given.ROOT, environ)


def test_clusters_of_one_name_on_two_engines_have_files_of_their_own(tmp_path: Path) -> None:
    """Nodes have some of them mounted: `down` on the other engine would keep them from starting again."""
    first, second = (on_engine(tmp_path, f"/run/{name}.sock") for name in ("a", "b"))
    assert first.paths == second.paths, "nothing is there yet"
    first.paths.state.mkdir(parents=True)
    first.paths.engine.write_text("unix:///run/a.sock\n")
    again, second = (on_engine(tmp_path, f"/run/{name}.sock") for name in ("a", "b"))
    assert again.paths.state.name == "openframe-dev"
    assert second.paths.state.name.startswith("openframe-dev@")
    assert (again.lock.name, second.lock.name) == ("openframe-dev.lock", f"{second.paths.state.name}.lock")
    second.paths.state.mkdir()
    first.paths.engine.unlink()
    first.paths.state.rmdir()
    assert on_engine(tmp_path, "/run/b.sock").paths == second.paths, "also when the first one is gone"
    assert on_engine(tmp_path, "/run/a.sock").paths == first.paths


# -- options -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "what", "fix"),
    [
        ({"engine": "podman"}, "--engine is 'podman'", "k3d, existing"),
        ({"engine": "existing"}, "--engine existing needs --context NAME", "get-contexts"),
        ({"engine": "existing", "context": ""}, "--engine existing needs --context NAME", "get-contexts"),
        ({"context": "prod"}, "--context prod has no meaning with the engine k3d", "--engine existing"),
        ({"sets": ("cluster.agents=many",)}, "cluster.agents", ""),
        ({"sets": ("cluster.agnets=1",)}, "agnets", ""),
        ({"profile": "nobody"}, "nobody", ""),
    ],
)
def test_wrong_options_are_bad_input(tmp_path: Path, options: dict[str, Any], what: str, fix: str) -> None:
    with pytest.raises(BadInput) as caught:
        called(tmp_path, **options)
    assert what in caught.value.what
    assert fix in caught.value.fix


def test_folders_are_below_the_users_own(tmp_path: Path) -> None:
    session = called(tmp_path)
    assert session.paths.state == tmp_path / "state" / "openframe" / "clusters" / "openframe-dev"
    assert session.paths.cache == tmp_path / "cache" / "openframe"
    assert session.lock == tmp_path / "state" / "openframe" / "clusters" / "openframe-dev.lock"


def test_contexts_have_folders_of_their_own_whatever_their_names(tmp_path: Path) -> None:
    names = ("arn:aws:eks:eu-central-1:1234:cluster/prod", "../../etc", "openframe-dev")
    sessions = [called(tmp_path, engine="existing", context=name) for name in names]
    assert [session.name for session in sessions] == list(names)
    clusters = tmp_path / "state" / "openframe" / "clusters"
    folders = {session.paths.state for session in sessions}
    assert len(folders) == 3
    assert all(folder.parent == clusters and folder.name.startswith("context-") for folder in folders)
    assert clusters / "openframe-dev" not in folders


def test_programs_of_the_project_win(tmp_path: Path) -> None:
    programs = called(tmp_path).programs()
    assert programs.folder == given.ROOT / ".tools" / "bin"
    assert programs.env["HOME"] == str(tmp_path)


# -- running a plan ---------------------------------------------------------------------------------------


def step(name: str, action: Callable[[Context], Report | None] | None = None, **more: Any) -> Step:
    return Step(name=name, task="task", action=action or (lambda _context: None), **more)


def failing(error: BaseException) -> Callable[[Context], Report | None]:
    def act(_context: Context) -> Report | None:
        raise error

    return act


def interrupting(context: Context) -> Report | None:
    """Ctrl-C while this step is at work."""
    _thread.interrupt_main()
    context.cancelled.wait(10)
    context.wait(0)
    return None


def records(session: FakeSession) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(logs(session).glob("runs/*.json"))]


def logs(session: FakeSession) -> Path:
    return Path(session.settings.log_dir)


def test_a_run_leaves_a_record_and_latest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = given.session(tmp_path)
    session.open_logs()
    session.system.update(cpus=4, memory_gib=8.0)
    results = session.run([step("a"), step("b", needs=("a",), skip="not needed")], WORK)
    assert [result.state for result in results] == [State.RAN, State.SKIPPED]
    (record,) = records(session)
    assert problems(record, SCHEMA) == []
    assert record == json.loads((logs(session) / "latest.json").read_text())
    assert (record["task"], record["engine"], record["outcome"], record["concurrency"]) == ("up", "k3d", "ok", 2)
    assert [(each["name"], each["state"], each["why"]) for each in record["steps"]] == [
        ("a", "ran", ""),
        ("b", "skipped", "not needed"),
    ]
    assert record["system"] == {"cpus": 4, "memory_gib": 8.0}
    assert session.log_dir is not None
    assert session.log_dir.with_name(f"{session.log_dir.name}.json").exists(), "record and logs are found together"


def test_only_tasks_that_act_write_latest(tmp_path: Path) -> None:
    session = given.session(tmp_path, task="health")
    session.run([step("a")], WORK, acts=False)
    assert len(records(session)) == 1
    assert not (logs(session) / "latest.json").exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LaunchError("no"), 1),
        (BadInput("no"), 2),
        (ClusterStopped("no"), 3),
        (ClusterAbsent("no"), 4),
        (Drifted("no"), 5),
        (NoEngine("no"), 6),
        (ValueError("a bug"), 1),
    ],
)
def test_a_run_that_fails_ends_with_the_code_of_its_first_failure(
    tmp_path: Path, error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    session = given.session(tmp_path)

    def late(context: Context) -> Report | None:
        context.cancelled.wait(5)
        raise Drifted("too late")

    with pytest.raises(Exit) as caught:
        session.run([step("a", failing(error)), step("b", needs=("a",)), step("c", late)], WORK)
    assert caught.value.code == status
    (record,) = records(session)
    assert problems(record, SCHEMA) == []
    assert record["outcome"] == "failed"
    states = {each["name"]: each["state"] for each in record["steps"]}
    assert (states["a"], states["b"]) == ("failed", "aborted")
    shown = capsys.readouterr().err
    assert "a failed" in shown
    assert ("Traceback" in shown) is isinstance(error, ValueError), "expected errors show none, bugs do"


def test_an_interrupt_ends_the_run_and_is_recorded(tmp_path: Path) -> None:
    session = given.session(tmp_path)
    with pytest.raises(Exit) as caught:
        session.run([step("a", interrupting), step("b", needs=("a",))], WORK)
    assert caught.value.code == 130
    (record,) = records(session)
    assert problems(record, SCHEMA) == []
    assert record["outcome"] == "interrupted"
    assert {each["state"] for each in record["steps"]} == {"aborted"}


def test_keep_going_lets_the_rest_end(tmp_path: Path) -> None:
    session = given.session(tmp_path, keep_going=True)
    with pytest.raises(Exit):
        session.run([step("a", failing(LaunchError("no"))), step("b"), step("c", needs=("b",))], Bounds(work=1))
    states = {each["name"]: each["state"] for each in records(session)[0]["steps"]}
    assert states == {"a": "failed", "b": "ran", "c": "ran"}


def test_a_first_plan_that_fails_is_the_end(tmp_path: Path) -> None:
    session = given.session(tmp_path)
    with pytest.raises(Exit):
        session.run([step("a", failing(LaunchError("no")))], WORK, last=False)
    assert records(session)[0]["outcome"] == "failed"


def test_a_plan_that_cannot_run_is_refused_before_it_begins(tmp_path: Path) -> None:
    session = given.session(tmp_path)
    with pytest.raises(PlanError):
        session.run([step("a", needs=("b",))], WORK)
    assert records(session) == []


def test_silent_says_nothing_but_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = given.session(tmp_path, settings=given.settings(silent=True))
    session.run([step("a")], WORK)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(Exit):
        session.run([step("a", failing(LaunchError("it broke")))], WORK)
    out, err = capsys.readouterr()
    assert out == ""
    assert "it broke" in err


def test_what_is_secret_is_in_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conceal("canary-0815-in-an-error")
    session = given.session(tmp_path)
    with pytest.raises(Exit):
        session.run([step("a", failing(LaunchError("it said canary-0815-in-an-error")))], WORK)
    out, err = capsys.readouterr()
    assert "canary" not in json.dumps(records(session)) + out + err
    assert "it said ***" in err


def test_programs_are_given_proxies_in_the_form_that_all_read_alike(tmp_path: Path) -> None:
    created = called(tmp_path)
    created.environ = {"PATH": "/bin", "no_proxy": "a 10.0.0.0/8; .b", "https_proxy": "p:1", "HTTPS_PROXY": "p:2"}
    shown = {"no_proxy": "a,10.0.0.0/8,b", "https_proxy": "p:1", "HTTPS_PROXY": "p:1"}
    assert shown.items() <= created.programs().env.items()


@pytest.mark.parametrize("given_by_user", [False, True])
def test_default_log_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_by_user: bool) -> None:
    monkeypatch.setattr("tasks.core.paths.default_folder", lambda path: path.with_name(f"{path.name}-second"))
    environ = {"HOME": str(tmp_path), **({"DEPLOY_LOG_DIR": "/tmp/openframe-deployment-logs"} if given_by_user else {})}
    created = begin(Options(task="config"), given.ROOT, environ)
    assert created.settings.log_dir == f"/tmp/openframe-deployment-logs{'' if given_by_user else '-second'}"


@pytest.mark.parametrize("task", ["status", "up"])
def test_a_foreign_state_folder_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    from tasks.run.engine_queries import EngineQueries

    created = given.session(tmp_path, task=task)
    created.paths.state.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda each, _mode, **_more: Path(each) != created.paths.state)
    with pytest.raises(BadInput, match="openframe-dev cannot be used"):
        EngineQueries(created)
    with pytest.raises(BadInput, match="openframe-dev cannot be used"), created.locked():
        pytest.fail("it went on")
    assert isinstance(created.fake, FakePrograms)
    assert created.fake.calls == []


@pytest.mark.parametrize(
    ("pool", "concurrency", "work", "helm", "builds"),
    [
        ({}, 4, 4, 4, 4),
        ({"helm": 2}, 4, 4, 2, 4),
        ({"helm": 9}, 8, 8, 8, 4),
        ({"builds": 3}, 2, 2, 2, 3),
        ({}, 1, 1, 1, 1),
    ],
)
def test_bounds(tmp_path: Path, pool: dict[str, Any], concurrency: int, work: int, helm: int, builds: int) -> None:
    shape = Shape(image="", agents=0, concurrency=concurrency)
    found = bounds(given.facts(tmp_path, settings=given.settings(pool={"downloads": 5, **pool}), shape=shape))
    kinds = {"download": 5, "pull ahead": 5, "helm": helm, "build": builds, "own steps": work}
    assert (found.work, found.waits, dict(found.kinds)) == (work, 16, kinds)


def test_each_bound_is_told_by_its_setting(tmp_path: Path) -> None:
    kinds = bounds(given.facts(tmp_path)).kinds
    assert not [kind for kind in ("work", "waits", *kinds) if setting_of(kind).startswith("bound for")]


# -- programs that are missing --------------------------------------------------------------------------


def test_without_an_engine_nothing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.host.programs.fetch_plan", lambda _session: pytest.fail("it is fetched"))
    monkeypatch.setattr("tasks.facts.programs.needs", lambda *_: {"helm": Need(fetch=True, why="", version="v4.1.4")})
    down = Answer(code=1, err="Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    with pytest.raises(NoEngine):
        given.session(tmp_path, FakePrograms(answers={"docker info": down})).ensure_programs()
