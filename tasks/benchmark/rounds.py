"""The rounds: each rival once in each, the order turned from round to round, everything between them not timed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.benchmark.commands import Act, Stage, create, stages
from tasks.benchmark.results import Measured
from tasks.benchmark.variants import Place, Rival
from tasks.clients import docker
from tasks.core.errors import BadInput, LaunchError
from tasks.engine.step import State
from tasks.process.command import Command, CommandFailed, Programs
from tasks.runs.catalogue import Recorded, read

if TYPE_CHECKING:
    from tasks.facts.facts import Facts


def busy() -> float:
    """Seconds of all processors since the machine started, less those in which they were idle or waited for a disk.

    Time of guests is part of the user time already (Linux: proc(5), /proc/stat).
    """
    import psutil

    told = psutil.cpu_times()._asdict()
    working = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(told.get(name, 0.0) for name in working))


def at_rest(seconds: float) -> float:
    """Processors that are busy while nothing is launched; measured for so many seconds."""
    if seconds <= 0:
        return 0.0
    begin, first = time.monotonic(), busy()
    time.sleep(seconds)
    return (busy() - first) / (time.monotonic() - begin)


_LONGEST = 7200.0
"""Seconds of one launch."""
Spans = dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Launched:
    """How one launch went; seconds from its start."""

    wall_s: float
    busy_s: float
    spans: Spans = field(default_factory=dict)
    path: tuple[str, ...] = ()
    """The critical path, by names of steps."""


def timed(act: Callable[[], tuple[Spans, tuple[str, ...]]]) -> Launched:
    """Do it, and take its time."""
    worked, begin = busy(), time.monotonic()
    spans, path = act()
    wall = time.monotonic() - begin
    return Launched(wall_s=wall, busy_s=busy() - worked, spans=spans, path=path)


def drive(programs: Programs, stages: Sequence[Stage], *, together: bool) -> tuple[Spans, tuple[str, ...]]:
    """The commands of all stages, one at a time, or those of a stage together. Raises `LaunchError`."""
    begin = time.monotonic()
    spans: Spans = {}

    def run(act: Act) -> None:
        start = time.monotonic() - begin
        programs.run(act.command)
        spans[act.name] = (start, time.monotonic() - begin)

    if not together:
        for act in (act for stage in stages for act in stage.acts):
            run(act)
        return spans, tuple(spans)
    path = []
    widest = max(len(stage.acts) for stage in stages)
    with ThreadPoolExecutor(max_workers=widest) as pool:
        for stage in stages:
            for done in [pool.submit(run, act) for act in stage.acts]:
                done.result()
            path.append(max((act.name for act in stage.acts), key=lambda name: spans[name][1]))
    return spans, tuple(path)


def task(place: Place, *words: str) -> Command:
    """A task of this project as a process of its own."""
    options = (*place.chosen, *(() if words[0] == "rehearse" else place.engine))  # that one has its own
    return Command(argv=(sys.executable, "-m", "invoke", *words, *options), cwd=place.session.root, deadline=_LONGEST)


def up(place: Place, programs: Programs) -> tuple[Spans, tuple[str, ...]]:
    """A whole launch by the graph. Raises `LaunchError`."""
    try:
        programs.run(task(place, "rehearse", *place.asked) if place.asked else task(place, "up"))
    except CommandFailed as error:
        raise LaunchError("`invoke up` has failed", why="\n".join(error.tail()), fix="run it by hand") from None
    return recorded(place)


def recorded(place: Place) -> tuple[Spans, tuple[str, ...]]:
    """Times and critical path of the last launch, by its record."""
    try:
        run = read(Recorded(name="latest", path=place.folder / "logs" / "latest.json"))
    except BadInput:
        return {}, ()
    spans = {each.name: (each.began, each.ended) for each in run.results if each.state is State.RAN and each.acted}
    return spans, tuple(name for name in run.critical_path if name in spans)


def refuse_existing(place: Place) -> None:
    """Never the cluster of somebody's work. Raises `BadInput`."""
    if place.session.programs().run(docker.containers(f"{docker.CLUSTER_LABEL}={place.cluster}")).out.split():
        raise BadInput(
            f"there is a cluster '{place.cluster}' already",
            why="bench makes and removes the cluster that it measures; this one it did not make",
            fix=f"--cluster NAME takes another name; or, if nobody needs it: k3d cluster delete {place.cluster}",
        )


def remove_cluster(place: Place) -> None:
    """The cluster of the last launch, whichever way it was made, and its private files."""
    programs = place.session.programs()
    if programs.run(docker.containers(f"{docker.CLUSTER_LABEL}={place.cluster}")).out.split():
        argv = ("k3d", "cluster", "delete", place.cluster)
        Programs(folder=programs.folder, env=place.environ).run(Command(argv=argv, deadline=180.0))
    shutil.rmtree(place.session.paths.state, ignore_errors=True)
    place.kubeconfig.unlink(missing_ok=True)


def remove_caches(place: Place) -> None:
    """Registries, charts and Helm's files, those of bench alone."""
    from tasks.settings.derived import registry_containers

    programs, names = place.session.programs(), tuple(registry_containers(place.session.settings))
    for name in names:
        programs.run(Command(argv=docker.remove([name]).argv, deadline=120.0, ok=(0, 1)))
        programs.run(Command(argv=docker.remove_volumes([name]).argv, deadline=120.0, ok=(0, 1)))
    shutil.rmtree(place.session.paths.cache, ignore_errors=True)
    shutil.rmtree(place.helm, ignore_errors=True)


