"""The rounds: each variant once in each, rotated from round to round; nothing between launches is timed."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tasks.benchmark.commands import Call, Stage, create, stages
from tasks.benchmark.results import Measured, Trial
from tasks.benchmark.variants import Variant, Workspace
from tasks.clients import docker, docker_build
from tasks.core.errors import BadInput, LaunchError
from tasks.engine.step import State
from tasks.facts.facts import Facts
from tasks.k3d.removal import own_containers
from tasks.process.command import Command, CommandFailed
from tasks.process.programs import Programs
from tasks.runs.catalogue import Recorded, read
from tasks.settings.node_filters import split


def busy() -> float:
    """CPU seconds of the machine since its start, without idle and iowait.

    Time of guests is part of the user time already (Linux: proc(5), /proc/stat).
    """
    import psutil

    found = psutil.cpu_times()._asdict()
    working = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(found.get(name, 0.0) for name in working))


def at_rest(seconds: float) -> float:
    """Busy CPUs of the idle machine; measured for that many seconds."""
    if seconds <= 0:
        return 0.0
    begin, first = time.monotonic(), busy()
    time.sleep(seconds)
    return (busy() - first) / (time.monotonic() - begin)


_LONGEST = 7200.0
"""Seconds of one launch."""
Spans = dict[str, tuple[float, float]]


def timed(trial: Trial, launch: Callable[[], tuple[Spans, tuple[str, ...]]], rest: float) -> Measured:
    """Run and time a launch. It returns when each of its steps ran, and the names of its critical path."""
    worked, begin = busy(), time.monotonic()
    spans, path = launch()
    wall = time.monotonic() - begin
    return Measured(
        variant=trial.variant.name,
        round=trial.round,
        wall_s=wall,
        busy_s=busy() - worked,
        rest=rest,
        steps=spans,
        critical_path=path,
    )


def run_stages(programs: Programs, stages: Sequence[Stage], *, together: bool) -> tuple[Spans, tuple[str, ...]]:
    """The commands of all stages, sequentially, or those of a stage concurrently. Raises `LaunchError`."""
    begin = time.monotonic()
    spans: Spans = {}

    def run(call: Call) -> None:
        start = time.monotonic() - begin
        programs.run(call.command)
        spans[call.name] = (start, time.monotonic() - begin)

    if not together:
        for call in (call for stage in stages for call in stage.calls):
            run(call)
        return spans, tuple(spans)
    path = []
    widest = max(len(stage.calls) for stage in stages)
    with ThreadPoolExecutor(max_workers=widest) as pool:
        for stage in stages:
            for done in [pool.submit(run, call) for call in stage.calls]:
                done.result()
            path.append(max((call.name for call in stage.calls), key=lambda name: spans[name][1]))
    return spans, tuple(path)


def task(workspace: Workspace, *words: str) -> Command:
    """A task of this project as a separate process."""
    options = (*workspace.chosen, *(() if words[0] == "rehearse" else workspace.engine))  # rehearse has its own
    return Command(
        argv=(sys.executable, "-m", "invoke", *words, *options), cwd=workspace.session.root, deadline=_LONGEST
    )


def up(workspace: Workspace, programs: Programs) -> tuple[Spans, tuple[str, ...]]:
    """A whole launch as a graph. Raises `LaunchError`."""
    try:
        programs.run(
            task(workspace, "rehearse", *workspace.conditions) if workspace.conditions else task(workspace, "up")
        )
    except CommandFailed as error:
        raise LaunchError("`invoke up` has failed", why="\n".join(error.tail()), fix="run it manually") from None
    return recorded(workspace)


def recorded(workspace: Workspace) -> tuple[Spans, tuple[str, ...]]:
    """Times and critical path of the last launch, from its record."""
    try:
        run = read(Recorded(name="latest", path=workspace.folder / "logs" / "latest.json"))
    except BadInput:
        return {}, ()
    spans = {each.name: (each.began, each.ended) for each in run.results if each.state is State.RAN and each.acted}
    return spans, tuple(name for name in run.critical_path if name in spans)


def refuse_existing(workspace: Workspace) -> None:
    """Never uses an existing cluster. Raises `BadInput`."""
    if workspace.session.programs().run(docker.containers(*docker.of_cluster(workspace.cluster))).out.split():
        raise BadInput(
            f"a cluster '{workspace.cluster}' already exists",
            why="bench creates and removes the cluster that it measures; it did not create this one",
            fix=f"--cluster NAME uses another name; or, if it is unused: k3d cluster delete {workspace.cluster}",
        )


def refuse_shared(workspace: Workspace) -> None:
    """Nodes could write to volumes of the user's own cluster. Raises `BadInput`."""
    volumes = workspace.session.settings.cluster.volumes if workspace.session.rehearsal is None else ()
    values = [split(text).value.split(":") for text in volumes]
    shared = [":".join(parts) for parts in values if len(parts) > 1 and "ro" not in parts[-1].split(",")]
    if shared:
        raise BadInput(
            f"cluster.volumes mounts {', '.join(shared)}",
            why="clusters of bench would write there together with your own, which would damage a database",
            fix="--set cluster.volumes=[] measures without; or mount it read-only, with `:ro`",
        )


