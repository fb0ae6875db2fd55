"""A plan that is about to run, as the model sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.rehearsal.model import Scene
from tasks.run.images import remembered, size_of, sources
from tasks.settings.step_names import FETCH_IMAGES

if TYPE_CHECKING:
    from tasks.engine.step import Step
    from tasks.facts.facts import Facts
    from tasks.rehearsal.what_if import WhatIf

_APPLIED = re.compile(r"^(\d+) to apply")
_IMAGES = re.compile(r"^(\d+) images?, ")
INSTALL = "helm: install "


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
        objects={step.name: int(match[1]) for step in steps if (match := _APPLIED.match(step.why))},
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
            step.name.removeprefix(INSTALL) for step in steps if again and step.name.startswith(INSTALL)
        ),
    )


def _twice(facts: Facts) -> bool:
    """Version 2 of distribution downloads what it hands on once more for itself: a stream for the engine, one to keep.

    (2.8: `registry/proxy/proxyblobstore.go`, `ServeBlob`. In version 3 they are the same.)
    """
    from tasks.core.imageref import parse

    image = parse(facts.settings.registries.image)
    return image.repository.rpartition("/")[2] == "registry" and image.tag.partition(".")[0] == "2"


def _images(steps: Sequence[Step], names: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Of steps that fetch images those that are known, else as many nameless ones as they count."""
    found = {}
    for step in steps:
        if step.skip is not None or not step.name.startswith(FETCH_IMAGES):
            continue
        what = step.name.removeprefix(FETCH_IMAGES)
        images = names.get(what) or ("workload",) * fetched(step)
        if images:
            found[what] = images
    return found


def fetched(step: Step) -> int:
    """How many images a step has the caches fetch; 0 for any other."""
    match = _IMAGES.match(step.why) if step.name.startswith(FETCH_IMAGES) and step.skip is None else None
    return int(match[1]) if match else 0


def without_cache(steps: Sequence[Step]) -> list[Step]:
    """The same plan where no image is there yet: what would be skipped as present is fetched."""
    return [
        replace(step, skip=None)
        if step.skip is not None and step.name.startswith(("prepull: ", FETCH_IMAGES))
        else step
        for step in steps
    ]
