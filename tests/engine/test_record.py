"""The record of a run: its form, its figures, where it lies, and how it is read again."""

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.engine import work
from tasks.engine.record import RunRecord, append_benchmark, benchmark_block, write
from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, Context, Report, Result, State, Step
from tests.engine.schema import problems
from tests.runs.records import HOSTILE, PATH, failed, run, skipped
from tests.runs.records import record as recorded
from tests.runs.records import step as recorded_step

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/record.schema.json").read_text())
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SYSTEM = {
    "cpus": 8,
    "memory_gib": 15.5,
    "arch": "x86_64",
    "os": "Linux",
    "docker": "28.0.1",
    "k3d": "5.9.0",
    "kubectl": "1.33.1",
    "helm": None,
    "k3s_image": "rancher/k3s:v1.32.3-k3s1",
}


def a_run(steps: list[Step], results: list[Result], **more: Any) -> RunRecord:
    given: dict[str, Any] = {
        "task": "up",
        "engine": "k3d",
        "started": NOON,
        "wall_s": 71.6,
        "concurrency": 4,
        "settings_hash": "0123456789abcdef",
        "system": SYSTEM,
    }
    return RunRecord.of(steps, results, **(given | more))


def masked(text: str) -> str:
    return text.replace("hunter2", "***")


def created(steps: list[Step], results: list[Result], **more: Any) -> dict[str, Any]:
    return a_run(steps, results, **more).as_json(masked)


def ran(name: str, start: float, end: float, *needs: str, state: State = State.RAN, why: str = "") -> Result:
    return Result(
        name=name, task="t", needs=needs, state=state, why=why, ready_s=start, start_s=start, end_s=end, attempts=1
    )


def step(name: str, *needs: str, **more: Any) -> Step:
    return Step(name=name, task="t", needs=needs, **more)


def test_a_run_of_every_state_makes_a_valid_record() -> None:
    def fails(_c: Context) -> Report | None:
        raise ValueError("hunter2 was refused")

    steps = [step("a"), step("s", skip="is there"), step("f", "a", "s", action=fails), step("n", "f")]
    steps.append(step("g", until=("a",), action=lambda c: c.wait(30)))
    results = Run(steps=steps, bounds=Bounds(work=2)).execute()
    document = created(steps, results)
    assert problems(json.loads(json.dumps(document)), SCHEMA) == []
    assert document["outcome"] == "failed"
    assert [s["state"] for s in document["steps"]] == ["ran", "skipped", "failed", "aborted", "ran"]
    assert document["steps"][2]["why"] == "*** was refused"
    assert document["steps"][3]["start_s"] is None


@pytest.mark.parametrize(
    "done",
    [
        work.PullImage(image="registry:2", node=True, bytes=7),
        work.FetchImages(images=3),
        work.PullAhead(release="web in platform"),
        work.FindImages(release="web"),
        work.StartRegistry(registry="cache"),
        work.CreateCluster(servers=3, agents=2),
        work.WatchNodes(),
        work.AwaitCluster(milestone=work.Milestone.NODES),
        work.ApplyObjects(objects=4),
        work.UpdateRepositories(),
        work.FetchChart(chart="0123"),
        work.InstallRelease(release="web"),
        work.AwaitRelease(release="web"),
        work.RunCommand(program="docker"),
    ],
    ids=lambda done: done.kind,
)
def test_what_a_step_does_is_read_as_it_was_written(done: work.Work) -> None:
    steps = [step("a", work=done)]
    document = json.loads(json.dumps(created(steps, Run(steps=steps, bounds=Bounds(work=1)).execute())))
    assert problems(document, SCHEMA) == []
    assert work.from_json(document["steps"][0]["work"]) == done


def test_an_action_tells_how_much_its_work_was() -> None:
    steps = [
        step("a", action=lambda _c: Report(work=work.FetchImages(images=2, bytes=9)), work=work.FetchImages(images=2))
    ]
    document = created(steps, Run(steps=steps, bounds=Bounds(work=1)).execute())
    assert work.from_json(document["steps"][0]["work"]) == work.FetchImages(images=2, bytes=9)


@pytest.mark.parametrize(
    "value",
    [None, "pull-image", {}, {"kind": "made-later"}, {"kind": "pull-image"}, {"kind": "await-cluster"}],
    ids=json.dumps,
)
def test_work_that_cannot_be_read_is_none(value: object) -> None:
    assert work.from_json(value) is None


