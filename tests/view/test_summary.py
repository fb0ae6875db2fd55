"""A good run on one screen."""

import re
from dataclasses import replace

import pytest

from tasks.engine.step import Result, State
from tasks.view.console import ASCII, cells
from tasks.view.github import job_summary
from tasks.view.summary import failure, summary, timed
from tests.view.plans import ending, launch, play, ran, step, texts

STEPS = [step("g", until=("b",)), step("a", kind="download"), step("b", "a"), step("c", "a"), step("d", "b", wait=True)]
RESULTS = [
    ran("g", 0, 7),
    ran("a", 0, 2),
    ran("b", 5, 7, "a", ready_s=2.0),
    ran("c", 2, 6, "a"),
    ran("d", 7, 8, "b", ready_s=7.01),
]


def test_the_figures_of_a_run() -> None:
    run = ending(STEPS, RESULTS, 8.0).run
    assert run.floor_s == 6.0
    assert timed(run.path) == [("a", 2.0), ("b", 2.0), ("d", 1.0)]
    assert run.queued_by(run.path) == run.queued_by(run.acted) == {"work": 3.0}
    assert timed(run.busy[:3]) == [("c", 4.0), ("a", 2.0), ("b", 2.0)]
    assert (run.busy_s, run.concurrently) == (9.0, 9 / 8)


def test_the_summary_in_full() -> None:
    assert texts(summary(ending(STEPS, RESULTS, 8.0), width=100, marks=ASCII)) == [
        "+ up took 8.0 s: 5 steps ran",
        "  longest chain 6.0 s, 75% of the total",
        "  critical path a 2.0 s -> b 2.0 s -> d 1.0 s",
        "  took longest  c 4.0 s, a 2.0 s, b 2.0 s",
        "  concurrently  1.1 steps on average (9.0 s in 8.0 s)",
        "  queued        3.0 s by CONCURRENCY_LEVEL",
        "  next          the critical path queued 3.0 s for a place; a larger CONCURRENCY_LEVEL may help",
    ]


def test_of_a_long_critical_path_the_longest_steps_are_named_in_their_order() -> None:
    steps = [step("s0"), *[step(f"s{n}", f"s{n - 1}") for n in range(1, 60)]]
    results = [ran(s.name, n, n + 1.0 - n / 100, *s.needs) for n, s in enumerate(steps)]
    lines = texts(summary(ending(steps, results, 60.0), width=80))
    first = next(n for n, text in enumerate(lines) if text.startswith("  critical path "))
    after = next(n for n, text in enumerate(lines) if text.startswith("  took longest"))
    path = " ".join(text.strip() for text in lines[first:after])
    assert after - first <= 6
    assert path.startswith("critical path s0 1.0 s → s1 1.0 s → s2 1.0 s")
    assert re.search(r" \(\d+ shorter steps left out\)$", path)


def test_a_run_with_nothing_to_do_is_one_line() -> None:
    results = [ran("a", 0, 0, state=State.SKIPPED), ran("b", 0, 0, state=State.SKIPPED)]
    over = ending([step("a"), step("b")], results, 0.4)
    assert texts(summary(over)) == ["✓ up: nothing to do: 2 steps skipped (0.4 s)"]
    assert texts(summary(ending([], [], 0.1))) == ["✓ up: nothing to do: no steps (0.1 s)"]


def test_a_single_step_needs_no_figures() -> None:
    assert texts(summary(ending([step("a")], [ran("a", 0, 2)], 2.0))) == ["✓ up took 2.0 s: 1 step ran"]


def test_what_steps_leave_the_user_to_know_is_said_once_each_whatever_the_end() -> None:
    found = replace(ran("a", 0, 2), notes=("x held spec.replicas", "y failed"))
    over = ending([step("a"), step("b")], [found, replace(ran("b", 0, 1), notes=("y failed",))], 2.0)
    expected = ["  note          x held spec.replicas", "  note          y failed"]
    assert texts(summary(over))[1:3] == expected
    assert texts(failure(replace(over, run=replace(over.run, outcome="interrupted"))))[:2] == expected
    assert [text for text in job_summary(over) if "held" in text] == ["- x held spec.replicas"]


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ([ran("a", 0, 8), ran("b", 0, 1)], "more concurrency cannot help; the longest chain determines the time"),
        ([ran("a", 0, 4), ran("b", 0, 4, attempts=3)], "b needed more than one attempt"),
        ([ran("a", 3, 8, ready_s=0.0), ran("b", 0, 1)], "a larger K3D_CONCURRENT_DOWNLOADS may help"),
        ([ran("a", 0, 4), ran("b", 0, 1)], "look at 'a' first: 4.0 s of the total are spent in it"),
        ([ran("a", 0, 0.4), ran("b", 0, 0.1)], None),
    ],
)
def test_what_to_change_next_is_one_thing_at_most(results: list[Result], text: str | None) -> None:
    wall = 8.0 if text else 0.5
    lines = texts(summary(ending([step("a", kind="download"), step("b")], results, wall)))
    hints = [shown for shown in lines if shown.startswith("  next")]
    assert len(hints) == (text is not None)
    assert text is None or text in hints[0]


@pytest.mark.parametrize("width", [20, 40, 43, 44, 80, 160])
def test_it_fits_any_screen(width: int) -> None:
    steps = launch()
    results = [ran(s.name, i, i + 1.5, *s.needs) for i, s in enumerate(steps)]
    lines = texts(summary(ending(steps, results, 42.0, note="rehearsal: nothing real is made"), width=width))
    assert " ".join(text.strip() for text in lines).startswith("rehearsal: nothing real is made ✓ up took 42.0 s: ")
    assert max(cells(text) for text in lines) <= width
    assert len(lines) <= (24 if width > 20 else 48)
    assert "`" not in "".join(lines)


def test_a_run_of_the_scheduler_can_be_summed_up() -> None:
    steps = launch()
    lines = texts(summary(ending(steps, play(steps), 1.0)))
    assert lines[0] == "✓ up took 1.0 s: 30 steps ran, 10 skipped"


@pytest.mark.parametrize("width", [40, 80, None])
def test_how_to_reach_what_there_is_comes_last_and_commands_stay_whole(width: int | None) -> None:
    command = "kubectl --kubeconfig " + "/long" * 20 + " get pods --all-namespaces"
    reach = (("context", f"k3d-dev: `{command}`"), ("open", "http://localhost"))
    over = replace(ending(STEPS, RESULTS, 8.0), access=reach)
    lines = texts(summary(over, width=width))
    assert lines[-1].split()[-1] == "http://localhost"
    assert any(command in text for text in lines)
