"""A launch that was recorded, as the model sees it: its plan, its scene, and when its steps ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.engine.step import Bounds, Step
from tasks.rehearsal.model import Scene

_NODES = re.compile(r"(\d+) servers? and (\d+) agents?")
_APPLIED = re.compile(r"^(\d+) to apply")
_KINDS = {"prepull: ": "download", "registry: fetch images": "download", "helm: install ": "helm"}


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
    """A run's record as a launch; None for one that did not make a cluster, or did not end well."""
    by_name = {each["name"]: each for each in record["steps"]}
    create = by_name.get("cluster: create")
    if record["outcome"] != "ok" or record["task"] != "up" or create is None or create["state"] != "ran":
        return None
    nodes = _NODES.search(create["why"])
    servers, agents = (int(nodes[1]), int(nodes[2])) if nodes else (1, 0)
    steps = tuple(_step(each) for each in record["steps"])
    objects = {name: int(match[1]) for name, each in by_name.items() if (match := _APPLIED.match(each["why"]))}
    return Recorded(
        steps=steps,
        scene=Scene(servers=servers, agents=agents, balanced=servers > 1, objects=objects, validated=_installed(steps)),
        bounds=Bounds(work=int(record["concurrency"]), kinds={"download": 3}),
        ends={name: each["end_s"] for name, each in by_name.items() if each["state"] == "ran"},
        wall=float(record["wall_s"]),
    )


def _installed(steps: tuple[Step, ...]) -> frozenset[str]:
    """A record does not tell whether a chart was validated: most launches are not the first of their charts."""
    return frozenset(
        step.name.removeprefix("helm: install ") for step in steps if step.name.startswith("helm: install ")
    )


def _step(row: Mapping[str, Any]) -> Step:
    name = str(row["name"])
    kind = next((kind for start, kind in _KINDS.items() if name.startswith(start)), None)
    ran = row["state"] == "ran"
    return Step(
        name=name,
        task=str(row["task"]),
        needs=tuple(row["needs"]),
        kind=kind,
        wait=row["slot"] is None,
        skip=None if ran else str(row["why"]) or "skipped",
        until=("cluster: create",) if name == "cluster: watch the nodes" else (),
    )
