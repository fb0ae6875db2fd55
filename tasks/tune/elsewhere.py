"""Engines whose daemon.json is not on this machine: what to do there by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tasks.errors import LaunchError
from tasks.facts.engine import Engine
from tasks.tune.merge import DOWNLOADS, MIRRORS, UPLOADS, Wishes

_UNDO = "taking the keys out again undoes it"


class Elsewhere(LaunchError):
    """daemon.json cannot be changed from here: nothing was done."""


def away(host: Engine) -> bool:
    """Whether an engine runs in a machine of its own, or in another container than this."""
    return host.desktop or not host.here


def elsewhere(host: Engine, wishes: Wishes) -> Elsewhere:
    """The steps for the machine that this engine runs in."""
    name, steps = _steps(host, wishes)
    return Elsewhere(
        f"Docker's daemon.json is not on this machine, but in {name}: nothing was changed",
        why="it is kept there by other means, which this task does not touch",
        fix="\n".join((*steps, _UNDO)),
    )


def _steps(host: Engine, wishes: Wishes) -> tuple[str, Sequence[str]]:
    numbers = {key: value for key, value in ((DOWNLOADS, wishes.downloads), (UPLOADS, wishes.uploads)) if value}
    mirrored = {**numbers, **({MIRRORS: [wishes.mirror]} if wishes.mirror else {})}
    if host.os.startswith("Docker Desktop") or host.name == "docker-desktop":
        # no mirror: that its machine reaches a port of this one's loopback has never been seen
        return "the machine of Docker Desktop", (
            "Docker Desktop: Settings, Docker Engine: add these keys to what stands there, then Apply & restart:",
            *_json(numbers),
        )
    if host.context.startswith("colima") or host.name.startswith("colima"):
        profile = host.name.removeprefix("colima").strip("-")
        which = f" --profile {profile}" if profile else ""
        return "the machine of Colima", (
            f"`colima stop{which}`, then `colima start{which} --edit`: add below `docker:`",
            *(f"  {key}: {json.dumps(value)}" for key, value in mirrored.items()),
        )
    if host.os.startswith("OrbStack") or host.name == "orbstack":
        return "the machine of OrbStack", (
            "OrbStack: Settings, Docker: add these keys to the engine's configuration, then `orb restart docker`:",
            *_json(numbers),
        )
    return f"the machine '{host.name}'", (
        "there, as root: add these keys to /etc/docker/daemon.json, then `kill -HUP $(cat /var/run/docker.pid)`:",
        *_json(mirrored),
    )


def _json(keys: Mapping[str, object]) -> list[str]:
    return [f"  {row}" for row in json.dumps(keys, indent=2).splitlines()]
