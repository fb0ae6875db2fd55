"""A launch that was recorded, as the model sees it: its plan, its scene, and when its steps ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.engine.step import Bounds, Step
from tasks.engine.work import CreateCluster, FetchImages, InstallRelease, PullAhead, PullImage, WatchNodes, from_json
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


def recorded(record: Mapping[str, Any]) -> Recorded | None:
    """A run's record as a launch; None for one that created no cluster, did not end well, or tells no work of steps."""
    done = {each["name"]: from_json(each.get("work")) for each in record["steps"] if each["state"] == "ran"}
    create = next((work for work in done.values() if isinstance(work, CreateCluster)), None)
    if record["outcome"] != "ok" or record["task"] != "up" or create is None:
        return None
    steps = tuple(_step(each) for each in record["steps"])
    servers, agents = create.servers, create.agents
    return Recorded(
        steps=steps,
        scene=Scene(servers=servers, agents=agents, balanced=servers > 1, validated=_installed(steps)),
        bounds=Bounds(work=int(record["concurrency"]), kinds={"download": 3}),
        ends={each["name"]: each["end_s"] for each in record["steps"] if each["name"] in done},
        wall=float(record["wall_s"]),
    )


def _installed(steps: tuple[Step, ...]) -> frozenset[str]:
    """A record does not tell whether a chart was validated: most launches are not the first of their charts."""
    return frozenset(step.work.release for step in steps if isinstance(step.work, InstallRelease))


def _step(row: Mapping[str, Any]) -> Step:
    name, work, ran = str(row["name"]), from_json(row.get("work")), row["state"] == "ran"
    return Step(
        name=name,
        task=str(row["task"]),
        needs=tuple(row["needs"]),
        kind=_kind(work),
        wait=row["slot"] is None,
        skip=None if ran else str(row["why"]) or "skipped",
        until=(name,) if isinstance(work, WatchNodes | PullAhead) else (),  # a guard; of what, no record tells
        work=work,
    )


def _kind(work: object) -> str | None:
    if isinstance(work, PullImage | FetchImages):
        return "download"
    return "helm" if isinstance(work, InstallRelease) else None
