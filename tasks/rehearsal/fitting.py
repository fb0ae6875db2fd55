"""The figures of a machine, found so that the model tells of its launches what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from tasks.rehearsal.model import AFTER, activities
from tasks.rehearsal.profile import Cost, Profile
from tasks.rehearsal.recorded import Recorded
from tasks.rehearsal.simulate import Machine, simulate

_ROUNDS = 12
_STEP = 1.25
"""Factor by which a figure is tried larger and smaller; it comes closer to 1 each round."""
_PRIOR = 0.02
"""How much a figure is held back that the measurements say little of: as seconds squared for each factor of e."""


def machine(profile: Profile) -> Machine:
    """The machine that a profile was recorded on."""
    connection = profile.connection_mb * 1e6 if profile.connection_mb else None
    return Machine(cores=profile.cores, connection=connection)


def predicted(profile: Profile, launch: Recorded, on: Machine | None = None) -> dict[str, float]:
    """When each step ends, by the model; the wall under `~after`."""
    found = activities(launch.steps, launch.scene, profile)
    return {name: end for name, (_, end) in simulate(found, on or machine(profile), launch.bounds).items()}


def fit(launches: Sequence[Recorded], start: Profile) -> Profile:
    """Change one figure after another as long as the launches are told better; else those of `start` hold."""
    best, error = start, _error(start, start, launches)
    step = _STEP
    for _ in range(_ROUNDS):
        for name, part in _figures(start):
            for factor in (step, 1 / step):
                tried = _scaled(best, name, part, factor)
                new = _error(tried, start, launches)
                if new < error:
                    best, error = tried, new
                    break
        step = 1 + (step - 1) * 0.8
    return best


def _figures(profile: Profile) -> Iterator[tuple[str, str]]:
    """Every figure that can be scaled."""
    for each in fields(profile):
        value = getattr(profile, each.name)
        if isinstance(value, Cost):
            yield from ((each.name, part) for part in ("cpu", "time") if getattr(value, part) > 0)
        elif each.name == "pull_cpu":
            yield each.name, ""


def _scaled(profile: Profile, name: str, part: str, factor: float) -> Profile:
    value = getattr(profile, name)
    changed: dict[str, Any] = {part: getattr(value, part) * factor} if isinstance(value, Cost) else {}
    scaled: dict[str, Any] = {name: replace(value, **changed) if changed else value * factor}
    return replace(profile, **scaled)


def _error(profile: Profile, start: Profile, launches: Sequence[Recorded]) -> float:
    """Mean square of the seconds by which ends of steps are told wrongly, the wall counted as many."""
    total, count = 0.0, 0
    for launch in launches:
        told = predicted(profile, launch)
        for name, end in launch.ends.items():
            if name in told:
                total += (told[name] - end) ** 2
                count += 1
        total += 10 * (told[AFTER] - launch.wall) ** 2
        count += 10
    return total / max(1, count) + _PRIOR * _distance(profile, start)


def _distance(profile: Profile, start: Profile) -> float:
    ratios = [math.log(_figure(profile, *figure) / _figure(start, *figure)) for figure in _figures(start)]
    return sum(ratio**2 for ratio in ratios) / max(1, len(ratios))


def _figure(profile: Profile, name: str, part: str) -> float:
    value = getattr(profile, name)
    return float(getattr(value, part) if isinstance(value, Cost) else value)
