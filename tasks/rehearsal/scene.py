"""A plan that is about to run, as the model sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.engine.work import FetchImages, InstallRelease, PullImage
from tasks.rehearsal.model import Scene
from tasks.run.images import remembered, size_of, sources

if TYPE_CHECKING:
    from tasks.engine.step import Step
    from tasks.facts.facts import Facts
    from tasks.rehearsal.what_if import WhatIf


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
