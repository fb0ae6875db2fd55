"""The decorator of tasks: common options, one session for each call, errors turned into exit codes."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task
from invoke.tasks import task as invoke_task

from tasks.core.errors import BadInput, Interrupted, LaunchError, of_system
from tasks.settings.derived import NEEDS_CLUSTER, PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

    from tasks.engine.step import Step
    from tasks.facts.facts import Facts
    from tasks.run.session import Session

ROOT = Path(__file__).resolve().parents[2]
"""The project's folder, with configuration, files and downloaded programs."""
ENGINES = ("k3d", "existing", "rehearsal")
REHEARSAL_NOTE = "REHEARSAL: simulated docker, k3d, kubectl and helm; nothing real is created"
"""Shown in every view of a rehearsal."""
_OWN_CLUSTERS_ONLY = ("prepull", "registry", "build", "cluster", "rehearse")
"""Tasks about what a cluster is made from."""
_READ_ONLY = ("plan", "status", "doctor")
"""Tasks that run no plan, so that no view of a run shows the session's note."""
_COMMON: Mapping[str, tuple[Any, str]] = {
    "profile": (None, "profile under config/, or a path (default: OPENFRAME_PROFILE, then invoke.yaml)"),
    "set": ([], "set any setting: --set path=value; can be repeated"),
    "engine": ("k3d", "k3d; existing: an existing cluster, with --context; rehearsal: nothing real is created"),
    "context": (None, "with --engine existing: the context's name in your kubeconfig"),
    "keep_going": (False, "after a failure, continue with independent steps"),
    "wait_lock": (False, "wait while another run is working on this cluster"),
}
Body = Callable[..., int | None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Values of the common options."""

    task: str
    profile: str | None = None
    sets: tuple[str, ...] = ()
    engine: str = "k3d"
    context: str | None = None
    keep_going: bool = False
    wait_lock: bool = False

    @property
    def owns_cluster(self) -> bool:
        """Whether this project creates and removes the cluster, real or not."""
        return self.engine != "existing"

    def check(self) -> None:
        """Raises `BadInput` for options that cannot be combined."""
        if self.engine not in ENGINES:
            raise BadInput(
                f"--engine is '{self.engine}'",
                why="the engine is the target of the launch",
                fix=f"use one of: {', '.join(ENGINES)}",
            )
        if not self.owns_cluster and self.task in _OWN_CLUSTERS_ONLY:
            raise BadInput(
                f"--engine existing has no meaning for `{self.task}`",
                why="on an existing cluster this project creates no images, registries or nodes",
                fix="omit --engine; namespaces, secrets, manifests, helm and health work there",
            )
        if not self.owns_cluster and not self.context:
            raise BadInput(
                "--engine existing needs --context NAME",
                why="the current context is never used: it may be a production cluster",
                fix="kubectl config get-contexts shows the names",
            )
        if self.owns_cluster and self.context:
            raise BadInput(
                f"--context {self.context} has no meaning with the engine {self.engine}",
                why="this engine uses the private kubeconfig of its own cluster",
                fix="add --engine existing, or omit --context",
            )


def check_names(given: Sequence[str], names: Sequence[str], what: str, excluded: Mapping[str, str]) -> None:
    """Raises `BadInput` for a name that is not in the settings, or is excluded for a reason."""
    from tasks.settings.origin import nearest

    for name in given:
        if name in excluded:
            raise BadInput(
                f"the {what} '{name}' is not for this task",
                why=f"its setting is {what}s.{name}.{excluded[name]}",
                fix=f"use another, or change that: --set {what}s.{name}.…",
            )
        if name not in names:
            near = nearest(name, names)
            raise BadInput(
                f"there is no {what} '{name}'",
                why=f"the settings have {', '.join(names) or 'none'}",
                fix=f"did you mean {near}?" if near else f"use one of these, or add it to `{what}s`",
            )


def check_format(given: str) -> None:
    """Raises `BadInput` for a value of `--format` that is neither text nor json."""
    if given not in ("text", "json"):
        raise BadInput(f"--format is '{given}'", why="there are two", fix="use text or json")


def task(
    *common: str,
    help: Mapping[str, str] | None = None,  # noqa: A002 - invoke's own name
    values: Mapping[str, str | tuple[str, ...]] | None = None,
    engine: str = "k3d",
    query_ahead: bool = False,
) -> Callable[[Body], Task[Any]]:
    """Make an invoke task of `body(session, **own options)`, which is available as `Task.body.__wrapped__`.

    `common`: the common options it takes, all if none is given. `values`: what shells complete: texts, or `module:name`
    of texts or of a function of `tasks.run.completion.Call`. `engine`: the default of `--engine`.
    `query_ahead`: the engine is queried while Python still imports what the body needs.
    """
    names = tuple(common) or tuple(_COMMON)

    def decorate(body: Body) -> Task[Any]:
        own = list(inspect.signature(body).parameters.values())[1:]
        title = body.__name__.replace("_", "-")

        def call(_context: Context, **given: Any) -> None:
            shared = {name: given.pop(name, _COMMON[name][0]) for name in names}
            sets, where = shared.pop("set", None) or (), shared.pop("engine", None) or engine
            options = Options(task=title, sets=tuple(sets), engine=where, **shared)

            def act(session: Session) -> int | None:
                if query_ahead and options.engine == "k3d":  # only after the options are checked
                    from tasks.run.engine_queries import EngineQueries

                    session.queries = EngineQueries(session, (title,) if title in PARTS else PARTS)
                return body(session, **given)

            status = run_task(options, act)
            if status:
                raise Exit(code=status)

        call.__name__, call.__doc__ = body.__name__, body.__doc__
        call.__wrapped__ = body  # type: ignore[attr-defined]
        call.values = values or {}  # type: ignore[attr-defined]
        call.__signature__ = _signature(own, names)  # type: ignore[attr-defined]
        made: Task[Any] = invoke_task(
            name=title,
            iterable=_lists(own, names),
            help={**{name: _COMMON[name][1] for name in names}, **(help or {})},
            auto_shortflags=False,
        )(call)
        return made

    return decorate


def _signature(own: Sequence[inspect.Parameter], names: Sequence[str]) -> inspect.Signature:
    """The options for invoke: a task's own ones, then the common ones."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature(
        [
            inspect.Parameter("context_", kind),
            *(parameter.replace(annotation=inspect.Parameter.empty) for parameter in own),
            *(inspect.Parameter(name, kind, default=_COMMON[name][0]) for name in names),
        ]
    )


