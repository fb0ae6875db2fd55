"""`make support` runs `python -m tasks.host.support`: which pinned versions are out of support, or soon will be.

Separate from `make test`, because its result changes with the calendar alone: no change should fail for that.
"""

import datetime as dt
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tasks.facts.programs import Pins, numbers, read_pins
from tasks.settings.schema_parts import Cluster
from tasks.view.console import command, out

SOON = 60
"""Days before the end of support for a warning: time to move a pin, and to test it."""


def judged(pins: Pins, kubernetes: str, today: dt.date) -> Iterator[tuple[str, str]]:
    """Each version with its end, as `ok`, `warning` or `error`. `kubernetes`: the default version of clusters."""
    for name, project, version in (
        ("Kubernetes", "kubernetes", kubernetes),
        ("kubectl", "kubernetes", pins.kubectl.version),
        ("Helm", "helm", pins.helm.version),
    ):
        minor = ".".join(map(str, numbers(version)[:2]))
        lifetime = pins.support.get(project)
        end = lifetime.ends.get(minor) if lifetime is not None else None
        if lifetime is None or end is None:
            yield "error", f"{name} {version}: config/pins.yaml does not have the end of support of {minor}"
            continue
        days = (end - today).days
        level = "error" if days < 0 else "warning" if days <= SOON else "ok"
        when = f"left support on {end}" if days < 0 else f"is supported until {end}, {days} days from now"
        yield level, f"{name} {version} {when} ({lifetime.source})"


def main(root: Path, today: dt.date, *, annotate: bool) -> int:
    """Print each result; 1 if a pin is out of support. `annotate`: as annotations for GitHub."""
    found = list(judged(read_pins(root), Cluster().kubernetes_version, today))
    for level, text in found:
        if annotate and level != "ok":
            command(f"::{level}::{text}")
        else:
            out([f"{level:7}  {text}"])
    return int(any(level == "error" for level, _ in found))


if __name__ == "__main__":
    sys.exit(
        main(
            Path(__file__).parents[2],
            dt.datetime.now(dt.UTC).date(),
            annotate=os.environ.get("GITHUB_ACTIONS") == "true",
        )
    )
