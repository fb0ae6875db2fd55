"""One call of a task: its settings, programs and folders, and the run of its plan."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from tasks.clients.docker import DEFAULT_PLATFORM
from tasks.core.errors import attempt
from tasks.core.files import place, sha256
from tasks.core.lock import held
from tasks.core.paths import ClusterPaths, cache_folder, state_folder
from tasks.core.units import GIB
from tasks.engine.step import Bounds
from tasks.facts.backend import BACKENDS
from tasks.process.children import MARK, mark
from tasks.process.programs import Programs
from tasks.settings.derived import BUILD, DOWNLOAD, HELM, OWN, PULL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from tasks.clients.bundle import Bundle
    from tasks.clients.snapshots import Restore
    from tasks.engine.step import Result, Step
    from tasks.facts.backend import Backend
    from tasks.facts.cluster import Owner
    from tasks.facts.engine import Engine
    from tasks.facts.facts import Facts
    from tasks.facts.machine import Machine
    from tasks.facts.programs import Versions
    from tasks.rehearsal.backend import Rehearsal
    from tasks.run.engine_queries import EngineQueries
    from tasks.run.task import Options
    from tasks.settings.resolve import Resolved

_LONG = 86400.0
"""Seconds that `--wait-lock` waits."""
_BUILDS = 4
"""Maximum concurrent builds, unless configured."""
_LAUNCHES = ("up", "rehearse")
"""Tasks that bring up a whole environment."""
_TICK = 0.05
"""Seconds by which a file's time may be behind the clock."""


