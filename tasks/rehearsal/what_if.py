"""How long a launch would take under other conditions (cores, bandwidth, caches, times), and which change would help.

The result also sets the times of the simulated programs (times.json), and a rehearsal's expected seconds of steps:
an earlier one may have had other conditions.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.core.errors import BadInput
from tasks.core.imageref import parse
from tasks.engine import work
from tasks.engine.estimate import Activity, Machine, simulate
from tasks.engine.step import Bounds, Step
from tasks.facts.facts import Facts
from tasks.rehearsal.faults import parse as parse_fault
from tasks.rehearsal.model import AFTER, Profile, Scene, activities, load_profile, times
from tasks.run.images import remembered, size_of, sources
from tasks.settings.derived import balanced, release_name
from tasks.settings.schema import Release

Spans = Mapping[str, tuple[float, float]]
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(bit|bps|bit/s|B|B/s)?")
_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_MOST_CORES = 1024
DEFAULT = "default"
_ENDLESS = 1e6
"""More cores, places and bytes per second than anything can use."""
_MATTERS = 0.02
"""Changes that gain less of the total are not listed."""
Circumstances = tuple["WhatIf", Scene, "Bounds"]


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """Conditions that differ from the recorded ones; unset ones are as recorded."""

    cores: float | None = None
    line: float | None = None
    """Bytes per second, of all connections together."""
    cache: bool = True
    """False: caches are empty, every image is downloaded."""
    scale: float = 1.0
    """Factor of all times; 0: nothing takes any."""
    timing: str = DEFAULT
    """Name of the time profile."""
    faults: Sequence[Mapping[str, Any]] = ()

    def machine(self, profile: Profile) -> Machine:
        """The machine under these conditions."""
        connection = profile.connection_mb * 1e6 if profile.connection_mb and self.line is None else None
        return Machine(cores=self.cores or profile.cores, line=self.line, connection=connection)

    @property
    def asked(self) -> bool:
        """Whether a condition is set, which a plan from earlier runs does not cover."""
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
    """From options. Raises `BadInput`."""
    return WhatIf(
        cores=_number("--cores", cores, 0.1, _MOST_CORES) if cores else None,
        line=rate(line) if line else None,
        cache=not no_cache,
        scale=_number("--time-scale", time_scale, 0.0, 1000.0) if time_scale else 1.0,
        timing=timing or DEFAULT,
        faults=tuple(parse_fault(each) for each in faults),
    )


def rate(text: str) -> float:
    """Bytes per second of `20Mbit` (bandwidth is sold in bits) or `2.5MB`. Raises `BadInput`."""
    found = _RATE.fullmatch(text.strip())
    amount = float(found[1]) * _FACTORS[found[2].lower()] if found else 0.0
    if found is None or not amount or not found[3]:
        raise BadInput(
            f"--line is '{text}'",
            why="bandwidth is a number above 0 with a unit: bits or bytes",
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


def scene(steps: Sequence[Step], facts: Facts, what_if: WhatIf) -> Scene:
    """Inputs of a launch that are not in its steps."""
    settings, names = facts.settings, remembered(facts)
    validated = facts.paths.cache / "validated"
    again = validated.is_dir() and any(validated.iterdir())  # the charts of an earlier launch, most likely these
    return Scene(
        servers=settings.cluster.servers,
        agents=facts.shape.agents,
        balanced=balanced(settings),
        images=_images(steps, names),
        sizes={
            image: float(size)
            for image in {*facts.images, *(image for images in names.values() for image in images)}
            if (size := size_of(facts, image)) is not None
        },
        twice=_twice(facts),
        direct=frozenset(facts.images) - frozenset(sources(facts)),
        cached=what_if.cache,
        validated=frozenset(
            step.work.release for step in steps if again and isinstance(step.work, work.InstallRelease)
        ),
    )


def _twice(facts: Facts) -> bool:
    """Version 2 of distribution downloads everything twice: a stream for the client, and one to store.

    (2.8: `registry/proxy/proxyblobstore.go`, `ServeBlob`. In version 3 they are the same.)
    """
    image = parse(facts.settings.registries.image)
    return image.repository.rpartition("/")[2] == "registry" and image.tag.partition(".")[0] == "2"


def _images(steps: Sequence[Step], names: Mapping[str | None, tuple[str, ...]]) -> dict[str | None, tuple[str, ...]]:
    """Known images of steps that fetch some, else as many unnamed ones as they count."""
    fetches = [step.work for step in steps if step.skip is None and isinstance(step.work, work.FetchImages)]
    found = {each.release: names.get(each.release) or ("workload",) * each.images for each in fetches}
    return {release: images for release, images in found.items() if images}


def without_cache(steps: Sequence[Step]) -> list[Step]:
    """The same plan without any existing image: pulls that would be skipped are done."""
    return [
        replace(step, skip=None) if isinstance(step.work, work.PullImage | work.FetchImages) else step for step in steps
    ]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change, and the seconds of the launch with it."""

    what: str
    total_s: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A prediction, and its basis."""

    total_s: float
    floor_s: float
    """With unlimited cores, places and bandwidth: only waiting."""
    path: tuple[tuple[str, float], ...]
    """The chain that determines the total: descriptions with seconds."""
    times: Mapping[str, tuple[float, float]]
    """Expected start and end of each step."""
    changes: tuple[Change, ...]
    """Helpful changes, the best first."""
    rests_on: str


def predict(profile: Profile, what_if: WhatIf, steps: Sequence[Step], facts: Facts, bounds: Bounds) -> Prediction:
    """Simulate the plan under these conditions, and with each single change of them."""
    plan = list(steps) if what_if.cache else without_cache(steps)

    def play(under: WhatIf, scene: Scene, bounds: Bounds) -> dict[str, tuple[float, float]]:
        return simulate(activities(plan, scene, profile), under.machine(profile), bounds)

    seen = scene(plan, facts, what_if)
    spans = play(what_if, seen, bounds)
    total = spans[AFTER][1]
    endless = replace(bounds, work=1000, waits=1000, kinds={})
    changes = [
        Change(what=what, total_s=play(*each)[AFTER][1]) for what, each in _changes(profile, what_if, seen, bounds)
    ]
    helpful = [each for each in changes if total - each.total_s > _MATTERS * total]
    return Prediction(
        total_s=total,
        floor_s=play(replace(what_if, cores=_ENDLESS, line=None), seen, endless)[AFTER][1],
        path=_path(activities(plan, seen, profile), spans),
        times=times(plan, spans),
        changes=tuple(sorted(helpful, key=lambda each: each.total_s)),
        rests_on=_rests_on(profile, what_if),
    )


def _changes(profile: Profile, what_if: WhatIf, seen: Scene, bounds: Bounds) -> Iterator[tuple[str, Circumstances]]:
    cores = what_if.cores or profile.cores
    yield f"{2 * cores:g} cores instead of {cores:g}", (replace(what_if, cores=2 * cores), seen, bounds)
    if what_if.line is not None:
        yield "twice the bandwidth", (replace(what_if, line=2 * what_if.line), seen, bounds)
    if not seen.cached:
        yield "caches that have the images", (what_if, replace(seen, cached=True), bounds)
    if seen.balanced:
        yield "no load balancer (cluster.loadbalancer)", (what_if, replace(seen, balanced=False), bounds)
    if seen.agents:
        yield f"no agents instead of {seen.agents}", (what_if, replace(seen, agents=0), bounds)
    wider = replace(bounds, work=2 * bounds.work)
    yield f"{2 * bounds.work} concurrent commands instead of {bounds.work}", (what_if, seen, wider)
    downloads = bounds.kinds.get("download")
    if downloads:
        more = replace(bounds, kinds={**bounds.kinds, "download": 2 * downloads})
        yield f"{2 * downloads} concurrent downloads instead of {downloads}", (what_if, seen, more)


def _path(found: Sequence[Activity], spans: Mapping[str, tuple[float, float]]) -> tuple[tuple[str, float], ...]:
    """Back from the end, each time to the need that ended last."""
    by_name = {each.name: each for each in found}
    each, path = by_name[AFTER], []
    while each.needs:
        each = by_name[max(each.needs, key=lambda need: spans[need][1])]
        path.append((each.label, spans[each.name][1] - spans[each.name][0]))
    return tuple((label, took) for label, took in reversed(path) if took > 0 and label)


def _rests_on(profile: Profile, what_if: WhatIf) -> str:
    launches, date = profile.recorded.get("launches", "?"), profile.recorded.get("date")
    message = f"the time profile '{what_if.timing}': {launches} launches on {profile.cores:g} cores"
    message += f", recorded {date}" if date else ""
    computed = {
        "other cores": what_if.cores not in (None, profile.cores),
        "the line": what_if.line is not None,
        "missing caches": not what_if.cache,
    }
    changed = [what for what, holds in computed.items() if holds]
    return message + (f"; computed, not measured: {', '.join(changed)}" if changed else "")


# -- a plan that is about to run on the embedded engine ------------------------------------------------------


def staged(
    root: Path,
    what_if: WhatIf,
    steps: Sequence[Step],
    facts: Facts,
    bounds: Bounds,
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds by key (see `Times`), and by step. Raises `BadInput` for a missing profile."""
    profile = load_profile(root, what_if.timing)
    seen = scene(steps, facts, what_if)
    spans = simulate(activities(steps, seen, profile), what_if.machine(profile), bounds)
    made = {**dict(_general(profile, steps, spans)), **dict(_cluster(spans, seen.servers))}
    by_work = {step.work: spans[step.name] for step in steps if step.name in spans}
    for release in facts.releases:
        made |= dict(_release(release, by_work))
    expected = {name: end - begin for name, (begin, end) in times(steps, spans).items()}
    return {key: round(max(0.0, seconds), 4) for key, seconds in made.items()}, expected


