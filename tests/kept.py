"""Registries that exist, as facts have them, and those that are to be made."""

from __future__ import annotations

from typing import Any

from tasks.engine.step import Step
from tasks.facts.facts import Facts
from tasks.facts.registries import PUSH, Registry
from tasks.run.registries import steps
from tests.facts import inspected
from tests.given import settings
from tests.programs import Answer, FakePrograms

PUSHED, HUB = "k3d-openframe-registry", "k3d-openframe-cache-docker-io"
GHCR = "k3d-openframe-cache-ghcr-io"
ABSENT = Answer(out="[]\n", err="Error: No such container: x", code=1)
ONLY_PUSH = settings(registries={"caches": []})
ONLY_GHCR = settings(registries={"push": False, "caches": [{"upstream": "ghcr.io"}]})


def id_of(name: str = PUSHED) -> str:
    """The id of its container."""
    return str(inspected.registry(name)["Id"])


def there(name: str = PUSHED, **changes: Any) -> Registry:
    """One of ours that runs, in the network of the cluster of every test."""
    given = {
        "id": id_of(name),
        "upstream": PUSH,
        "port": 5050,
        "networks": ("bridge", "k3d-openframe-dev"),
    }
    return Registry(**{"name": name, **given, **changes})


def ports(*numbers: int) -> Any:
    left = list(numbers)
    asked: list[int | None] = []

    def free(wish: int | None) -> int:
        asked.append(wish)
        return left.pop(0) if left else 5999

    free.asked = asked  # type: ignore[attr-defined]
    return free


def engine(**answers: Any) -> FakePrograms:
    """Docker that has no such container, and makes what it is told."""
    return FakePrograms(answers={"docker": "", "docker container inspect": ABSENT, **answers})


def only(given: Facts, free: Any = None) -> Step:
    (step,) = steps(given, free or ports())
    return step
