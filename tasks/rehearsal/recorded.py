"""A launch that was recorded, as the model sees it: its plan, its scene, and when its steps ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.engine.record import RunRecord
from tasks.engine.step import Bounds, Result, State, Step
from tasks.engine.work import CreateCluster, FetchImages, InstallRelease, PullAhead, PullImage, WatchNodes, Work
from tasks.rehearsal.model import Scene


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
    """A run as a launch; None for one that created no cluster, did not end well, or tells no work of its steps."""
    ran = [result for result in run.results if result.state is State.RAN]
    create = next((each.work for each in ran if isinstance(each.work, CreateCluster)), None)
    if not run.good or run.task != "up" or create is None:
        return None
    steps = tuple(_step(each) for each in run.results)
    servers, agents = create.servers, create.agents
    return Recorded(
        steps=steps,
        scene=Scene(servers=servers, agents=agents, balanced=servers > 1, validated=_installed(steps)),
        bounds=Bounds(work=run.concurrency, kinds={"download": 3}),
        ends={each.name: each.ended for each in ran},
        wall=run.wall_s,
    )


def _installed(steps: tuple[Step, ...]) -> frozenset[str]:
    """A record does not tell whether a chart was validated: most launches are not the first of their charts."""
    return frozenset(step.work.release for step in steps if isinstance(step.work, InstallRelease))


def _step(result: Result) -> Step:
    work = result.work
    return Step(
        name=result.name,
        task=result.task,
        needs=result.needs,
        kind=_kind(work),
        wait=result.waits,
        skip=None if result.state is State.RAN else result.why or "skipped",
        until=(result.name,) if isinstance(work, WatchNodes | PullAhead) else (),  # a guard; of what, no record tells
        work=work,
    )


def _kind(work: Work | None) -> str | None:
    if isinstance(work, PullImage | FetchImages):
        return "download"
    return "helm" if isinstance(work, InstallRelease) else None
