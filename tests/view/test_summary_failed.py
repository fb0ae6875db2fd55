"""A failure is reported once: which step, what, the command, why, what to do, and what it aborted."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.core.errors import BadInput, LaunchError
from tasks.core.redact import conceal
from tasks.engine.step import Context, State
from tasks.process.command import Command
from tasks.process.programs import Programs
from tasks.view.console import ASCII
from tasks.view.summary import failure, refusal
from tests.view.plans import NOT_OURS, ending, failed_command, failing, launch, play, ran, step, texts


def test_the_whole_story_of_one_failure(tmp_path: Path) -> None:
    conceal("s3cr3t-value")
    (tmp_path / "helm--cert-manager.log").touch()
    command = failed_command("helm", "upgrade", "a b", err="starting\ntoken s3cr3t-value\nError: name is in use\n")
    reported = LaunchError(NOT_OURS.what, why=NOT_OURS.why, fix=NOT_OURS.fix)
    reported.__cause__ = command
    steps = launch(failing({"helm: cert-manager": reported}))
    results = play(steps, keep_going=True)
    over = ending(steps, results, 12.0, logs=tmp_path, inspect="kubectl --kubeconfig f get pods", note="rehearsal")
    assert texts(failure(over, width=100)) == [
        "rehearsal",
        "✗ helm: cert-manager failed after 0.0 s",
        "  the release 'cert-manager' is not ours",
        "  $ helm upgrade 'a b'",
        "  │ starting",
        "  │ token ***",
        "  │ Error: name is in use",
        "  why:  helm does not take over what it did not install",
        "  do:   remove it with `helm uninstall cert-manager -n cert-manager`",
        f"  log:  {tmp_path}/helm--cert-manager.log",
        "  not run because of it: helm: cert-manager ready, health: api, health: nodes, health: dns",
        "",
        "up failed after 12.0 s: 35 of 40 steps done; `invoke up` continues from here",
        "What was created stays for inspection. To look at it:",
        "  kubectl --kubeconfig f get pods",
    ]
    down = replace(over, run=replace(over.run, task="down"))
    assert "The rest was not removed. To look at it:" in texts(failure(down, width=100))
    tools = replace(over, run=replace(over.run, task="tools"))
    assert "`make tools` continues from here" in "".join(texts(failure(tools, width=100)))


def test_a_cause_tells_of_the_command_behind_it() -> None:
    cause = LaunchError("node server-0 died", why="unknown flag: --x", fix="drop it from cluster.args.kubelet")
    cause.__cause__ = failed_command("k3d", "x", err="context deadline exceeded")
    result = ran("a", 0, 3, state=State.FAILED, error=cause)
    lines = texts(failure(ending([step("a")], [result]), marks=ASCII))
    assert lines[:6] == [
        "x a failed after 3.0 s",
        "  node server-0 died",
        "  $ k3d x",
        "  | context deadline exceeded",
        "  why:  unknown flag: --x",
        "  do:   drop it from cluster.args.kubelet",
    ]


def test_several_failures_come_in_their_order_and_share_no_victims() -> None:
    steps = [step("b"), step("a"), step("c", "a", "b"), step("d", "b")]
    results = [
        ran("b", 0, 3, state=State.FAILED, error=LaunchError("second")),
        ran("a", 0, 2, state=State.FAILED, error=LaunchError("first")),
        *[ran(s.name, 0, 0, *s.needs, state=State.ABORTED, start_s=None, end_s=None) for s in steps[2:]],
    ]
    lines = texts(failure(ending(steps, results, 3.0)))
    assert lines.index("✗ a failed after 2.0 s") < lines.index("✗ b failed after 3.0 s")
    assert lines.count("  not run because of it: c") == 1
    assert lines.count("  not run because of it: d") == 1
    assert lines[-1] == "up failed after 3.0 s: 0 of 4 steps done"


def test_an_output_of_one_line_is_not_told_twice() -> None:
    result = ran("a", 0, 1, state=State.FAILED, attempts=3, error=failed_command("k3d", "x", err="no\n"))
    lines = texts(failure(ending([step("a")], [result])))
    assert lines[:3] == ["✗ a failed after 1.0 s, at attempt 3", "  k3d ended with code 1: no", "  $ k3d x"]
    assert not any("│" in text for text in lines)


def test_a_fault_of_the_program_shows_its_traceback() -> None:
    steps = [step("a", action=lambda _c: {}["x"])]  # type: ignore[index]
    lines = texts(failure(ending(steps, play(steps))))
    assert any("Traceback" in text for text in lines)
    assert any("KeyError: 'x'" in text for text in lines)
    assert any("please report it" in text for text in lines)


def test_an_expected_error_shows_none() -> None:
    steps = launch(failing({"cluster: api": NOT_OURS}))
    assert not any("Traceback" in text for text in texts(failure(ending(steps, play(steps)))))


def test_an_interrupted_run_says_what_was_stopped_and_goes_on() -> None:
    steps = [step("a"), step("b"), step("c", "b"), step("g", until=("b",))]
    results = [
        ran("a", 0, 1),
        ran("b", 0, 2, state=State.ABORTED),
        ran("c", 0, 0, "b", state=State.ABORTED, start_s=None, end_s=None),
        ran("g", 0, 2, state=State.ABORTED),
    ]
    lines = texts(failure(ending(steps, results, 2.0, interrupted=True)))
    assert lines == [
        "up was interrupted after 2.0 s: 1 of 4 steps done, 1 stopped, 1 not begun; `invoke up` continues from here"
    ]


def test_a_refusal_outside_a_run() -> None:
    error = BadInput("pool.waits: 0 is too small", why="at least 2 are needed", fix="omit it")
    assert texts(refusal(error)) == [
        "✗ pool.waits: 0 is too small",
        "  why:  at least 2 are needed",
        "  do:   omit it",
    ]
    shown = texts(refusal(failed_command("docker", "info", err="a\nb\n")))
    assert shown == ["✗ docker ended with code 1: b", "  $ docker info", "  │ a", "  │ b"]


@pytest.mark.parametrize("width", [40, 80, 160, None])
def test_commands_are_never_wrapped(width: int | None) -> None:
    long = failed_command("helm", *["--set=" + "x" * 30] * 5, err="e")
    lines = texts(failure(ending([step("a")], [ran("a", 0, 1, state=State.FAILED, error=long)]), width=width))
    assert f"  $ {long.done.command.paste()}" in lines


def test_the_log_that_is_named_is_the_one_that_was_written(tmp_path: Path) -> None:
    context = Context(step="helm: a/b c", deadline=30)
    Programs(env={"PATH": os.defpath}, log_dir=tmp_path).run(Command(argv=("true",)), context)
    result = ran(context.step, 0, 1, state=State.FAILED, error=NOT_OURS)
    lines = texts(failure(ending([step(context.step)], [result], logs=tmp_path)))
    assert f"  log:  {next(tmp_path.iterdir())}" in lines


def test_a_command_of_several_lines_stays_pasteable() -> None:
    command = failed_command("sh", "-c", "a\nb", err="e")
    lines = texts(failure(ending([step("a")], [ran("a", 0, 1, state=State.FAILED, error=command)])))
    at = lines.index("  $ sh -c 'a")
    assert lines[at + 1] == "b'"