@pytest.mark.parametrize(
    "change", [{"outcome": "fine"}, {"wall_s": "1"}, {"steps": [{}]}, {"more": 1}, {"schema": 2}, {"started": "today"}]
)
def test_the_schema_refuses_what_is_no_record(change: dict[str, Any]) -> None:
    assert problems(created([], []) | change, SCHEMA) != []


def test_floor_and_critical_path_leave_guards_out() -> None:
    steps = [step("g", until=("b",)), step("a"), step("b", "a"), step("c", "a")]
    results = [ran("g", 0, 9), ran("a", 0, 1.00049), ran("b", 3, 5, "a"), ran("c", 1, 4.5, "a")]
    document = created(steps, results)
    assert document["floor_s"] == 4.5
    assert document["critical_path"] == ["a", "b"]
    assert document["steps"][1]["end_s"] == 1.0


def test_a_record_is_read_as_it_was_written() -> None:
    steps = [step("g", until=("b",), wait=True), step("a", work=work.ApplyObjects(objects=2)), step("b", "a")]
    results = [
        ran("g", 0, 5.01),
        replace(ran("a", 0, 1), slot=0, work=steps[1].work),
        replace(ran("b", 3, 5, "a"), slot=1),
    ]
    before = a_run(steps, results)
    after = RunRecord.from_json(before.as_json(masked), "x")
    assert after == replace(before, name="x", bounds={})
    assert after.as_json(masked) == before.as_json(masked)


def test_queueing_is_counted_by_bound() -> None:
    steps = [step("a", kind="download"), step("b", wait=True), step("c")]
    results = [ran(name, 3, 4) for name in "abc"]
    queued = a_run(steps, [replace(result, ready_s=1.0) for result in results])
    assert queued.queued_by(queued.acted) == {"download": 2.0, "waits": 2.0, "work": 2.0}
    assert queued.queued_s == 6.0


def test_the_start_is_told_in_utc() -> None:
    local = datetime(2026, 11, 24, 13, 0, tzinfo=timezone(timedelta(hours=1)))
    assert created([], [], started=local)["started"] == "2026-11-24T12:00:00.000Z"


def test_secrets_are_masked_at_every_depth() -> None:
    steps = [step("hunter2")]
    text = json.dumps(created(steps, [ran("hunter2", 0, 1, why="x hunter2 y")], system={"os": "hunter2"}))
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("states", "interrupted", "outcome"),
    [
        ([State.RAN, State.SKIPPED], False, "ok"),
        ([], False, "ok"),
        ([State.RAN, State.FAILED], False, "failed"),
        ([State.ABORTED], False, "failed"),
        ([State.ABORTED], True, "interrupted"),
    ],
)
def test_the_outcome(states: list[State], interrupted: bool, outcome: str) -> None:
    results = [ran(str(i), 0, 1, state=state) for i, state in enumerate(states)]
    assert a_run([], results, interrupted=interrupted).outcome == outcome


def test_records_lie_concurrently_and_only_acting_tasks_are_the_latest(tmp_path: Path) -> None:
    logs, run = tmp_path / "logs", a_run([], [])
    first = write(run, logs, redact=masked, acts=True)
    second = write(replace(run, task="status"), logs, redact=masked, acts=False)
    third = write(run, logs, redact=masked, acts=False)
    assert first == logs / "runs" / "20261124T120000.000Z-up.json"
    assert second.name == "20261124T120000.000Z-status.json"
    assert third.name == "20261124T120000.000Z-up-2.json"
    assert json.loads((logs / "latest.json").read_text()) == run.as_json(masked)
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert write(run, logs, redact=masked, acts=False, name="given").name == "given.json"


def test_the_benchmark_block_is_as_users_know_it(tmp_path: Path) -> None:
    text = benchmark_block(a_run([], []), agents=4)
    assert text.splitlines() == [
        "Cluster setup completed in 1m12s",
        "System information:",
        "  CPU cores: 8",
        "  Memory: 15.5 GB",
        "  Agents: 4",
        "  Concurrency level: 4",
        "  Architecture: x86_64",
        "  OS: Linux",
        "  K3s image: rancher/k3s:v1.32.3-k3s1",
        "---",
    ]
    append_benchmark(tmp_path / "logs", text)
    path = append_benchmark(tmp_path / "logs", text)
    assert path.name == "cluster_setup_benchmark.log"
    assert path.read_text() == text * 2


