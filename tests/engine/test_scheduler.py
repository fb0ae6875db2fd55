"""The scheduler on fakes: order, cascade, bounds, retries, guards, interrupt."""

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tasks.core.errors import LaunchError
from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, Context, Report, Result, Retry, State, Step, Stopped, Watcher


def step(name: str, *needs: str, action: Callable[[Context], Report | None] | None = None, **more: object) -> Step:
    return Step(name=name, task="t", needs=needs, action=action or (lambda _c: None), **more)  # type: ignore[arg-type]


def run(*steps: Step, work: int = 4, **more: object) -> dict[str, Result]:
    bounds = more.pop("bounds", None) or Bounds(work=work)
    results = Run(steps=steps, bounds=bounds, **more).execute()  # type: ignore[arg-type]
    return {r.name: r for r in results}


def fails(_c: Context) -> Report | None:
    raise LaunchError("no", exit_code=7)


class Peak:
    """Counts how many actions are under way at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0

    def __call__(self, _c: Context) -> Report | None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        with self.lock:
            self.now -= 1
        return None


@pytest.mark.parametrize("kind", [None, "helm"])
def test_a_step_that_only_waits_from_now_on_gives_its_place_away(kind: str | None) -> None:
    there = threading.Event()

    def waits(context: Context) -> Report | None:
        context.yield_place()
        context.yield_place()
        assert there.wait(10)
        return None

    opens = lambda _c: there.set()  # noqa: E731
    peak = Peak()
    later = [step(f"later {i}", "b", action=peak, kind=kind) for i in range(4)]
    bounds = Bounds(work=1, kinds={"helm": 1})
    found = run(step("a", action=waits, kind=kind), step("b", action=opens, kind=kind), *later, bounds=bounds)
    assert {each.state for each in found.values()} == {State.RAN}
    assert (found["a"].slot, found["b"].slot, peak.most) == (None, 0, 1)


def test_needs_are_met_before_a_step_starts() -> None:
    seen: list[str] = []
    note = lambda c: seen.append(c.step)  # noqa: E731
    run(step("c", "b", action=note), step("a", action=note), step("b", "a", action=note))
    assert seen == ["a", "b", "c"]


def test_what_an_action_leaves_the_user_to_know_is_in_its_result() -> None:
    assert run(step("a", action=lambda _c: Report(notes=("n",))))["a"].notes == ("n",)


def test_what_only_saves_time_may_fail() -> None:
    tried = []

    def again(context: Context) -> Report | None:
        tried.append(context.attempt)
        raise LaunchError("no line", transient=True)

    retry = Retry(attempts=2, first=0.0)
    found = run(
        step("find", action=again, optional=True, retry=retry, notes=("n",)),
        step("fetch", "find"),
        step("ahead", action=fails, optional=True, until=("fetch",)),
    )
    assert (found["find"].state, found["find"].why, tried) == (State.SKIPPED, "left out: no line", [1, 2])
    assert found["find"].notes == ("n", "find: left out, no line")
    assert found["fetch"].state is State.RAN
    assert found["ahead"].why == "left out: no"


def test_a_step_that_need_not_act_leaves_its_notes_too() -> None:
    assert run(step("a", skip="it is there", notes=("n",)))["a"].notes == ("n",)


def test_results_come_in_the_plans_order() -> None:
    results = Run(steps=(step("b", "a"), step("a")), bounds=Bounds(work=1)).execute()
    assert [r.name for r in results] == ["b", "a"]


def test_work_is_bounded_and_waits_hold_no_slot() -> None:
    work, waits = Peak(), Peak()
    steps = [step(f"w{i}", action=work) for i in range(6)]
    steps += [step(f"p{i}", action=waits, wait=True) for i in range(6)]
    results = run(*steps, bounds=Bounds(work=2, waits=4))
    assert work.most == 2
    assert waits.most == 4
    assert {results["w0"].slot, results["w1"].slot} == {0, 1}
    assert results["p0"].slot is None


def test_a_kind_of_work_has_a_bound_of_its_own() -> None:
    pulls = Peak()
    run(*[step(f"p{i}", action=pulls, kind="download") for i in range(5)], bounds=Bounds(work=5, kinds={"download": 2}))
    assert pulls.most == 2


def test_the_longest_remaining_path_goes_first() -> None:
    seen: list[str] = []
    note = lambda c: seen.append(c.step)  # noqa: E731
    steps = [step("short", action=note), step("long", action=note), step("after", "long", action=note)]
    run(*steps, work=1, history={"short": 1, "long": 1, "after": 5})
    assert seen[0] == "long"


def test_a_failure_ends_what_depends_on_it_and_the_rest() -> None:
    results = run(step("a", action=fails), step("b", "a"), step("c", "b"), work=1)
    assert results["a"].state is State.FAILED
    assert results["a"].exit_code == 7
    assert results["b"].state is State.ABORTED
    assert "'a'" in results["b"].why
    assert results["c"].state is State.ABORTED


def test_keep_going_lets_the_rest_finish() -> None:
    steps = (step("a", action=fails), step("b", "a"), step("c"), step("d", "c"))
    results = run(*steps, work=1, keep_going=True)
    assert results["b"].state is State.ABORTED
    assert results["d"].state is State.RAN


def test_a_failure_cancels_what_runs() -> None:
    def waits(context: Context) -> Report | None:
        context.wait(30)
        return None

    began = time.monotonic()
    results = run(step("slow", action=waits, wait=True), step("bad", action=fails))
    assert results["slow"].state is State.ABORTED
    assert time.monotonic() - began < 5


def test_only_transient_failures_are_tried_again() -> None:
    tries: list[str] = []

    def passing(context: Context) -> Report | None:
        tries.append(context.step)
        if context.attempt < 3:
            raise LaunchError("busy", transient=True)
        return None

    def final(context: Context) -> Report | None:
        tries.append(context.step)
        raise LaunchError("denied")

    again = Retry(attempts=5, first=0.01)
    results = run(step("a", action=passing, retry=again), step("b", "a", action=final, retry=again))
    assert tries == ["a", "a", "a", "b"]
    assert results["a"].attempts == 3
    assert results["a"].state is State.RAN
    assert results["b"].attempts == 1


def test_a_cause_that_may_take_long_is_tried_again_for_its_time() -> None:
    def fails_of(context: Context) -> Report | None:
        raise LaunchError("no", transient=True, cause="webhook" if context.step == "a" else "other")

    lasting = Retry(attempts=2, first=0.01, cap=0.01, lasting=frozenset({"webhook"}), patience=0.2)
    results = run(step("a", action=fails_of, retry=lasting), step("b", action=fails_of, retry=lasting), keep_going=True)
    assert results["a"].attempts > 3
    assert results["a"].ended < 5
    assert results["b"].attempts == 2


def test_a_pause_between_attempts_holds_no_slot() -> None:
    order: list[str] = []

    def once(context: Context) -> Report | None:
        order.append(f"{context.step}{context.attempt}")
        if context.step == "a" and context.attempt == 1:
            raise LaunchError("busy", transient=True)
        return None

    run(step("a", action=once, retry=Retry(attempts=2, first=0.05)), step("b", action=once), work=1)
    assert order == ["a1", "b1", "a2"]


def test_a_skipped_step_meets_needs_and_says_why() -> None:
    results = run(step("a", skip="is there"), step("b", "a"))
    assert results["a"].state is State.SKIPPED
    assert results["a"].why == "is there"
    assert results["b"].state is State.RAN


def test_a_guard_ends_with_what_it_guards() -> None:
    def guard(context: Context) -> Report | None:
        context.cancelled.wait(30)
        raise Stopped

    results = run(step("g", action=guard, until=("a",)), step("a", action=Peak()))
    assert results["g"].state is State.RAN


def test_a_guards_failure_ends_the_run() -> None:
    def waits(context: Context) -> Report | None:
        context.wait(30)
        return None

    results = run(step("g", action=fails, until=("a",)), step("a", action=waits, wait=True), keep_going=True)
    assert results["g"].state is State.FAILED
    assert results["a"].state is State.ABORTED


def test_seconds_are_told_from_the_runs_start() -> None:
    results = run(step("a", action=Peak()), step("b", "a", action=Peak()))
    a, b = results["a"], results["b"]
    assert a.ready_s is not None
    assert b.ready_s is not None
    assert a.end_s is not None
    assert b.start_s is not None
    assert a.ready_s < 0.02 <= a.end_s <= b.ready_s <= b.start_s


def test_ctrl_c_ends_children_and_every_step_has_a_result() -> None:
    stopped: list[float] = []

    def waits(context: Context) -> Report | None:
        context.wait(30)
        return None

    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    runner = Run(
        steps=(step("a", action=waits, wait=True), step("b", "a")), bounds=Bounds(work=1), stop_children=stopped.append
    )
    results = runner.execute()
    assert runner.interrupted
    assert [r.state for r in results] == [State.ABORTED, State.ABORTED]
    assert stopped == [runner.grace]
    assert time.monotonic() - began < 5


def test_the_watcher_hears_of_every_end_once() -> None:
    class Ears(Watcher):
        def __init__(self) -> None:
            self.ends: list[str] = []

        def ended(self, result: Result) -> None:
            self.ends.append(result.name)

    ears = Ears()
    run(step("a", action=fails), step("b", "a"), step("c", skip="x"), watcher=ears)
    assert sorted(ears.ends) == ["a", "b", "c"]


@pytest.mark.parametrize("bounds", [{"work": 0}, {"work": 1, "waits": 0}, {"work": 1, "kinds": {"helm": 0}}])
def test_a_bound_below_one_is_refused(bounds: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Bounds(**bounds)  # type: ignore[arg-type]


@pytest.mark.parametrize(("ends", "state"), [(lambda _c: None, State.RAN), (fails, State.FAILED)])
def test_an_action_that_awaits_others_holds_no_place(ends: Callable[[Context], Report | None], state: State) -> None:
    seen: list[tuple[str, ...]] = []

    def awaits(context: Context) -> Report | None:
        seen.append(context.pending())
        while context.pending():
            context.wait(0.001)
        return None

    own = step("own", action=awaits, wait=True, awaits=("a", "b"))
    steps = (own, step("a"), step("b", "a", action=ends, wait=True))
    results = run(*steps, bounds=Bounds(work=1, waits=1), keep_going=True)
    assert seen[0][-1] == "b"
    assert (results["own"].state, results["b"].state) == (State.RAN, state)