def _general(profile: Profile, steps: Sequence[Step], spans: Spans) -> Iterator[tuple[str, float]]:
    yield "docker", profile.command.cpu + profile.command.time
    starts, fetches, charts = [0.0], [0.0], [0.0]
    for step in steps:
        if step.skip is not None or step.name not in spans:
            continue
        took = spans[step.name][1] - spans[step.name][0]
        match step.work:
            case work.PullImage(image=image):
                yield f"pull {image}", took
                yield f"pull cached {image}", took
            case work.FetchImages(images=images):
                fetches.append(took / max(1, images))
            case work.BuildImage(build=name):
                yield f"build {name}", took
            case work.PushImage(build=name):
                yield f"push {name}", took
            case work.StartRegistry():
                starts.append(took)
            case work.UpdateRepositories():
                yield "repo update", took
            case work.FetchChart():
                charts.append(took)
            case work.RunOwn(step=name):
                yield f"step {name}", step.expected or 1.0
    yield "registry start", max(starts)
    yield "kubectl", profile.kubectl.cpu + profile.kubectl.time
    yield "fetch", max(fetches)
    yield "chart pull", max(charts)
    yield "template", profile.install.cpu / 4


def _cluster(spans: Spans, servers: int) -> Iterator[tuple[str, float]]:
    """For a created cluster. The simulated programs count from the end of what comes before."""
    if "~prepare" not in spans:
        return
    begin = spans["~prepare"][0]
    prepared, booted, settled = (spans[name][1] for name in ("~prepare", "~boot", "~settle"))
    yield "create prepare", prepared - begin
    yield "server answers", booted - prepared
    yield "api ready", settled - booted
    yield "nodes ready", spans["~nodes"][1] - settled
    yield "controllers", spans["~controllers"][1] - settled
    yield "system ready", spans["~system"][1] - settled
    yield "create returns", spans["~finish"][1] - begin
    yield "agent starts", settled - prepared
    joins = [spans[f"~server {number}"] for number in range(1, servers)]
    yield "server joins", max((end - start for start, end in joins), default=0.0)
    if "~balancer" in spans:
        yield "loadbalancer", spans["~balancer"][1] - spans["~balancer"][0]


def _release(release: Release, spans: Mapping[work.Work | None, tuple[float, float]]) -> Iterator[tuple[str, float]]:
    key, name = f"{release.namespace}/{release.name}", release_name(release)
    installed, ready = spans.get(work.InstallRelease(release=name)), spans.get(work.AwaitRelease(release=name))
    if installed is None:
        return
    yield f"install {key}", installed[1] - installed[0]
    if ready is not None:
        yield f"release ready {key}", ready[1] - installed[1]
