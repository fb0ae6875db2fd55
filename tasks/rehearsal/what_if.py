"""What a launch would take under other circumstances (cores, line, caches, times), and which change would help most."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput
from tasks.rehearsal.model import AFTER, activities, times
from tasks.rehearsal.profile import Profile
from tasks.rehearsal.simulate import Activity, Machine, simulate
from tasks.rehearsal.staging import scene, without_cache

if TYPE_CHECKING:
    from tasks.engine.step import Bounds, Step
    from tasks.facts.facts import Facts
    from tasks.rehearsal.model import Scene

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(bit|bps|bit/s|B|B/s)?")
_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_MOST_CORES = 1024
DEFAULT = "default"
_ENDLESS = 1e6
"""More cores, places and bytes a second than anything can use."""
_MATTERS = 0.02
"""A change that gains less of the total is not named."""
Circumstances = tuple["WhatIf", Sequence["Step"], "Scene", "Bounds"]


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """What is otherwise than recorded; what is not given stays as it was recorded."""

    cores: float | None = None
    line: float | None = None
    """Bytes a second, of all connections together."""
    cache: bool = True
    """False: no cache has anything, every image comes through the line."""
    scale: float = 1.0
    """Factor of all times; 0: nothing takes any."""
    timing: str = DEFAULT
    """Name of the time profile."""
    faults: Sequence[Mapping[str, Any]] = ()

    def machine(self, profile: Profile) -> Machine:
        """The machine under these circumstances."""
        connection = profile.connection_mb * 1e6 if profile.connection_mb and self.line is None else None
        return Machine(cores=self.cores or profile.cores, line=self.line, connection=connection)

    @property
    def asked(self) -> bool:
        """Whether anything is asked that a plan from earlier runs does not answer."""
        return self.cores is not None or self.line is not None or not self.cache or self.timing != DEFAULT


def what_if(
    *,
    cores: str = "",
    line: str = "",
    no_cache: bool = False,
    time_scale: str = "",
    timing: str = "",
    faults: Sequence[str] = (),
) -> WhatIf:
    """From the texts of options. Raises `BadInput`."""
    from tasks.rehearsal.conditions import parse

    return WhatIf(
        cores=_number("--cores", cores, 0.1, _MOST_CORES) if cores else None,
        line=rate(line) if line else None,
        cache=not no_cache,
        scale=_number("--time-scale", time_scale, 0.0, 1000.0) if time_scale else 1.0,
        timing=timing or DEFAULT,
        faults=tuple(parse(each) for each in faults),
    )


def rate(text: str) -> float:
    """Bytes a second of `20Mbit` (a line is sold in bits) or `2.5MB`. Raises `BadInput`."""
    found = _RATE.fullmatch(text.strip())
    amount = float(found[1]) * _FACTORS[found[2].lower()] if found else 0.0
    if found is None or not amount or not found[3]:
        raise BadInput(
            f"--line is '{text}'",
            why="a line's rate is a number above 0 with a unit: bits as they are sold, or bytes",
            fix="write it as 20Mbit (2.5 MB a second), 1Gbit, or 8MB",
        )
    return amount / 8 if found[3].startswith("b") else amount


def _number(option: str, text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise BadInput(
            f"{option} is '{text}'", why=f"it is a number from {least:g} to {most:g}", fix="write it as 0.5, 1 or 8"
        )
    return value


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change, and the seconds that the launch would take with it."""

    what: str
    total_s: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A prediction, and what it rests on."""

    total_s: float
    floor_s: float
    """With endless cores, places and line: what only passes."""
    path: tuple[tuple[str, float], ...]
    """The chain that the total ends with: what, and seconds of it."""
    times: Mapping[str, tuple[float, float]]
    """Expected begin and end of each step."""
    changes: tuple[Change, ...]
    """What would help, the most helpful first."""
    rests_on: str


def answer(profile: Profile, what_if: WhatIf, steps: Sequence[Step], facts: Facts, bounds: Bounds) -> Answer:
    """Play the plan through under these circumstances, and under each single change of them."""
    plan = list(steps) if what_if.cache else without_cache(steps)
    seen = scene(plan, facts, what_if)
    spans = _play(profile, what_if, plan, seen, bounds)
    total = spans[AFTER][1]
    endless = replace(bounds, work=1000, waits=1000, kinds={})
    free = _play(profile, replace(what_if, cores=_ENDLESS, line=None), plan, seen, endless)
    changes = [
        Change(what=what, total_s=_play(profile, *each)[AFTER][1])
        for what, each in _changes(profile, what_if, plan, seen, bounds)
    ]
    helpful = [each for each in changes if total - each.total_s > _MATTERS * total]
    return Answer(
        total_s=total,
        floor_s=free[AFTER][1],
        path=_path(activities(plan, seen, profile), spans),
        times=times(plan, spans),
        changes=tuple(sorted(helpful, key=lambda each: each.total_s)),
        rests_on=_rests_on(profile, what_if),
    )


def _play(
    profile: Profile, what_if: WhatIf, steps: Sequence[Step], seen: Scene, bounds: Bounds
) -> dict[str, tuple[float, float]]:
    return simulate(activities(steps, seen, profile), what_if.machine(profile), bounds)


def _changes(
    profile: Profile, what_if: WhatIf, steps: Sequence[Step], seen: Scene, bounds: Bounds
) -> Iterator[tuple[str, Circumstances]]:
    cores = what_if.cores or profile.cores
    yield f"{2 * cores:g} cores instead of {cores:g}", (replace(what_if, cores=2 * cores), steps, seen, bounds)
    if what_if.line is not None:
        faster = replace(what_if, line=2 * what_if.line)
        yield "a line twice as fast", (faster, steps, seen, bounds)
    if not seen.cached:
        yield "caches that have the images", (what_if, steps, replace(seen, cached=True), bounds)
    if seen.balanced:
        yield "no load balancer (cluster.loadbalancer)", (what_if, steps, replace(seen, balanced=False), bounds)
    if seen.agents:
        yield f"no agents instead of {seen.agents}", (what_if, steps, replace(seen, agents=0), bounds)
    wider = replace(bounds, work=2 * bounds.work)
    yield f"{2 * bounds.work} commands at once instead of {bounds.work}", (what_if, steps, seen, wider)
    downloads = bounds.kinds.get("download")
    if downloads:
        more = replace(bounds, kinds={**bounds.kinds, "download": 2 * downloads})
        yield f"{2 * downloads} downloads at once instead of {downloads}", (what_if, steps, seen, more)


def _path(found: Sequence[Activity], spans: Mapping[str, tuple[float, float]]) -> tuple[tuple[str, float], ...]:
    """Back from the end, each time to the need that ended last."""
    by_name = {each.name: each for each in found}
    each, path = by_name[AFTER], []
    while each.needs:
        each = by_name[max(each.needs, key=lambda need: spans[need][1])]
        path.append((each.label, spans[each.name][1] - spans[each.name][0]))
    return tuple((label, took) for label, took in reversed(path) if took > 0 and label)


def _rests_on(profile: Profile, what_if: WhatIf) -> str:
    recorded = profile.recorded
    launches = recorded.get("launches", "?")
    said = f"the time profile '{what_if.timing}': {launches} launches on {profile.cores:g} cores"
    date = recorded.get("date")
    said += f", recorded {date}" if date else ""
    changed = []
    if what_if.cores is not None and what_if.cores != profile.cores:
        changed.append("other cores")
    if what_if.line is not None:
        changed.append("the line")
    if not what_if.cache:
        changed.append("missing caches")
    return said + (f"; computed, not measured: {', '.join(changed)}" if changed else "")