def remove_images(place: Place, images: Iterable[str]) -> None:
    """Images of the launch from the engine; those that a container uses stay (code 1)."""
    programs = place.session.programs()
    for image in images:
        programs.run(Command(argv=("docker", "rmi", image), deadline=120.0, ok=(0, 1)))


def prepare(place: Place, rival: Rival, facts: Facts) -> None:
    """Caches as the state wants them; whether they are filled is for the caller to see to."""
    if rival.state == "cold":
        remove_caches(place)
    if rival.state == "second":
        shutil.rmtree(place.helm, ignore_errors=True)
    if rival.state in ("cold", "second"):
        remove_images(place, facts.images)
    if rival.mode != "graph" and (_has_login(place) or facts.shape.network.mark):
        place.session.programs().run(task(place, "registry"))
    if rival.mode == "create":
        place.session.programs().run(task(place, "registry"))


def _has_login(place: Place) -> bool:
    return any(each.username_env or each.password_env for each in place.session.settings.registries.caches)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One launch that is due."""

    rival: Rival
    round: int
    number: int
    """From 1, of `total`."""
    total: int


@dataclass(kw_only=True)
class Rounds:
    """All launches of a benchmark. `filled`: rivals whose caches are as their state wants them."""

    rivals: Sequence[Rival]
    places: Mapping[str, Place]
    """By the rival's name."""
    runs: int
    warmups: int
    before: str = ""
    """A command of the user's own, before each launch."""
    rest: float = 2.0
    """Seconds for which the machine is watched at rest before each launch."""
    filled: set[str] = field(default_factory=set)

    def turns(self) -> Iterator[Turn]:
        """In their order."""
        total, number = (self.runs + self.warmups) * len(self.rivals), 0
        for at in range(self.runs + self.warmups):
            first = at % len(self.rivals)
            for rival in [*self.rivals[first:], *self.rivals[:first]]:
                number += 1
                yield Turn(rival=rival, round=at - self.warmups, number=number, total=total)

    def take(self, turn: Turn) -> Measured:
        """Prepare, launch, and remove what was launched. Raises `LaunchError`."""
        rival, place = turn.rival, self.places[turn.rival.name]
        remove_cluster(place)
        try:
            if turn.round >= 0:  # a round that warms up fills by itself
                self._fill(rival, place)
            facts = look(place)
            prepare(place, rival, facts)
            self._forget(rival)
            self._before(rival, place)
            if rival.state == "noop":
                up(place, place.session.programs())
            act = launching(place, rival)
            rest = at_rest(self.rest)
            done = timed(act)
            self.filled.add(rival.name)
            return _measured(turn, done, rest)
        finally:
            remove_cluster(place)

    def _fill(self, rival: Rival, place: Place) -> None:
        """A launch that is not timed, where the caches are not as the state wants them: after a cold one."""
        if rival.state in ("cold", "noop") or rival.name in self.filled:
            return
        launching(place, rival)()
        remove_cluster(place)

    def _forget(self, rival: Rival) -> None:
        """What a cold launch has removed others may miss."""
        if rival.state == "cold":
            self.filled.clear()
        elif rival.state == "second":
            self.filled -= {each.name for each in self.rivals if each.state == "warm"}

    def _before(self, rival: Rival, place: Place) -> None:
        if not self.before:
            return
        told = {"OPENFRAME_BENCH_MODE": rival.mode, "OPENFRAME_BENCH_STATE": rival.state}
        theirs = Programs(env={**os.environ, **told})
        theirs.run(Command(argv=("sh", "-c", self.before), cwd=place.session.root, deadline=3600.0))


def look(place: Place) -> Facts:
    """The state now. Raises what `gather` raises."""
    from tasks.run.gather import gather
    from tasks.settings.step_names import PARTS

    return gather(place.session, PARTS)


def launching(place: Place, rival: Rival) -> Callable[[], tuple[dict[str, tuple[float, float]], tuple[str, ...]]]:
    """The launch, with all that it needs at hand."""
    programs = place.session.programs()
    if rival.mode == "graph":
        return lambda: up(place, programs)
    planned = staged(place, rival, look(place))
    theirs = Programs(folder=programs.folder, env=place.environ)
    return lambda: drive(theirs, planned, together=rival.mode == "staged")


def staged(place: Place, rival: Rival, facts: Facts) -> tuple[Stage, ...]:
    """The commands of a comparison mode."""
    bare = rival.mode == "create"
    planned = (create(place, facts, bare=True),) if bare else stages(place, facts)
    if place.session.rehearsal is not None:
        from tasks.benchmark.rehearsed import stage

        stage(place, facts, planned, together=rival.mode == "staged")
    return planned


def _measured(turn: Turn, done: Launched, rest: float) -> Measured:
    return Measured(
        rival=turn.rival.name,
        round=turn.round,
        wall_s=done.wall_s,
        busy_s=done.busy_s,
        rest=rest,
        steps=done.spans,
        critical_path=done.path,
    )


@dataclass(kw_only=True)
class Clock:
    """How long is left, by how long each rival's turn took so far, with all that is around the launch."""

    took: dict[str, list[float]] = field(default_factory=dict)
    begin: float = field(default_factory=time.monotonic)

    def add(self, rival: str, seconds: float) -> None:
        """A turn is over."""
        self.took.setdefault(rival, []).append(seconds)

    def left(self, turns: Sequence[Turn]) -> float | None:
        """Seconds for these turns; None while nothing is known."""
        known = [seconds for each in self.took.values() for seconds in each]
        if not known:
            return None
        usual = sum(known) / len(known)
        return sum(self.took.get(turn.rival.name, [usual])[-1] for turn in turns)
