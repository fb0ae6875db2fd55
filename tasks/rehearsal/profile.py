"""What a launch costs on a machine: seconds of a core, of waiting, and bytes, as recorded in real launches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tasks.core.documents import documents, read_text
from tasks.core.errors import BadInput
from tasks.core.units import MB

FOLDER = "config/rehearsal"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One kind of work: `cpu` seconds of a core, on at most `width` cores, then `time` seconds that only pass."""

    cpu: float = 0.0
    time: float = 0.0
    width: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The figures of one machine. Where a unit is not said it is seconds."""

    recorded: Mapping[str, Any] = field(default_factory=dict)
    """Where and when, and from how many launches."""
    cores: float = 2.0
    """Those that it was recorded on."""
    before: Cost = Cost()
    """From the process's start to the first step."""
    after: Cost = Cost()
    """From the last step's end to the process's."""
    image_mb: Mapping[str, float] = field(default_factory=dict)
    """Compressed size of images; `k3s`, `helper` and `workload` stand for those that are not named."""
    pull_cpu: float = 0.02
    """Seconds of a core for each MB that the engine, or a node, unpacks."""
    pull: Cost = Cost()
    """For each pull beside its bytes."""
    connections: float = 3.0
    """Connections of one pull."""
    connection_mb: float = 0.0
    """MB a second of one connection while it was recorded; 0: it was not limited."""
    command: Cost = Cost()
    """A short command of docker."""
    kubectl: Cost = Cost(cpu=0.09, time=0.03)
    """A command of kubectl that applies one object (of the comparison modes: a launch of ours calls none)."""
    registry: Cost = Cost()
    """From a registry's creation until it answers."""
    prepare: Cost = Cost()
    """From k3d's start until its first container can start; for each node more: `prepare_node`."""
    prepare_node: Cost = Cost()
    boot: Cost = Cost()
    """From a server's start until its API speaks."""
    settle: Cost = Cost()
    """From there until /readyz is 200."""
    kubelet: Cost = Cost()
    """From there until the server's node is ready."""
    controllers: Cost = Cost()
    """From there until the controllers work."""
    agent: Cost = Cost()
    """From an agent's start until its node is ready."""
    server: Cost = Cost()
    """A further server, from the start of the one before."""
    balancer: Cost = Cost()
    """k3d's load balancer."""
    finish: Cost = Cost()
    """What k3d does when all nodes are up."""
    apply: Cost = Cost()
    """One object."""
    install: Cost = Cost()
    """One release."""
    validate: Cost = Cost()
    """More, the first time that a chart is installed with its values."""
    chart: Cost = Cost()
    """A chart's download, and the same of a repository's index."""
    pod: Cost = Cost()
    """From a pod's image on its node until it is ready; the application's own start among it."""
    dns: Cost = Cost()
    """The same of the system's pods."""

    def size(self, image: str, kind: str) -> float:
        """Bytes of an image."""
        megabytes = self.image_mb.get(image, self.image_mb.get(kind, 25.0))
        return megabytes * MB


def load(root: Path, name: str) -> Profile:
    """A profile by its name. Raises `BadInput` for one that is not there, or not of this form."""
    path = root / FOLDER / f"{name}.yaml"
    there = sorted(each.stem for each in (root / FOLDER).glob("*.yaml"))
    if name not in there:
        raise BadInput(
            f"there is no time profile '{name}'",
            why=f"profiles of recorded launches lie in {FOLDER}",
            fix=f"use one of: {', '.join(there) or 'none'}",
        )
    found = documents(read_text(path, "a time profile"), str(path))
    value = found[0].value if found else {}
    known = {each.name: each for each in fields(Profile)}
    if not isinstance(value, dict) or not set(value) <= set(known):
        odd = ", ".join(sorted(set(value) - set(known))) if isinstance(value, dict) else "it is no mapping"
        raise BadInput(f"{path} is no time profile", why=odd, fix="record it anew, or take those names out")
    figures: dict[str, Any] = {
        key: _cost(path, key, part) if known[key].type == "Cost" else part for key, part in value.items()
    }
    return Profile(**figures)


def _cost(path: Path, key: str, part: Any) -> Cost:  # noqa: ANN401 - what a file held
    names = {each.name for each in fields(Cost)}
    if not isinstance(part, dict) or not set(part) <= names or not all(_number(each) for each in part.values()):
        raise BadInput(f"{path}: {key} is no cost", why="it has cpu, time and width, in seconds", fix="correct it")
    return Cost(**{name: float(value) for name, value in part.items()})


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def dump(profile: Profile) -> str:
    """A profile as its file holds it."""
    import yaml

    made: dict[str, Any] = {}
    for each in fields(Profile):
        value = getattr(profile, each.name)
        if isinstance(value, Cost):
            value = {part.name: round(getattr(value, part.name), 4) for part in fields(Cost)}
        made[each.name] = dict(value) if isinstance(value, Mapping) else round(value, 4)
    text: str = yaml.safe_dump(made, sort_keys=False, allow_unicode=True)
    return text
