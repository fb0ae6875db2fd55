"""The end of a run is shown even where its record cannot be written; how the cluster is reached."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

from tasks.core.errors import LaunchError
from tasks.engine import record
from tasks.engine.step import Bounds, Step
from tasks.facts.cluster import Presence
from tasks.facts.facts import Ports
from tasks.run.finish import Access, access
from tasks.run.task import Options
from tests import given

UP = Options(task="up")


def good() -> list[Step]:
    return [Step(name="a", task="task")]


def bad() -> list[Step]:
    def act(_context: object) -> None:
        raise LaunchError("it broke", fix="mend it")

    return [Step(name="a", task="task", action=act)]


def full(*_: Any, **__: Any) -> Path:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_hides_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "write", full)
    with pytest.raises(Exit) as caught:
        given.session(tmp_path).run(bad(), Bounds(work=1))
    assert caught.value.code == 1
    shown = capsys.readouterr().err
    assert shown.index("it broke") < shown.index("the record of this run could not be written")
    assert "No space left on device" in shown


def test_good_runs_stay_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(record, "append_benchmark", full)
    session = given.session(tmp_path)
    assert session.run(good(), Bounds(work=1), facts=given.facts(tmp_path), launch=True)
    assert "could not be written" in capsys.readouterr().err
    assert (Path(session.settings.log_dir) / "latest.json").exists()


def test_a_log_folder_that_others_own_is_named_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = given.session(tmp_path)
    Path(session.settings.log_dir).write_text("a file stands there")
    with pytest.raises(Exit):
        session.run(bad(), Bounds(work=1))
    shown = capsys.readouterr().err
    assert shown.index("it broke") < shown.index("cannot be created")


def lost(*_: Any, **__: Any) -> Any:
    raise RuntimeError("this is broken")


@pytest.mark.parametrize(
    ("place", "name", "note"),
    [
        ("tasks.engine.estimate", "remember", "note: durations of steps were not recorded: this is broken"),
        ("tasks.engine.record", "write", "could not be written below"),
        ("tasks.view.launch.Plain", "ended", "note: the run was not shown to its end: this is broken"),
        ("tasks.view.launch.Plain", "__enter__", "note: the run was not shown to its end: this is broken"),
        ("tasks.view.launch.View", "tick", "note: the run was not shown to its end: this is broken"),
    ],
)
def test_what_tells_of_a_run_cannot_fail_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    name: str,
    note: str,
) -> None:
    monkeypatch.setattr(f"{place}.{name}", lost)
    (result,) = given.session(tmp_path).run(good(), Bounds(work=1))
    assert result.state.value == "ran"
    shown = capsys.readouterr()
    assert [note in each for each in shown.err.splitlines()] == [True]
    assert "task took" in shown.out or "up took" in shown.out


@pytest.mark.parametrize(("steps", "launch", "blocks"), [(good, True, 1), (good, False, 0), (bad, True, 0)])
def test_only_a_launch_that_went_well_is_in_the_benchmark_log(
    tmp_path: Path, steps: Any, launch: bool, blocks: int
) -> None:
    session = given.session(tmp_path)
    try:
        session.run(steps(), Bounds(work=3), facts=given.facts(tmp_path), launch=launch)
    except Exit:
        assert steps is bad
    file = Path(session.settings.log_dir) / "cluster_setup_benchmark.log"
    text = file.read_text() if file.exists() else ""
    assert text.count("Cluster setup completed in 0m0s\nSystem information:\n") == blocks
    assert text.count("Concurrency level: 3") == blocks


@pytest.mark.parametrize(("there", "shown"), [(True, True), (False, False)])
def test_how_to_inspect_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool, shown: bool) -> None:
    facts = given.facts(tmp_path / "with blank", presence=Presence.RUNNING)
    facts.paths.state.mkdir(parents=True)
    if there:
        facts.paths.kubeconfig.touch()
    with pytest.raises(Exit):
        given.session(tmp_path).run(bad(), Bounds(work=1), facts=facts)
    line = f"kubectl --kubeconfig '{facts.paths.kubeconfig}' get pods --all-namespaces"
    assert (line in capsys.readouterr().err) is shown


def found(folder: Path, options: Options = UP, steps: tuple[Step, ...] = (), **cluster: Any) -> Access:
    settings = given.settings(cluster=cluster)
    facts = given.facts(folder, settings=settings, ports=Ports(http=80, https=8443, api=6550))
    facts.outputs.registry_ports["k3d-openframe-registry"] = 5051
    return access(facts, steps, options, exists=True, as_configured=True)


@pytest.mark.parametrize(
    ("cluster", "addresses"),
    [
        ({}, ("http://localhost", "https://localhost:8443")),
        ({"bind_address": "0.0.0.0"}, ("http://localhost", "https://localhost:8443")),
        ({"bind_address": "192.0.2.7"}, ("http://192.0.2.7", "https://192.0.2.7:8443")),
        ({"bind_address": "192.0.2.7", "domain": "dev.test"}, ("http://dev.test", "https://dev.test:8443")),
        (
            {"ports": {"extra": ["30000-30001:30000-30001@server:0:direct"]}},
            ("http://localhost", "https://localhost:8443", "localhost:30000", "localhost:30001"),
        ),
    ],
)
def test_addresses_are_those_for_browsers(tmp_path: Path, cluster: dict[str, Any], addresses: tuple[str, ...]) -> None:
    assert found(tmp_path, **cluster).addresses == addresses


def test_kubectl_is_told_by_the_private_kubeconfig_where_the_users_has_no_entry(tmp_path: Path) -> None:
    created = found(tmp_path)
    assert created.context == "k3d-openframe-dev"
    assert created.kubectl.startswith("kubectl --kubeconfig /")
    assert created.push == "localhost:5051"


def test_what_was_left_out_is_told_and_what_to_do_then(tmp_path: Path) -> None:
    steps = (Step(name="secrets: leave out pat", task="secrets", skip="TOKEN is not set"), Step(name="b", task="helm"))
    created = found(tmp_path, replace(UP, profile="ci", sets=("a=b c", "x.token=T")), steps)
    assert created.left_out == ("secret pat: TOKEN is not set",)
    again = "invoke secrets --profile ci --set 'a=b c' --set 'x.token=***'"
    assert created.next == f"{again}, when the secrets that were left out have values"


def test_what_is_not_there_cannot_be_reached(tmp_path: Path) -> None:
    facts = given.facts(tmp_path)
    assert access(facts, (), UP, exists=False, as_configured=False).rows() == (("go on with", "`invoke up`"),)
    drifted = access(facts, (), UP, exists=True, as_configured=False)
    assert drifted.next == "invoke plan --diff"
