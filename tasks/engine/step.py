"""A step: a name, its needs, an action, and its limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.engine.work import Work

JITTER = 0.05
"""Seconds: a step that waited less for its place did not queue. A thread takes that long to start."""


class State(Enum):
    """How a step ended."""

    RAN = "ran"
    SKIPPED = "skipped"
    FAILED = "failed"
    ABORTED = "aborted"


class Stopped(Exception):
    """Raised by an action when its step is cancelled."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Growing pauses between attempts, in seconds; only transient failures are retried."""

    attempts: int = 1
    first: float = 0.5
    factor: float = 2.0
    cap: float = 8.0
    lasting: frozenset[str] = frozenset()
    """Causes (`LaunchError.cause`) that may take long to pass: tried again for `patience` seconds, however often."""
    patience: float = 0.0
    """Seconds from the first attempt's start."""

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`-th failure, counted from 1."""
        return float(min(self.cap, self.first * self.factor ** (attempt - 1)))


ONCE = Retry()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an action reports when it is done."""

    why: str = ""
    exit_code: int | None = None
    skipped: bool = False
    notes: tuple[str, ...] = ()
    """Notes for the user although the step succeeded: shown at the end of the run, one line each."""
    work: Work | None = None
    """The actual work, where the step could not know it in advance: images, bytes."""


class Cancel:
    """A flag that can be waited for, with callbacks for when it is set."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._event.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait at most that many seconds; returns whether the flag is set."""
        return self._event.wait(seconds)

    def set(self) -> None:
        """Set the flag; callbacks run in the caller's thread, once."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def call(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Register a callback (run at once if the flag is set); the returned function removes it."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


@dataclass(kw_only=True)
class Context:
    """What an action gets: its step's name, its deadline, and a cancellation flag."""

    step: str
    deadline: float
    """Seconds from the attempt's start."""
    cancelled: Cancel = field(default_factory=Cancel)
    say: Callable[[str], None] = lambda _line: None
    """Shows a line of progress."""
    attempt: int = 1
    pending: Callable[[], tuple[str, ...]] = tuple
    """The steps among its step's `awaits` that have not ended."""
    yield_place: Callable[[], None] = lambda: None
    """Gives up this attempt's place: from now on it only waits."""

    def wait(self, seconds: float) -> None:
        """Pause; raises `Stopped` as soon as the step is cancelled."""
        if self.cancelled.wait(seconds):
            raise Stopped(self.step)


Action = Callable[[Context], Report | None]


def _nothing(_ctx: Context) -> Report | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command or one wait.

    `needs` must have succeeded (ran or skipped) before it starts. `wait` marks a step that mostly
    waits: it takes no slot of the pool, only a place in the bound of waits. `kind` names a smaller bound
    that it shares with similar steps. A step with `until` is a guard: it starts like any other, is
    cancelled (and counts as ran) when all steps of `until` have ended, and its failure fails the run.
    A step with `skip` never acts: the text gives the reason. `awaits` are steps whose end its action may check
    (`Context.pending`) and wait for while it runs; they need not succeed. It takes no place meanwhile, since
    those steps may need it.
    """

    name: str
    task: str
    action: Action = _nothing
    needs: tuple[str, ...] = ()
    wait: bool = False
    kind: str | None = None
    deadline: float = 300.0
    """Seconds for one attempt."""
    retry: Retry = ONCE
    why: str = ""
    skip: str | None = None
    until: tuple[str, ...] = ()
    awaits: tuple[str, ...] = ()
    expected: float | None = None
    """Expected seconds if no earlier run is recorded."""
    optional: bool = False
    """It only saves time: its failure is a note, and fails neither the run nor steps that need it."""
    notes: tuple[str, ...] = ()
    """As in `Report`, known before it acts, or the reason why it need not."""
    work: Work | None = None
    """What it does, for the timing model; None: nothing that takes time."""

    @property
    def bound(self) -> str:
        """The bound that it queues for: `work`, `waits`, or its kind of work."""
        return self.kind or ("waits" if self.wait else "work")

    @property
    def placeless(self) -> bool:
        """Whether it takes no place of the pool or the waits: it lasts as long as other steps."""
        return bool(self.until or self.awaits)


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of one step. Seconds count from the start of the run."""

    name: str
    task: str
    needs: tuple[str, ...]
    state: State
    why: str = ""
    ready_s: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    slot: int | None = None
    attempts: int = 0
    exit_code: int | None = None
    error: BaseException | None = None
    notes: tuple[str, ...] = ()
    """As in the step's `Report`."""
    work: Work | None = None
    """As in the step, or in its `Report`."""

    @property
    def seconds(self) -> float:
        """Time between start and end; 0 for a step that never started."""
        if self.start_s is None or self.end_s is None:
            return 0.0
        return max(0.0, self.end_s - self.start_s)

    @property
    def began(self) -> float:
        """When it started; 0 for one that never did."""
        return self.start_s or 0.0

    @property
    def ended(self) -> float:
        """When it ended; 0 for one that never started."""
        return self.end_s or 0.0

    @property
    def acted(self) -> bool:
        """Whether it started, and was not skipped."""
        return self.state is not State.SKIPPED and self.start_s is not None and self.end_s is not None

    @property
    def waits(self) -> bool:
        """Whether it mostly waited, and took no slot of the pool."""
        return self.slot is None

    @property
    def queued_s(self) -> float:
        """Seconds between the last need's end and the start, for lack of a place."""
        if self.start_s is None or self.ready_s is None or self.start_s - self.ready_s < JITTER:
            return 0.0
        return self.start_s - self.ready_s


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How many steps may run concurrently: commands that work, waits, and kinds of work."""

    work: int
    waits: int = 16
    kinds: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name, value in {"work": self.work, "waits": self.waits, **self.kinds}.items():
            if value < 1:
                raise ValueError(f"the bound '{name}' is {value}; it must be at least 1")


class Watcher:
    """Notified of every event of a run; views derive from it."""

    def started(self, step: Step, at: float, slot: int | None, attempt: int) -> None:
        """A step's attempt started."""

    def ended(self, result: Result) -> None:
        """A step has its result."""

    def progress(self, step: str, line: str) -> None:
        """A step reported progress; called from the step's own thread."""

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:
        """An attempt failed and will be retried after `pause` seconds."""

    def tick(self, at: float, waiting: int) -> None:
        """Called at least every `Run.refresh` seconds, from the scheduler's thread."""