def test_what_is_unknown_is_said_in_the_benchmark_block() -> None:
    assert "  Memory: unknown\n" in benchmark_block(a_run([], [], system={}, wall_s=0.2), agents=0)


def test_these_tests_use_records_as_the_engine_writes_them() -> None:
    assert problems(recorded(), SCHEMA) == []


def test_queueing_is_apart_from_running() -> None:
    rows = {row.name: row for row in run().results}
    assert rows["helm: two"].queued_s == pytest.approx(1.0)
    assert rows["helm: two"].seconds == pytest.approx(0.8)
    assert run().queued_s == pytest.approx(1.0)
    assert rows["prepull: k3s"].seconds == rows["prepull: k3s"].queued_s == 0.0


def test_the_time_that_a_thread_needs_to_start_is_no_queueing() -> None:
    assert run([recorded_step("a", at=(1.0, 1.049, 2.0))]).queued_s == 0.0
    assert run([recorded_step("a", at=(1.0, 1.051, 2.0))]).queued_s == pytest.approx(0.051)


def test_the_guard_is_told_from_the_steps_that_it_watched() -> None:
    created = run()
    assert created.guards == {"cluster: watch the nodes"}
    assert "cluster: watch the nodes" not in [row.name for row in created.acted]
    assert [row.name for row in created.path] == list(created.critical_path) == PATH
    assert created.busy_s == pytest.approx(8.7 + 3.7 + 0.2 + 1.0 + 0.8 + 4.2)


@pytest.mark.parametrize(
    "change",
    [{"slot": 1}, {"end_s": 10.1}, {"state": "failed"}],
    ids=["it held a slot", "the path outlasted it", "it failed"],
)
def test_what_is_no_guard_counts(change: dict[str, Any]) -> None:
    steps = recorded()["steps"]
    steps[-1] |= change
    assert run(steps, critical_path=PATH).guards == frozenset()


def test_a_step_that_others_need_is_no_guard() -> None:
    steps = [*recorded()["steps"], recorded_step("last", "cluster: watch the nodes", at=(10.3, 10.3, 10.3))]
    assert run(steps, critical_path=PATH).guards == frozenset()


def test_what_failed_and_what_never_began() -> None:
    created = failed()
    assert [row.name for row in created.failed] == ["helm: one"]
    assert [row.name for row in created.unstarted] == ["helm: three"]
    assert [row.name for row in created.acted] == ["cluster: create", "helm: one", "helm: two"]
    assert not created.mostly_ran


@pytest.mark.parametrize(
    ("steps", "mostly"),
    [
        ([recorded_step("a"), skipped("b")], True),
        ([recorded_step("a"), skipped("b"), skipped("c")], False),
        ([skipped("a")], False),
        ([], False),
    ],
)
def test_a_launch_is_what_did_most_of_its_plan(steps: list[dict[str, Any]], mostly: bool) -> None:
    assert run(steps).mostly_ran is mostly


def test_texts_are_one_line_without_control_characters() -> None:
    created = run([recorded_step(HOSTILE, why="a\nb\x1b[2J\u202e")], system={"os": "x\x00y"}, task="up\x07")
    assert "\x1b" not in created.results[0].name
    assert "\u202e" not in created.results[0].name
    assert created.results[0].why == "a b "
    assert created.machine == {"os": "x y"}
    assert created.task == "up "


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {},
        recorded(schema=2),
        recorded(wall_s="1"),
        recorded(wall_s=float("nan")),
        recorded(wall_s=-1),
        recorded(started="yesterday"),
        recorded(steps=[{}]),
        recorded(steps=[recorded_step("a", state="well")]),
        recorded(steps=[recorded_step("a", at=(0.0, float("inf"), 1.0))]),
        {**recorded(), "steps": 7},
        recorded(system=None),
        recorded(concurrency=True),
    ],
    ids=repr,
)
def test_what_is_no_record_is_bad_input(document: Any) -> None:
    with pytest.raises(BadInput) as caught:
        RunRecord.from_json(document, "x.json")
    assert "x.json" in caught.value.what
    assert caught.value.fix


def test_an_axis_is_never_of_no_length() -> None:
    assert run([], wall_s=0).length_s > 0
    assert run([recorded_step("late", at=(0.0, 0.0, 11.0))]).length_s == 11.0
