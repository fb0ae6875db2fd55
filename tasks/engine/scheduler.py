"""Runs a plan: a step starts when its needs are met and a place is free."""

import heapq
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tasks.core.errors import first_line, of_system
from tasks.engine.graph import Places, Ready, check, guessed, remaining
from tasks.engine.step import Bounds, Context, Report, Result, State, Step, Stopped, Watcher


@dataclass
class _Live:
    step: Step
    context: Context
    start: float
    slot: int | None
    stopped_by_end: bool = False
    yielded: bool = False


@dataclass
class _Message:
    name: str
    at: float
    report: Report | None = None
    error: BaseException | None = None
    yields: bool = False
    """The step continues without its place."""


@dataclass
class Run:
    """One run of a plan. `stop_children` ends all programs of the steps, within the given seconds."""

    steps: Sequence[Step]
    bounds: Bounds
    history: Mapping[str, float] = field(default_factory=dict)
    keep_going: bool = False
    watcher: Watcher = field(default_factory=Watcher)
    stop_children: Callable[[float], object] = lambda _seconds: None
    grace: float = 3.0
    refresh: float = 0.1
    clock: Callable[[], float] = time.monotonic
    epoch: float | None = None
    """The clock's reading at the start of the run; now, if not given."""

    def __post_init__(self) -> None:
        check(self.steps)
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._by_name = {s.name: s for s in self.steps}
        self._order = {s.name: i for i, s in enumerate(self.steps)}
        self._guards = [s for s in self.steps if s.until]
        self._unmet = {s.name: set(s.needs) for s in self.steps}
        self._followers: dict[str, list[str]] = {s.name: [] for s in self.steps}
        for step in self.steps:
            for need in step.needs:
                self._followers[need].append(step.name)
        self._ready_at: dict[str, float] = {}
        self._first_start: dict[str, float] = {}
        self._attempts: dict[str, int] = {}
        self._ready = Ready(remaining(self.steps, guessed(self.steps, self.history)), self._order)
        self._delayed: list[tuple[float, int, str]] = []
        self._live: dict[str, _Live] = {}
        self._places = Places(self.bounds)
        self._results: dict[str, Result] = {}
        self._failed = False
        self._interrupted = False

    @property
    def interrupted(self) -> bool:
        """Whether the run was ended from outside."""
        return self._interrupted

    def execute(self) -> list[Result]:
        """Run the plan; results are in its order. Never raises for a step's failure."""
        if self.epoch is None:
            self.epoch = self.clock()
        try:
            for step in self.steps:
                if not step.needs:
                    self._make_ready(step.name)
            while len(self._results) < len(self.steps):
                self._start_what_fits()
                self._take(self._next_timeout())
        except KeyboardInterrupt:
            self._interrupt()
        return [self._results[s.name] for s in self.steps]

    def _now(self) -> float:
        assert self.epoch is not None
        return self.clock() - self.epoch

    def _next_timeout(self) -> float:
        pause = self.refresh
        if self._delayed:
            pause = min(pause, self._delayed[0][0] - self._now())
        return max(0.0, pause)

    def _make_ready(self, name: str) -> None:
        """All needs of a step are met: skip it, or queue it for a place."""
        if name in self._results:
            return
        step = self._by_name[name]
        self._ready_at.setdefault(name, self._now())
        if step.skip is not None:
            now = self._now()
            self._finish(self._result(step, State.SKIPPED, step.skip, start=now, end=now))
            return
        self._ready.add(step)

    def _start_what_fits(self) -> None:
        now = self._now()
        while self._delayed and self._delayed[0][0] <= now:
            self._ready.add(self._by_name[heapq.heappop(self._delayed)[2]])
        while (step := self._ready.pop(self._places.fit)) is not None:
            self._start(step)

    def _start(self, step: Step) -> None:
        slot = self._places.take(step)
        attempt = self._attempts.get(step.name, 0) + 1
        self._attempts[step.name] = attempt
        start = self._now()
        self._first_start.setdefault(step.name, start)
        context = Context(
            step=step.name,
            deadline=step.deadline,
            attempt=attempt,
            say=lambda line, name=step.name: self.watcher.progress(name, line),  # type: ignore[misc]
            pending=lambda: tuple(name for name in step.awaits if name not in self._results),
            yield_place=lambda name=step.name: self._messages.put(_Message(name, self._now(), yields=True)),  # type: ignore[misc]
        )
        self._live[step.name] = _Live(step, context, start, slot)
        self.watcher.started(step, start, slot, attempt)
        threading.Thread(target=self._act, args=(step, context), name=step.name, daemon=True).start()
        if step.until and all(name in self._results for name in step.until):
            self._release_guards()

    def _act(self, step: Step, context: Context) -> None:
        report: Report | None = None
        error: BaseException | None = None
        try:
            report = step.action(context)
        except BaseException as raised:  # noqa: BLE001 - a thread's error is the step's result
            error = of_system(raised) or raised
        self._messages.put(_Message(step.name, self._now(), report, error))

    def _take(self, timeout: float) -> None:
        try:
            message = self._messages.get(timeout=timeout) if timeout > 0 else self._messages.get_nowait()
        except queue.Empty:
            self.watcher.tick(self._now(), len(self._ready))
            return
        self._handle(message)
        self.watcher.tick(self._now(), len(self._ready))

    def _handle(self, message: _Message) -> None:
        if message.yields:
            if (live := self._live.get(message.name)) is not None:
                self._free_slot(live)
                live.slot = None
            return
        live = self._live.pop(message.name)
        step = live.step
        self._free_slot(live)
        error = message.error
        if error is None or (isinstance(error, Stopped) and live.stopped_by_end):
            report = message.report or Report()
            state = State.SKIPPED if report.skipped else State.RAN
            why = report.why or step.why
            done = self._result(step, state, why, end=message.at, slot=live.slot, code=report.exit_code)
            self._finish(replace(done, notes=(*step.notes, *report.notes), work=report.work or step.work))
        elif live.context.cancelled.is_set() and not live.stopped_by_end:
            why = "interrupted" if self._interrupted else "stopped because another step failed"
            self._finish(self._result(step, State.ABORTED, why, end=message.at, slot=live.slot, error=error))
        elif self._may_retry(step, error):
            pause = step.retry.pause(self._attempts[step.name])
            self.watcher.retrying(step, self._attempts[step.name], pause, error)
            heapq.heappush(self._delayed, (self._now() + pause, self._order[step.name], step.name))
        elif step.optional:
            lost = first_line(error)
            left = self._result(step, State.SKIPPED, f"left out: {lost}", end=message.at, slot=live.slot)
            self._finish(replace(left, notes=(*step.notes, f"{step.name}: left out, {lost}")))
        else:
            self._fail(step, live, message.at, error)

    def _free_slot(self, live: _Live) -> None:
        """Release its place, once."""
        if not live.yielded:
            self._places.free_slot(live.step, live.slot)
            live.yielded = True

    def _may_retry(self, step: Step, error: BaseException) -> bool:
        if not getattr(error, "transient", False) or (self._failed and not self.keep_going):
            return False
        if self._attempts[step.name] < step.retry.attempts:
            return True
        lasts = getattr(error, "cause", "") in step.retry.lasting
        return lasts and self._now() - self._first_start[step.name] < step.retry.patience

    def _fail(self, step: Step, live: _Live, at: float, error: BaseException) -> None:
        why = first_line(error)
        code = getattr(error, "exit_code", None)
        self._failed = True
        self._finish(self._result(step, State.FAILED, why, end=at, slot=live.slot, code=code, error=error))
        if not self.keep_going or step.until:
            self._abort_rest("stopped because another step failed")

    def _abort_rest(self, why: str) -> None:
        """Abort everything that has not started; cancel what runs."""
        for step in self.steps:
            if step.name not in self._results and step.name not in self._live:
                self._ready.discard(step.name)
                self._finish(self._result(step, State.ABORTED, why))
        self._delayed.clear()
        for live in self._live.values():
            live.context.cancelled.set()
        if self._live:
            threading.Thread(target=self.stop_children, args=(self.grace,), daemon=True).start()

    def _finish(self, result: Result) -> None:
        if result.name in self._results:
            return
        self._results[result.name] = result
        self.watcher.ended(result)
        good = result.state in (State.RAN, State.SKIPPED)
        for name in self._followers[result.name]:
            if good:
                self._unmet[name].discard(result.name)
                if not self._unmet[name]:
                    self._make_ready(name)
            elif name not in self._results:
                verb = "failed" if result.state is State.FAILED else "did not run"
                self._finish(self._result(self._by_name[name], State.ABORTED, f"needs '{result.name}', which {verb}"))
        self._release_guards()

    def _release_guards(self) -> None:
        for step in self._guards:
            if step.name in self._results or not all(name in self._results for name in step.until):
                continue
            live = self._live.get(step.name)
            if live is not None:
                live.stopped_by_end = True
                live.context.cancelled.set()
            else:
                self._ready.discard(step.name)
                self._finish(self._result(step, State.SKIPPED, "what it guards had already ended"))

    def _result(
        self,
        step: Step,
        state: State,
        why: str,
        *,
        start: float | None = None,
        end: float | None = None,
        slot: int | None = None,
        code: int | None = None,
        error: BaseException | None = None,
    ) -> Result:
        return Result(
            name=step.name,
            task=step.task,
            needs=step.needs,
            state=state,
            why=why,
            ready_s=self._ready_at.get(step.name),
            start_s=self._first_start.get(step.name, start),
            end_s=end,
            slot=slot,
            attempts=self._attempts.get(step.name, 0),
            exit_code=code,
            error=error,
            notes=step.notes,
            work=step.work,
        )

    def _interrupt(self) -> None:
        """Ctrl-C: every child ends within one shared deadline, every step has a result."""
        self._interrupted = True
        end = self.clock() + self.grace + 0.5
        for live in self._live.values():
            live.context.cancelled.set()
        stopper = threading.Thread(target=self.stop_children, args=(self.grace,), daemon=True)
        stopper.start()
        while self._live and self.clock() < end:
            try:
                self._handle(self._messages.get(timeout=max(0.01, end - self.clock())))
            except queue.Empty:
                break
            except KeyboardInterrupt:
                continue  # the children are being ended already
        stopper.join(max(0.0, end - self.clock()))
        now = self._now()
        for step in self.steps:
            if step.name not in self._results:
                result = self._result(step, State.ABORTED, "interrupted")
                if step.name in self._live:
                    result = replace(result, end_s=now, slot=self._live[step.name].slot)
                self._results[step.name] = result
                self.watcher.ended(result)
