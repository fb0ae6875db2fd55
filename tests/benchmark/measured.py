"""Launches with the noise of real ones, drawn again and again."""

import random
from collections.abc import Mapping
from typing import Any

from tasks.benchmark.results import Measured, Results

PATH: Mapping[str, float] = {
    "prepull": 0.5,
    "cluster: create": 7.0,
    "helm: install app-a": 1.5,
    "helm: app-a ready": 3.0,
}
"""Seconds of the steps of a critical path: 12 in all."""
RECORDED = (0.984, 1.05, 0.979, 1.003, 1.0, 1.0, 0.99, 1.013, 1.0, 0.998, 1.056, 1.0, 0.997, 1.003)
"""Walls of real warm launches, five and three times three of one configuration each, as parts of their medians."""


def launches(variant: str, seed: int, *, runs: int = 5, slow: Mapping[str, float] | None = None) -> list[Measured]:
    """Rounds of a variant; `slow`: by step what it takes longer, as a factor."""
    draw = random.Random(seed)
    found = []
    for number in range(runs):
        at, steps = 0.0, dict[str, tuple[float, float]]()
        for name, seconds in PATH.items():
            took = seconds * draw.choice(RECORDED) * (slow or {}).get(name, 1.0)
            steps[name] = (at, at + took)
            at += took
        steps["beside"] = (0.0, 2.0 * draw.choice(RECORDED))
        found.append(
            Measured(
                variant=variant,
                round=number,
                wall_s=at,
                busy_s=at * 1.5,
                rest=0.1,
                steps=steps,
                critical_path=tuple(PATH),
            )
        )
    return found


def results(*variants: list[Measured], **changes: Any) -> Results:
    """Results of these variants."""
    names = dict.fromkeys(run.variant for each in variants for run in each)
    given: dict[str, Any] = {
        "started": "2026-11-25T08:00:00Z",
        "engine": "k3d",
        "system": {"cpus": 2, "k3d": "v5.9.0"},
        "variants": tuple({"name": name, "mode": name, "state": "warm"} for name in names),
        "runs": tuple(run for each in variants for run in each),
    }
    return Results(**{**given, **changes})
