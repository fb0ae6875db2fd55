"""What a step is: a name, its needs, an action, and the limits it works under."""

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
"""Seconds: a step that waited less for its place did not queue. That is the time a thread needs to start."""


class State(Enum):
    """How a step ended."""

    RAN = "ran"
    SKIPPED = "skipped"
    FAILED = "failed"
    ABORTED = "aborted"


class Stopped(Exception):
    """Raised by an action that noticed that its step was cancelled."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Growing pauses between attempts, in seconds; only transient failures are tried again."""

    attempts: int = 1
    first: float = 0.5
    factor: float = 2.0
    cap: float = 8.0

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`-th failure, counted from 1."""
        return float(min(self.cap, self.first * self.factor ** (attempt - 1)))


ONCE = Retry()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an action says of itself when it is done."""

    why: str = ""
    exit_code: int | None = None
    skipped: bool = False
    notes: tuple[str, ...] = ()
    """What the user should know although the step ended well: shown at the end of the run, one line each."""
    work: Work | None = None
    """What it turned out to be, where the step could not know it: images, bytes."""


class Cancel:
    """A flag that can be waited for, and that calls back those who must act when it is set."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._event.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait at most that many seconds; says whether the flag is set."""
        return self._event.wait(seconds)

    def set(self) -> None:
        """Ask for the end; callbacks run in the caller's thread, once."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def call(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when set (at once, if it is); the returned function takes that back."""
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
    """What an action is given: its step's name, its deadline, and a flag that asks it to end."""

    step: str
    deadline: float
    """Seconds from the attempt's start."""
    cancelled: Cancel = field(default_factory=Cancel)
    say: Callable[[str], None] = lambda _line: None
    """Shows a line of progress."""
    attempt: int = 1
    pending: Callable[[], tuple[str, ...]] = tuple
    """Which of the steps that its step awaits have not ended."""
    yield_place: Callable[[], None] = lambda: None
    """From now on this attempt only waits: its place goes to another step."""

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

    `needs` must have ended well (ran or skipped) before it starts. `wait` marks a step that mostly
    waits: it holds no slot of the pool, only one of the bound of waits. `kind` names a smaller bound
    that it shares with its like. A step with `until` is a guard: it starts like any other, is
    cancelled (and counts as ran) when all steps of `until` have ended, and its failure is the run's.
    A step with `skip` never acts: the text says why. `awaits` are steps whose end its action may ask for
    (`Context.pending`) and wait for while it acts itself; they need not end well. It holds no place meanwhile, since
    those steps may want it.
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
    """Seconds that it is expected to take where no earlier run is recorded."""
    optional: bool = False
    """It only saves time: its failure is a note, and neither the run's nor that of a step that needs it."""
    notes: tuple[str, ...] = ()
    """As in `Report`, known before it acts, or why it need not."""
    work: Work | None = None
    """What it does, for whoever reckons with it; None: nothing that takes time of its own."""

    @property
    def bound(self) -> str:
        """The bound that it waits for when it queues: `work`, `waits`, or its kind of work."""
        return self.kind or ("waits" if self.wait else "work")

    @property
    def placeless(self) -> bool:
        """Whether it takes no place of the pool, nor of the waits: it lasts as long as other steps."""
        return bool(self.until or self.awaits)


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one step went. Seconds count from the start of the run."""

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
        """Whether it mostly waited, and held no slot of the pool."""
        return self.slot is None

    @property
    def queued_s(self) -> float:
        """Between the last need's end and the start, for want of a place."""
        if self.start_s is None or self.ready_s is None or self.start_s - self.ready_s < JITTER:
            return 0.0
        return self.start_s - self.ready_s


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How many steps may act at once: commands that work, waits, and kinds of work."""

    work: int
    waits: int = 16
    kinds: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name, value in {"work": self.work, "waits": self.waits, **self.kinds}.items():
            if value < 1:
                raise ValueError(f"the bound '{name}' is {value}; at least 1 is needed")


class Watcher:
    """Notified of everything that happens in a run; views derive from it."""

    def started(self, step: Step, at: float, slot: int | None, attempt: int) -> None:
        """A step's attempt began."""

    def ended(self, result: Result) -> None:
        """A step has its result."""

    def said(self, step: str, line: str) -> None:
        """A step reported progress; called from the step's own thread."""

    def retrying(self, step: Step, attempt: int, pause: float, error: BaseException) -> None:
        """An attempt failed and will be made again after `pause` seconds."""

    def tick(self, at: float, waiting: int) -> None:
        """Called at least every `Run.refresh` seconds, from the scheduler's thread."""
