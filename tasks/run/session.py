"""One call of a task: its settings, its tools and folders, and the run of its plan."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tasks.clients.docker import DEFAULT_PLATFORM
from tasks.core.digest import sha256
from tasks.core.errors import Interrupted, LaunchError, attempt
from tasks.core.paths import ClusterPaths, cache_folder, state_folder
from tasks.engine.step import Bounds, Result, Step
from tasks.facts.backend import Network, Reach
from tasks.process.children import MARK, mark
from tasks.process.command import Programs
from tasks.run.task import Options, refuse

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.facts.gather import Questions
    from tasks.facts.owner import Owner
    from tasks.rehearsal.engine import Rehearsal
    from tasks.settings.resolve import Resolved

_READING = ("plan", "status", "doctor")
"""Tasks whose screens are no run's."""
_TICK = 0.05
"""Seconds by which a file's time may be behind the clock."""


class Ended(Exception):
    """A run did not end well: it has been told already, only the exit code is left."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(kw_only=True)
class Session:
    """What tasks share. `now` and `started` are the call's begin, before any fact was asked for."""

    options: Options
    root: Path
    environ: Mapping[str, str] = field(repr=False)
    resolved: Resolved
    started: datetime
    now: float
    log_dir: Path | None = None
    system: dict[str, Any] = field(default_factory=dict)
    """Facts of the machine for the record, added as they become known."""
    rehearsal: Rehearsal | None = None
    """With the engine `rehearsal`: its stand-ins, and how long they take."""
    clear_pending: bool = False
    """Whether releases are cleared that somebody's Helm has left pending, or is at work on."""
    questions: Questions | None = None
    """What the engine was asked already; the first survey takes it."""
    noted: bool = False
    """The screen says already that nothing real is made."""

    @property
    def settings(self) -> Any:  # noqa: ANN401 - `Settings`; pydantic is loaded with it, not with this module
        """The settings in force."""
        return self.resolved.settings

    @property
    def name(self) -> str:
        """The cluster's name, or the context's with the engine `existing`."""
        if self.options.engine == "existing":
            return str(self.options.context)
        return str(self.settings.cluster.name)

    @property
    def paths(self) -> ClusterPaths:
        """Private paths of this cluster, below the user's state and cache folders."""
        return ClusterPaths(state=self.state / "clusters" / self._stem, cache=cache_folder(self.environ))

    def check_folders(self) -> None:
        """Raises `BadInput` where the state or the cache folder, or what is in them of this cluster, cannot be used."""
        from tasks.core.paths import check_own

        folders = self.paths
        for path in (folders.state, folders.kubeconfig, folders.complete, folders.k3d_config, folders.images):
            check_own(path, "XDG_STATE_HOME")
        check_own(folders.cache, "XDG_CACHE_HOME")

    @property
    def state(self) -> Path:
        """The user's state folder of this project."""
        return state_folder(self.environ)

    @cached_property
    def owner(self) -> Owner:
        """Whose clusters this call makes."""
        from tasks.facts.owner import owner

        return owner(self.environ, self.state, self.settings.cluster.owner)

    @property
    def _stem(self) -> str:
        if self.options.engine != "existing":
            return self.name
        return "context-" + sha256(self.name, 16)

    @property
    def note(self) -> str:
        """What every screen says; empty where real things are made."""
        return self.rehearsal.note if self.rehearsal is not None else ""

    def reach(self) -> Reach:
        """How the cluster's API and registries are reached."""
        return self.rehearsal.reach() if self.rehearsal is not None else Network()

    @property
    def lock(self) -> Path:
        """The lock of this cluster."""
        return self.state / "clusters" / f"{self._stem}.lock"

    def programs(self) -> Programs:
        """Programs with this process's environment and its mark; steps' outputs go to this run's own folder."""
        folder = self.rehearsal.place.bin if self.rehearsal is not None else self.root / ".tools" / "bin"
        env = {**self.environ, **_proxies(self.environ), MARK: mark(self.lock)}
        env.pop(DEFAULT_PLATFORM, None)
        return Programs(folder=folder, env=env, log_dir=self.log_dir)

    def ask_ahead(self) -> None:
        """Begin to ask what a survey will want to know, while Python still reads the modules of the task itself.

        For tasks that need it whatever their other options are: who is refused has asked nothing.
        """
        if self.options.engine == "k3d":
            from tasks.facts.gather import Questions

            self.questions = Questions(self)

    def asked_before(self, moment: float) -> bool:
        """Whether the engine was asked before this moment (seconds of the epoch): its answers may be of before, too."""
        return self.questions is not None and self.questions.begun <= moment + _TICK

    def drop_questions(self) -> None:
        """Forget what the engine was asked: a survey asks anew."""
        if self.questions is not None:
            self.questions.drop()
        self.questions = None

    def tell_notes(self, notes: Sequence[str]) -> None:
        """What went wrong without being the run's failure, one line each."""
        from tasks.view.console import err

        if not self.settings.silent:
            err(f"note: {each}" for each in notes)

    def open_logs(self) -> None:
        """Make the folder of this run's logs. Raises `BadInput` where the log folder cannot be ours."""
        from tasks.core.paths import log_folder, run_folder

        folder = log_folder(Path(self.settings.log_dir))
        self.log_dir = run_folder(folder, self.options.task, self.started)

    def run(
        self,
        steps: Sequence[Step],
        bounds: Bounds,
        *,
        facts: Facts | None = None,
        acts: bool = True,
        launch: bool = False,
        earlier: tuple[Sequence[Step], Sequence[Result]] = ((), ()),
        last: bool = True,
    ) -> list[Result]:
        """Run a plan, show it, keep its record. Raises `Ended` if it did not end well.

        `earlier`: steps of this call that ran before, in a plan of their own: needs of them are met. `last`: no
        other plan follows.
        """
        from tasks.engine.history import history_file, load, remember
        from tasks.engine.scheduler import Run
        from tasks.process.children import CHILDREN
        from tasks.run.finish import End, conclude
        from tasks.view.console import marks
        from tasks.view.launch import Launch, choose
        from tasks.view.steady import Steady

        past = history_file(self.environ)
        history = load(past, self.options.engine)
        plan = _without(steps, {step.name for step in earlier[0]})
        if self.rehearsal is not None and facts is not None:
            history |= self.rehearsal.stage(plan, facts, bounds)
        shown = Launch(
            task=self.options.task,
            steps=plan,
            history=history,
            bounds=bounds,
            marks=marks(sys.stdout.encoding),
            note=self.note,
        )
        view = Steady(choose(shown, self.environ, stdout_isatty=sys.stdout.isatty(), silent=self.settings.silent))
        run = Run(
            plan,
            bounds,
            history,
            keep_going=self.options.keep_going,
            watcher=view,
            stop_children=CHILDREN.stop,
            epoch=self.now,
        )
        with view, contextlib.ExitStack() as after:
            if facts is not None:
                after.callback(facts.close)
            results = [replace(result, needs=step.needs) for result, step in zip(run.execute(), steps, strict=True)]
        self.tell_notes(
            attempt("how long steps take is not remembered", lambda: remember(past, self.options.engine, results))
        )
        all_steps, all_results = [*earlier[0], *steps], [*earlier[1], *results]
        good = not run.interrupted and all(r.state.value in ("ran", "skipped") for r in results)
        if last or not good:
            run_ended = End(
                steps=all_steps, results=all_results, concurrency=bounds.work, interrupted=run.interrupted, acts=acts
            )
            status = conclude(self, view, run_ended, facts=facts, launch=launch)
            if status:
                raise Ended(status)
        return results


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Proxy variables in the form that all programs read alike; most environments have none."""
    if not any(name.lower().endswith("_proxy") for name in environ):
        return {}
    from tasks.core.proxies import for_programs  # 6 ms

    return for_programs(environ)


def begin(options: Options, root: Path, environ: Mapping[str, str]) -> Session:
    """Read the settings. Raises `BadInput`."""
    from tasks.core.paths import default_folder
    from tasks.settings.resolve import resolve

    now, started = time.monotonic(), datetime.now(UTC)
    refuse(options)
    resolved = resolve(root, environ, options.profile, options.sets)
    if not resolved.above_default("log_dir"):
        resolved = resolved.with_log_dir(str(default_folder(Path(resolved.settings.log_dir))))
    session = Session(options=options, root=root, environ=environ, resolved=resolved, started=started, now=now)
    if options.engine == "rehearsal":
        from tasks.rehearsal.engine import enter

        return enter(session)
    return session


def guarded(options: Options, root: Path, body: Callable[[Session], int | None]) -> int:
    """Run a task's body; expected errors become a message and an exit code here, and nowhere else."""
    from tasks.process import children
    from tasks.process.children import CHILDREN
    from tasks.run.finish import tell
    from tasks.view.console import err as told

    CHILDREN.open()  # an earlier task of this process has closed it
    children.close()
    session: Session | None = None
    try:
        with _ended_as_by_ctrl_c():
            session = begin(options, root, dict(os.environ))
            gc.freeze()  # what has been read until now stays: no look for rings goes through it again
            gc.enable()
            if session.note and options.task in _READING:
                told([session.note])
                session.noted = True
            try:
                return body(session) or 0
            finally:
                session.drop_questions()
    except Ended as ended:
        return ended.status
    except LaunchError as error:
        if options.engine == "rehearsal" and not (session is not None and session.noted):
            from tasks.rehearsal.place import NOTE

            told([NOTE])
        tell(error)
        return error.status
    except KeyboardInterrupt:
        CHILDREN.close(3.0)
        interrupted = Interrupted("interrupted", why="it was told to end while no step was at work", fix="run it again")
        tell(interrupted)
        return interrupted.status
    finally:
        CHILDREN.close(1.0)


@contextlib.contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """TERM (`kill`, a CI job that is cancelled) and HUP (a terminal that is closed) end a run as Ctrl-C does.

    Programs lead their own process groups, so nobody else would end them. Who asked for HUP to be ignored (nohup)
    gets that.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            continue
        with contextlib.suppress(ValueError):  # only the main thread may
            before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _without(steps: Sequence[Step], met: Collection[str]) -> Sequence[Step]:
    """The same steps, less the needs that are met."""
    if not met:
        return steps
    return [replace(step, needs=tuple(need for need in step.needs if need not in met)) for step in steps]
