"""`invoke rehearse --learn RUN`: creates a time profile from recorded launches of this machine.

The figures are fitted so that the model's times match the measured ones.
"""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput
from tasks.core.units import MB
from tasks.engine.estimate import simulate
from tasks.engine.record import RunRecord
from tasks.engine.step import Bounds, Result, State, Step
from tasks.engine.work import CreateCluster, FetchImages, InstallRelease, PullAhead, PullImage, WatchNodes
from tasks.rehearsal.model import AFTER, FOLDER, Cost, Profile, Scene, activities, dump_profile, load_profile
from tasks.rehearsal.what_if import DEFAULT, WhatIf
from tasks.run.session import Session

_ROUNDS = 12
_STEP = 1.25
"""Factor by which a figure is varied; it approaches 1 with each round."""
_PRIOR = 0.02
"""Penalty for changing figures that the measurements say little about: seconds squared for each factor of e."""
Figure = tuple[str, str]
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One launch."""

    steps: tuple[Step, ...]
    scene: Scene
    bounds: Bounds
    ends: Mapping[str, float]
    """Seconds from the run's start, of steps that ran."""
    wall: float


def recorded(run: RunRecord) -> Recorded | None:
    """A run as a launch; None if it created no cluster, failed, or has no work of its steps."""
    ran = [result for result in run.results if result.state is State.RAN]
    create = next((each.work for each in ran if isinstance(each.work, CreateCluster)), None)
    if not run.good or run.task != "up" or create is None:
        return None
    steps, servers, agents = tuple(_step(each) for each in run.results), create.servers, create.agents
    # a record does not say whether a chart was validated: most launches are not the first of their charts
    installed = frozenset(step.work.release for step in steps if isinstance(step.work, InstallRelease))
    return Recorded(
        steps=steps,
        scene=Scene(servers=servers, agents=agents, balanced=servers > 1, validated=installed),
        bounds=Bounds(work=run.concurrency, kinds={"download": 3}),
        ends={each.name: each.ended for each in ran},
        wall=run.wall_s,
    )


def _step(result: Result) -> Step:
    work = result.work
    kind = "download" if isinstance(work, PullImage | FetchImages) else None
    return Step(
        name=result.name,
        task=result.task,
        needs=result.needs,
        kind="helm" if isinstance(work, InstallRelease) else kind,
        wait=result.waits,
        skip=None if result.state is State.RAN else result.why or "skipped",
        until=(result.name,) if isinstance(work, WatchNodes | PullAhead) else (),  # a guard, without its targets
        work=work,
    )


def predicted(profile: Profile, launch: Recorded) -> dict[str, float]:
    """The modelled end of each step, on the machine of the profile; the wall time under `~after`."""
    found = activities(launch.steps, launch.scene, profile)
    return {name: end for name, (_, end) in simulate(found, WhatIf().machine(profile), launch.bounds).items()}


def fit(launches: Sequence[Recorded], start: Profile) -> Profile:
    """Vary one figure after another as long as the predictions improve; unused ones keep their `start` value."""
    best, error = start, _error(start, start, launches)
    step = _STEP
    for _ in range(_ROUNDS):
        for figure in _figures(start):
            for factor in (step, 1 / step):
                tried = _with(best, figure, _figures(best)[figure] * factor)
                new = _error(tried, start, launches)
                if new < error:
                    best, error = tried, new
                    break
        step = 1 + (step - 1) * 0.8
    return best


def _figures(profile: Profile) -> dict[Figure, float]:
    """Every figure that can be scaled: by the names of its field and of the part of a cost."""
    found: dict[Figure, float] = {}
    for name, value in vars(profile).items():
        if isinstance(value, Cost):
            found |= {(name, "cpu"): value.cpu, (name, "time"): value.time}
        elif name == "pull_cpu":
            found[name, ""] = value
    return {figure: value for figure, value in found.items() if value > 0}


def _with(profile: Profile, figure: Figure, value: float) -> Profile:
    name, part = figure
    changed: Any = replace(getattr(profile, name), **{part: value}) if part else value
    return replace(profile, **{name: changed})


def _error(profile: Profile, start: Profile, launches: Sequence[Recorded]) -> float:
    """Mean square error of the predicted ends of steps in seconds, with more weight on the wall time."""
    total, count = 0.0, 0
    for launch in launches:
        found = predicted(profile, launch)
        wrong = [(found[name] - end) ** 2 for name, end in launch.ends.items() if name in found]
        total += sum(wrong) + 10 * (found[AFTER] - launch.wall) ** 2
        count += len(wrong) + 10
    now, before = _figures(profile), _figures(start)
    ratios = [math.log(now[figure] / value) for figure, value in before.items()]
    return total / max(1, count) + _PRIOR * sum(ratio**2 for ratio in ratios) / max(1, len(ratios))


def learn(session: Session, runs: Sequence[str], name: str) -> int:
    """Fit the profile's figures to these runs, and store it under a name. Raises `BadInput`."""
    from tasks.core.files import write_whole
    from tasks.runs.catalogue import find, read
    from tasks.view.console import out

    name = name or DEFAULT
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"--timing is '{name}'",
            why="it is used as a file name: lower case letters, digits and hyphens",
            fix="choose one such as laptop-8-cores",
        )
    path = session.root / FOLDER / f"{name}.yaml"
    log_dir = Path(session.settings.log_dir)
    found = [read(find(log_dir, each)) for each in runs]
    launches = [_launch(each) for each in found]
    profile = named(fit(launches, load_profile(session.root, DEFAULT)), found)
    write_whole(path, dump_profile(profile), mode=0o644)
    took = statistics.median(launch.wall for launch in launches)
    expected = statistics.median(predicted(profile, launch)[AFTER] for launch in launches)
    out([f"{path}: {len(launches)} launches took {took:.1f} s (median), and are predicted as {expected:.1f} s"])
    return 0


def _launch(run: RunRecord) -> Recorded:
    launch = recorded(run) if run.engine == "k3d" else None
    if launch is None:
        raise BadInput(
            f"{run.name} is not a launch to learn from",
            why="it must be a successful `up` on k3d that created a cluster, recorded with the work of its steps",
            fix="choose others: invoke report --history --run up lists them",
        )
    return launch


def named(profile: Profile, runs: Sequence[RunRecord]) -> Profile:
    """With a description of its basis."""
    newest = max(runs, key=lambda run: run.started)
    system = newest.system
    rests = {
        "launches": len(runs),
        "date": f"{newest.started:%Y-%m-%d}",
        **{key: str(system[key]) for key in ("docker", "k3d", "k3s_image") if system.get(key)},
    }
    sized = {**profile.image_mb, **sizes(runs)}
    return replace(profile, recorded=rests, cores=float(system.get("cpus") or profile.cores), image_mb=sized)


def sizes(runs: Sequence[RunRecord]) -> dict[str, float]:
    """Downloaded MB of images, if recorded: of the node image, and the average of a workload's."""
    nodes, workloads = list[float](), list[float]()
    for work in (result.work for run in runs for result in run.results):
        match work:
            case PullImage(node=True, bytes=size) if size:
                nodes.append(size / MB)
            case FetchImages(images=images, bytes=size) if size and images:
                workloads += [size / MB / images] * images
    found = {"k3s": nodes, "workload": workloads}
    return {kind: round(sum(each) / len(each), 1) for kind, each in found.items() if each}