def remove_cluster(workspace: Workspace) -> None:
    """Remove the cluster of the last launch, in any mode, and its private files.

    Raises `BadInput` for one that others have created since: between two launches the name is free.
    """
    session = workspace.session
    programs = session.programs()
    if own_containers(programs, workspace.cluster, session.owner.label):
        argv = ("k3d", "cluster", "delete", workspace.cluster)
        Programs(folder=programs.folder, env=workspace.environ).run(Command(argv=argv, deadline=180.0))
    shutil.rmtree(session.paths.state, ignore_errors=True)
    workspace.kubeconfig.unlink(missing_ok=True)


def remove_caches(workspace: Workspace) -> None:
    """Remove registries, charts and Helm's files of bench only: other users of the engine may run a bench, too."""
    from tasks.facts.registries import registries
    from tasks.settings.derived import registry_containers

    session = workspace.session
    programs, names = session.programs(), set(registry_containers(session.settings))
    there = {name: each for name, each in registries(programs).items() if name in names}
    theirs = {name for name, each in there.items() if not each.ours or each.owner not in ("", session.owner.label)}
    found = sorted(there.keys() - theirs)
    if found:
        programs.run(docker.remove(found))
    volumes = names.intersection(programs.run(docker.volumes(docker.CACHE_LABEL)).out.split()) - theirs
    if volumes:
        programs.run(docker.remove_volumes(sorted(volumes)))
    shutil.rmtree(session.paths.cache, ignore_errors=True)
    shutil.rmtree(workspace.helm, ignore_errors=True)


def remove_images(workspace: Workspace, images: Iterable[str]) -> None:
    """Remove images of the launch from the engine, except those in use (code 1), and local-only ones.

    An image that was built here, and never pulled or pushed, has no registry digest: it could not be restored.
    """
    programs = workspace.session.programs()
    for image in images:
        known = programs.run(docker_build.known_images((image,))).out.strip()
        if known and json.loads(known)["digests"]:
            programs.run(Command(argv=("docker", "rmi", image), deadline=120.0, ok=(0, 1)))


def prepare(workspace: Workspace, variant: Variant, facts: Facts) -> None:
    """Caches in the required state; filling them is left to the caller."""
    if variant.state == "cold":
        remove_caches(workspace)
    if variant.state == "second":
        shutil.rmtree(workspace.helm, ignore_errors=True)
    if variant.state in ("cold", "second"):
        remove_images(workspace, facts.images)
    logins = any(each.username_env or each.password_env for each in workspace.session.settings.registries.caches)
    if variant.mode == "create" or (variant.mode != "graph" and (logins or facts.shape.network.mark)):
        workspace.session.programs().run(task(workspace, "registry"))
    if variant.mode in ("sequential", "staged") and facts.builds:  # releases use these images
        workspace.session.programs().run(task(workspace, "build"))