@dataclass(kw_only=True)
class Session:
    """Shared state of a call. `now` and `started` are its start, before any query."""

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
    """With the engine `rehearsal`: its state, and its times."""
    clear_pending: bool = False
    """Whether to clear releases that a foreign Helm has left pending, or is working on."""
    bundle: Bundle | None = None
    """The source of all downloads, if given."""
    restore: Restore | None = None
    """The snapshot that the cluster is created from."""
    queries: EngineQueries | None = None
    """Queries to the engine that were started ahead; the first `gather` uses their answers."""
    noted: bool = False
    """Whether the note that nothing real is created has been shown."""

    @property
    def settings(self) -> Any:  # noqa: ANN401 - `Settings`; pydantic is loaded with it, not with this module
        """The effective settings."""
        return self.resolved.settings

    @property
    def name(self) -> str:
        """The cluster's name, or the context's with the engine `existing`."""
        return str(self.settings.cluster.name if self.options.owns_cluster else self.options.context)

    @property
    def paths(self) -> ClusterPaths:
        """Private paths of this cluster, below the user's state and cache folders."""
        return ClusterPaths(state=self.state / "clusters" / self._stem, cache=cache_folder(self.environ))

    def check_folders(self) -> None:
        """Raises `BadInput` if the state or the cache folder, or this cluster's files in them, cannot be used."""
        from tasks.core.paths import check_own

        paths = self.paths
        for path in (paths.state, paths.kubeconfig, paths.complete, paths.k3d_config, paths.images):
            check_own(path, "XDG_STATE_HOME")
        check_own(paths.cache, "XDG_CACHE_HOME")

    @property
    def state(self) -> Path:
        """The user's state folder of this project."""
        return state_folder(self.environ)

    @cached_property
    def owner(self) -> Owner:
        """The owner of clusters that this call creates."""
        from tasks.facts.cluster import owner

        return owner(self.environ, self.state, self.settings.cluster.owner)

    @cached_property
    def _stem(self) -> str:
        """The cluster's name; with a suffix for this engine if another engine already has one of this name."""
        if not self.options.owns_cluster:
            return "context-" + sha256(self.name, 16)
        from tasks.core.files import remembered
        from tasks.facts.endpoint import endpoint

        engine, clusters = endpoint(self.environ).identity, self.state / "clusters"
        beside = f"{self.name}@{sha256(engine, 8)}"
        first = remembered(ClusterPaths(state=clusters / self.name, cache=clusters).engine)
        return beside if first not in (None, engine) or (clusters / beside).is_dir() else self.name

    @property
    def note(self) -> str:
        """Shown in every view; empty if the call is real."""
        return self.rehearsal.note if self.rehearsal is not None else ""

    def show_note(self) -> None:
        """Show the note once, on standard error, that nothing real is created."""
        from tasks.view.console import err

        if self.note and not self.noted:
            err([self.note])
            self.noted = True

    @property
    def backend(self) -> Backend:
        """The backend of the launch."""
        return self.rehearsal.backend() if self.rehearsal is not None else BACKENDS[self.options.engine]()

    @property
    def lock(self) -> Path:
        """The lock of this cluster."""
        return self.state / "clusters" / f"{self._stem}.lock"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock this cluster for this run; clean up after a killed run first. Raises `Held`."""
        self.check_folders()
        with held(self.lock, self.options.task, _LONG if self.options.wait_lock else 0.0) as last:
            if last.killed:
                self._clear_after_kill(last.killed)
            if last.killed or self.queried_before(last.changed):
                self.cancel_queries()
            self.clear_snapshots()
            yield

    def clear_snapshots(self) -> None:
        """Clean up after a killed save or restore: resume the nodes that it paused."""
        folder = self.state / "snapshots"
        if self.options.owns_cluster and folder.is_dir() and next(folder.glob("*.journal"), None) is not None:
            from tasks.run.snapshots import clear, store

            self.cancel_queries()
            self.attempt("leftovers of a killed snapshot stay", lambda: clear(self.programs(), store(self)))

    def _clear_after_kill(self, killed: int) -> None:
        """Terminate the programs of a killed run, and remove its temporary files."""
        import tempfile

        from tasks.clients.kubeconfig import target
        from tasks.core.files import sweep
        from tasks.process.children import end_orphans

        end_orphans(mark(self.lock, place(), killed))
        for folder in (self.state, self.paths.cache):
            sweep(folder, below=True)
        logs = Path(self.settings.log_dir)
        for folder in (logs, logs / "runs", Path(tempfile.gettempdir()), target(self.environ).parent):
            sweep(folder)

    def programs(self) -> Programs:
        """Programs with this process's environment and its mark; steps' outputs go to this run's log folder."""
        env = {**self.environ, **_proxies(self.environ), MARK: mark(self.lock, place(), os.getpid())}
        env.pop(DEFAULT_PLATFORM, None)
        if self.rehearsal is not None:
            return Programs(folder=self.rehearsal.folder.bin, env=env, log_dir=self.log_dir, start=self.rehearsal.start)
        return Programs(folder=self.root / ".tools" / "bin", env=env, log_dir=self.log_dir)

    def helm_programs(self) -> Programs:
        """Programs with Helm's folders redirected to those of this project."""
        from tasks.clients import helm

        folder = self.paths.repositories(self.settings.helm.repositories)
        return self.programs().with_env(helm.environment(self.paths.cache, folder))

    def record_system(
        self, host: Engine | Machine, version: Versions, *, docker: str | None, k3s_image: str | None
    ) -> None:
        """Add the machine and the versions to the run's record."""
        self.system.update(
            cpus=host.cpus,
            memory_gib=round(host.memory_bytes / GIB, 1),
            arch=host.arch,
            os=host.os,
            docker=docker,
            k3d=version.k3d,
            kubectl=version.kubectl,
            helm=version.helm,
            k3s_image=k3s_image,
        )

    def queried_before(self, moment: float) -> bool:
        """Whether queries were started before this moment (seconds of the epoch): their answers may be older, too."""
        return self.queries is not None and self.queries.started <= moment + _TICK

    def cancel_queries(self) -> None:
        """Drop the started queries: `gather` starts its own."""
        if self.queries is not None:
            self.queries.cancel()
        self.queries = None

    def attempt(self, what: str, act: Callable[[], object]) -> None:
        """Do what only saves time later; on failure, show a note that `what` is lost."""
        from tasks.view.console import err

        notes = attempt(what, act)
        if not self.settings.silent:
            err(f"note: {each}" for each in notes)

    def ensure_programs(self) -> None:
        """Download missing or outdated k3d, kubectl and helm into the project's folder.

        Without an engine nothing is downloaded. Raises `NoEngine`.
        """
        from tasks.facts.engine import engine
        from tasks.facts.programs import needs

        names = self.backend.needs_programs
        if self.bundle is not None and names:
            from tasks.host.programs import place_files

            place_files(self, self.bundle, self.paths)
            self.cancel_queries()  # they may not have found the programs
        if not any(each.fetch for each in needs(self, names).values()):
            return
        from tasks.host.programs import AT_ONCE, fetch_plan

        if self.options.engine == "k3d":
            engine(self.programs())
        self.run(fetch_plan(self), Bounds(work=AT_ONCE), acts=False, last=False)

    def open_logs(self) -> None:
        """Create the folder of this run's logs. Raises `BadInput` if the log folder cannot be used."""
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
        """Run a plan, show it, write its record. Raises invoke's `Exit` with the code if it failed.

        `earlier`: steps of this call that ran before, in a plan of their own: needs of them are met. `last`: no
        other plan follows. `acts`: the record becomes latest.json. `launch`: it is added to the benchmark log.
        """
        from tasks.engine.estimate import history_file, load, remember
        from tasks.engine.graph import joined
        from tasks.engine.record import RunRecord
        from tasks.engine.scheduler import Run
        from tasks.process.children import CHILDREN
        from tasks.run.finish import choose, finish
        from tasks.view.console import marks
        from tasks.view.launch import Launch, Steady
        from tasks.view.summary import Summary

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
        self.attempt("durations of steps were not recorded", lambda: remember(past, self.options.engine, results))
        over = RunRecord.of(
            *joined(earlier, (steps, results)),
            task=self.options.task,
            engine=self.options.engine,
            started=self.started,
            wall_s=time.monotonic() - self.now,
            concurrency=bounds.work,
            settings_hash=self.resolved.settings_hash,
            system=self.system,
            interrupted=run.interrupted,
        )
        if last or not over.good:
            ending = Summary(
                run=over,
                inspect=_inspect(facts),
                logs=self.log_dir,
                note=self.note,
                access=self._access(facts, steps) if over.good else (),
            )
            agents = facts.shape.agents if launch and facts is not None else None
            status = finish(self, view, ending, acts=acts, agents=agents)
            if status:
                raise Exit(code=status)
        return results

    def _access(self, facts: Facts | None, steps: Sequence[Step]) -> tuple[tuple[str, str], ...]:
        """What exists after a launch, and how to reach it; empty for other runs."""
        if facts is None or self.options.task not in _LAUNCHES:
            return ()
        from tasks.run.finish import access

        rows: list[tuple[str, str]] = []
        self.attempt(
            "how to reach the cluster could not be determined",
            lambda: rows.extend(access(facts, steps, self.options, exists=True, as_configured=True).rows()),
        )
        return tuple(rows)


