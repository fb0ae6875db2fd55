"""A plan that is about to run, as the model sees it; and the model's answer, as the stand-ins' times.json.

The same answer is what a rehearsal expects of its steps: the circumstances of an earlier one may have been others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.engine.work import (
    AwaitRelease,
    BuildImage,
    FetchChart,
    FetchImages,
    InstallRelease,
    PullImage,
    PushImage,
    RunOwn,
    StartRegistry,
    UpdateRepositories,
    Work,
)
from tasks.rehearsal.model import Scene, activities, times
from tasks.rehearsal.profile import Profile, load
from tasks.rehearsal.simulate import simulate
from tasks.run.images import remembered, size_of, sources
from tasks.settings.step_names import release_name

if TYPE_CHECKING:
    from tasks.engine.step import Bounds, Step
    from tasks.facts.facts import Facts
    from tasks.rehearsal.model import Scene
    from tasks.rehearsal.what_if import WhatIf
    from tasks.settings.schema import Release

Spans = Mapping[str, tuple[float, float]]
_OWN = 0.04
"""Seconds that a stand-in needs to start (measured): they pass anyway."""


def scene(steps: Sequence[Step], facts: Facts, what_if: WhatIf) -> Scene:
    """What of it is not in its steps."""
    from tasks.settings.derived import balanced

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
        validated=frozenset(step.work.release for step in steps if again and isinstance(step.work, InstallRelease)),
    )


def _twice(facts: Facts) -> bool:
    """Version 2 of distribution downloads what it hands on once more for itself: a stream for the engine, one to keep.

    (2.8: `registry/proxy/proxyblobstore.go`, `ServeBlob`. In version 3 they are the same.)
    """
    from tasks.core.imageref import parse

    image = parse(facts.settings.registries.image)
    return image.repository.rpartition("/")[2] == "registry" and image.tag.partition(".")[0] == "2"


def _images(steps: Sequence[Step], names: Mapping[str | None, tuple[str, ...]]) -> dict[str | None, tuple[str, ...]]:
    """Of steps that fetch images those that are known, else as many nameless ones as they count."""
    fetches = [step.work for step in steps if step.skip is None and isinstance(step.work, FetchImages)]
    found = {each.release: names.get(each.release) or ("workload",) * each.images for each in fetches}
    return {release: images for release, images in found.items() if images}


def without_cache(steps: Sequence[Step]) -> list[Step]:
    """The same plan where no image is there yet: what would be skipped as present is fetched."""
    return [replace(step, skip=None) if isinstance(step.work, PullImage | FetchImages) else step for step in steps]


def staged(
    root: Path,
    what_if: WhatIf,
    steps: Sequence[Step],
    facts: Facts,
    bounds: Bounds,
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds by key (see `Times`), and by step. Raises `BadInput` for a profile that is not there."""
    profile = load(root, what_if.timing)
    seen = scene(steps, facts, what_if)
    spans = simulate(activities(steps, seen, profile), what_if.machine(profile), bounds)
    made = {**dict(_general(profile, steps, spans)), **dict(_cluster(spans, seen.servers))}
    by_work = {step.work: spans[step.name] for step in steps if step.name in spans}
    for release in facts.releases:
        made |= dict(_release(release, by_work))
    expected = {name: end - begin for name, (begin, end) in times(steps, spans).items()}
    return {key: round(max(0.0, seconds), 4) for key, seconds in made.items()}, expected


def _general(profile: Profile, steps: Sequence[Step], spans: Spans) -> Iterator[tuple[str, float]]:
    command = profile.command.cpu + profile.command.time
    yield "docker", command - _OWN
    starts, fetches, charts = [0.0], [0.0], [0.0]
    for step in steps:
        took = _took(spans, step.name)
        if step.skip is not None or took is None:
            continue
        match step.work:
            case PullImage(image=image):
                yield f"pull {image}", took - _OWN
                yield f"pull cached {image}", took - _OWN
            case FetchImages(images=images):
                fetches.append(took / max(1, images))
            case BuildImage(build=name):
                yield f"build {name}", took - _OWN
            case PushImage(build=name):
                yield f"push {name}", took - _OWN
            case StartRegistry():
                starts.append(took)
            case UpdateRepositories():
                yield "repo update", took - _OWN
            case FetchChart():
                charts.append(took)
            case RunOwn(step=name):
                yield f"step {name}", step.expected or 1.0
    yield "registry start", max(starts) - _OWN
    yield "kubectl", profile.kubectl.cpu + profile.kubectl.time - _OWN
    yield "fetch", max(fetches)
    yield "chart pull", max(charts) - _OWN
    yield "template", profile.install.cpu / 4


def _cluster(spans: Spans, servers: int) -> Iterator[tuple[str, float]]:
    """Of a cluster that is made. The stand-ins count from the end of what comes before."""
    if "~prepare" not in spans:
        return
    begin = spans["~prepare"][0]
    prepared, booted, settled = (spans[name][1] for name in ("~prepare", "~boot", "~settle"))
    yield "create prepare", prepared - begin - _OWN
    yield "server answers", booted - prepared
    yield "api ready", settled - booted
    yield "nodes ready", spans["~nodes"][1] - settled
    yield "controllers", spans["~controllers"][1] - settled
    yield "system ready", spans["~system"][1] - settled
    yield "create returns", spans["~finish"][1] - begin - _OWN
    yield "agent starts", settled - prepared
    joins = [spans[f"~server {number}"] for number in range(1, servers)]
    yield "server joins", max((end - start for start, end in joins), default=0.0)
    if "~balancer" in spans:
        yield "loadbalancer", spans["~balancer"][1] - spans["~balancer"][0]


def _release(release: Release, spans: Mapping[Work | None, tuple[float, float]]) -> Iterator[tuple[str, float]]:
    key, name = f"{release.namespace}/{release.name}", release_name(release)
    installed, ready = spans.get(InstallRelease(release=name)), spans.get(AwaitRelease(release=name))
    if installed is None:
        return
    yield f"install {key}", installed[1] - installed[0] - _OWN
    if ready is not None:
        yield f"release ready {key}", ready[1] - installed[1]


def _took(spans: Spans, name: str) -> float | None:
    span = spans.get(name)
    return span[1] - span[0] if span is not None else None
