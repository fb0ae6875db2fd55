"""A plan that is about to run, as the model sees it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.rehearsal.model import Scene

if TYPE_CHECKING:
    from tasks.engine.step import Step
    from tasks.rehearsal.what_if import WhatIf
    from tasks.situation import Situation

_APPLIED = re.compile(r"^(\d+) to apply")
_IMAGES = re.compile(r"^(\d+) images?, ")
FETCH, INSTALL = "registry: fetch images of ", "helm: install "


def scene(steps: Sequence[Step], situation: Situation, what_if: WhatIf) -> Scene:
    """What of it is not in its steps."""
    from tasks.cluster.config import balanced

    settings = situation.settings
    validated = situation.folders.cache / "validated"
    again = validated.is_dir() and any(validated.iterdir())  # the charts of an earlier launch, most likely these
    return Scene(
        servers=settings.cluster.servers,
        agents=situation.shape.agents,
        balanced=balanced(settings),
        objects={step.name: int(match[1]) for step in steps if (match := _APPLIED.match(step.why))},
        images={step.name.removeprefix(FETCH): ("workload",) * fetched(step) for step in steps if fetched(step)},
        cached=what_if.cache,
        validated=frozenset(
            step.name.removeprefix(INSTALL) for step in steps if again and step.name.startswith(INSTALL)
        ),
    )


def fetched(step: Step) -> int:
    """How many images a step has the caches fetch; 0 for any other."""
    match = _IMAGES.match(step.why) if step.name.startswith(FETCH) and step.skip is None else None
    return int(match[1]) if match else 0


def without_cache(steps: Sequence[Step]) -> list[Step]:
    """The same plan where no image is there yet: what would be skipped as present is fetched."""
    return [
        replace(step, skip=None) if step.skip is not None and step.name.startswith(("prepull: ", FETCH)) else step
        for step in steps
    ]