def bounds(facts: Facts) -> Bounds:
    """The bound of the pool, and the smaller ones for kinds of work."""
    pool = facts.settings.pool
    work = facts.shape.concurrency
    return Bounds(
        work=work,
        waits=pool.waits,
        kinds={
            DOWNLOAD: pool.downloads,
            PULL: pool.downloads,
            HELM: min(pool.helm or work, work),
            BUILD: pool.builds or min(_BUILDS, facts.host.cpus if facts.host is not None else work),
            OWN: min(pool.steps or work, work),
        },
    )


def _inspect(facts: Facts | None) -> str:
    """The command to inspect what a failed run has left."""
    if facts is None or not facts.paths.kubeconfig.exists():
        return ""
    return f"kubectl --kubeconfig {shlex.quote(str(facts.paths.kubeconfig))} get pods --all-namespaces"


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Proxy variables in the form that all programs read alike; empty in most environments."""
    if not any(name.lower().endswith("_proxy") for name in environ):
        return {}
    from tasks.core.proxies import for_programs  # 6 ms

    return for_programs(environ)


def _without(steps: Sequence[Step], met: Collection[str]) -> Sequence[Step]:
    """The same steps, without the needs that are met."""
    if not met:
        return steps
    return [replace(step, needs=tuple(need for need in step.needs if need not in met)) for step in steps]