def _lists(own: Sequence[inspect.Parameter], names: Sequence[str]) -> list[str]:
    """Options that can be repeated."""
    lists = [parameter.name for parameter in own if isinstance(parameter.default, list)]
    return [*lists, *(name for name in names if isinstance(_COMMON[name][0], list))]


def run_task(options: Options, body: Callable[[Session], int | None], root: Path = ROOT) -> int:
    """Run a task's body; returns its exit code. Expected errors become a message and a code here, and nowhere else."""
    from tasks.process import children
    from tasks.process.children import CHILDREN
    from tasks.run.finish import show_error

    CHILDREN.open()  # an earlier task of this process may have closed it
    children.close()
    session: Session | None = None
    try:
        with _ended_by_signals():
            session = begin(options, root, {**os.environ, "HOME": _home()})
            gc.freeze()  # later collections skip everything loaded until now
            gc.enable()
            if options.task in _READ_ONLY:
                session.show_note()
            try:
                return body(session) or 0
            finally:
                session.cancel_queries()
    except Exit as ended:  # a failed run, which has been shown
        return ended.code
    except (LaunchError, OSError) as caught:
        error = caught if isinstance(caught, LaunchError) else of_system(caught)
        if error is None:
            raise
        if session is not None:
            session.show_note()
        elif options.engine == "rehearsal":
            from tasks.view.console import err

            err([REHEARSAL_NOTE])
        show_error(error)
        return error.status
    except KeyboardInterrupt:
        CHILDREN.close(3.0)
        interrupted = Interrupted("interrupted", why="it got a signal while no step was running", fix="run it again")
        show_error(interrupted)
        return interrupted.status
    finally:
        CHILDREN.close(1.0)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """TERM (`kill`, a cancelled CI job) and HUP (a closed terminal) raise KeyboardInterrupt.

    Programs lead their own process groups, so nothing else would terminate them. Ignored HUP (nohup) stays ignored.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            continue
        with contextlib.suppress(ValueError):  # only allowed in the main thread
            before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _home() -> str:
    """The home folder: without HOME kubectl would use the working directory for its cache and configuration."""
    from tasks.core.paths import home

    return str(home(os.environ))


def begin(options: Options, root: Path, environ: Mapping[str, str]) -> Session:
    """Read the settings. Raises `BadInput`."""
    from tasks.core.paths import default_folder
    from tasks.facts.backend import BACKENDS
    from tasks.run.session import Session
    from tasks.settings.resolve import resolve

    now, started = time.monotonic(), datetime.now(UTC)
    options.check()
    resolved = resolve(root, environ, options.profile, options.sets)
    if not resolved.above_default("log_dir"):
        resolved = resolved.with_log_dir(str(default_folder(Path(resolved.settings.log_dir))))
    session = Session(options=options, root=root, environ=environ, resolved=resolved, started=started, now=now)
    if options.engine not in BACKENDS:  # its module is in a higher layer, so it is imported by name
        entered: Session = import_module(f"tasks.{options.engine}.backend").enter(session)
        return entered
    return session


def run_part(
    session: Session,
    part: str,
    plan: Callable[[Facts], list[Step]],
    *,
    lock: bool = True,
    shared: bool = False,
    acts: bool = True,
) -> int:
    """Run one part of a launch: only what is missing; needs outside of its plan count as met.

    `lock`: it changes the cluster. `shared`: it is about what all clusters of the engine share. `acts`: its record
    becomes latest.json. Raises `ClusterAbsent`, `ClusterStopped` if it needs a running cluster.
    """
    from tasks.engine.graph import fitted
    from tasks.run.gather import gather, require_running
    from tasks.run.session import bounds

    with session.locked() if lock else contextlib.nullcontext():
        session.open_logs()
        session.ensure_programs()
        facts = gather(session, (part,), refuse=not shared)
        if part in NEEDS_CLUSTER:
            require_running(facts)
        steps = fitted(plan(facts))
        if not facts.owns_cluster and acts:
            from tasks.run.rights import refuse_forbidden

            refuse_forbidden(facts, (part,), steps)
        session.run(steps, bounds(facts), facts=facts, acts=acts)
    return 0