@dataclass(kw_only=True)
class Rounds:
    """All launches of a benchmark. `filled`: variants whose caches are in their state."""

    variants: Sequence[Variant]
    workspaces: Mapping[str, Workspace]
    """By the variant's name."""
    runs: int
    warmups: int
    before: str = ""
    """A command of the user, before each launch."""
    rest: float = 2.0
    """Seconds for measuring the idle machine before each launch."""
    filled: set[str] = field(default_factory=set)

    def trials(self) -> Iterator[Trial]:
        """In order."""
        total, number = (self.runs + self.warmups) * len(self.variants), 0
        for at in range(self.runs + self.warmups):
            first = at % len(self.variants)
            for variant in [*self.variants[first:], *self.variants[:first]]:
                number += 1
                yield Trial(variant=variant, round=at - self.warmups, number=number, total=total)

    def run(self, trial: Trial) -> Measured:
        """Prepare, launch, and remove the cluster. Raises `LaunchError`."""
        variant, workspace = trial.variant, self.workspaces[trial.variant.name]
        remove_cluster(workspace)
        try:
            if trial.round >= 0:  # a warm-up round fills them
                self._fill(variant, workspace)
            facts = gather_facts(workspace)
            prepare(workspace, variant, facts)
            self._forget(variant)
            self._before(variant, workspace)
            if variant.state == "noop":
                up(workspace, workspace.session.programs())
            launch = launch_of(workspace, variant)
            done = timed(trial, launch, at_rest(self.rest))
            self.filled.add(variant.name)
            return done
        finally:
            remove_cluster(workspace)

    def _fill(self, variant: Variant, workspace: Workspace) -> None:
        """A launch that is not timed, if the caches are not in the required state, such as after a cold one."""
        if variant.state in ("cold", "noop") or variant.name in self.filled:
            return
        prepare(workspace, variant, gather_facts(workspace))
        launch_of(workspace, variant)()
        remove_cluster(workspace)

    def _forget(self, variant: Variant) -> None:
        """Others may miss what a cold launch has removed."""
        if variant.state == "cold":
            self.filled.clear()
        elif variant.state == "second":
            self.filled -= {each.name for each in self.variants if each.state == "warm"}

    def _before(self, variant: Variant, workspace: Workspace) -> None:
        if not self.before:
            return
        about = {"OPENFRAME_BENCH_MODE": variant.mode, "OPENFRAME_BENCH_STATE": variant.state}
        theirs = Programs(env={**os.environ, **about})
        theirs.run(Command(argv=("sh", "-c", self.before), cwd=workspace.session.root, deadline=3600.0))


def gather_facts(workspace: Workspace) -> Facts:
    """The current facts. Raises what `gather` raises."""
    from tasks.run.gather import gather
    from tasks.settings.derived import PARTS

    return gather(workspace.session, PARTS)


def launch_of(workspace: Workspace, variant: Variant) -> Callable[[], tuple[Spans, tuple[str, ...]]]:
    """The launch, fully prepared."""
    programs = workspace.session.programs()
    if variant.mode == "graph":
        return lambda: up(workspace, programs)
    planned = staged(workspace, variant, gather_facts(workspace))
    theirs = Programs(folder=programs.folder, env=workspace.environ)
    return lambda: run_stages(theirs, planned, together=variant.mode == "staged")


def staged(workspace: Workspace, variant: Variant, facts: Facts) -> tuple[Stage, ...]:
    """The commands of a comparison mode."""
    return (create(workspace, facts, bare=True),) if variant.mode == "create" else stages(workspace, facts)


@dataclass(kw_only=True)
class Clock:
    """The remaining time, from the duration of each variant's trials so far, including their overhead."""

    took: dict[str, list[float]] = field(default_factory=dict)
    begin: float = field(default_factory=time.monotonic)

    def add(self, variant: str, seconds: float) -> None:
        """Record a trial."""
        self.took.setdefault(variant, []).append(seconds)

    def left(self, trials: Sequence[Trial]) -> float | None:
        """Seconds for these trials; None while unknown."""
        known = [seconds for each in self.took.values() for seconds in each]
        if not known:
            return None
        usual = sum(known) / len(known)
        return sum(self.took.get(trial.variant.name, [usual])[-1] for trial in trials)
