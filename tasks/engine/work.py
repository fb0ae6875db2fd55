"""What a step does, as data for the timing model and the record, so that names and texts are only for display.

The engine passes it on unchanged. A release is given as displayed, `NAME` or `NAME in NAMESPACE`: it
is compared and shown, and never parsed.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar


class Milestone(StrEnum):
    """States of a starting cluster, in this order."""

    ANSWER = "first answer"
    API = "API ready"
    NODES = "nodes ready"
    SYSTEM = "system services"


@dataclass(frozen=True, kw_only=True)
class Work:
    """The base of all kinds. Bytes are those transferred, known when the step has ended; 0: unknown."""

    kind: ClassVar[str]
    """In records: the name of the class, such as `pull-image`."""

    def __init_subclass__(cls) -> None:
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def as_json(self) -> dict[str, Any]:
        """As stored in a record."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class PullImage(Work):
    """The engine pulls an image; `node`: it is the image of the nodes."""

    image: str
    node: bool = False
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class FetchImages(Work):
    """Caches fetch images of a release, or of the cluster's own services; 0 images: unknown before it runs."""

    release: str | None = None
    images: int = 0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class PullAhead(Work):
    """A node pulls images of a release, or of the cluster's own services, before their pods are placed."""

    release: str | None = None


@dataclass(frozen=True, kw_only=True)
class FindImages(Work):
    """A chart is rendered to find its images."""

    release: str


@dataclass(frozen=True, kw_only=True)
class StartRegistry(Work):
    """A registry is created, or started."""

    registry: str


@dataclass(frozen=True, kw_only=True)
class CreateCluster(Work):
    """k3d creates the cluster."""

    servers: int = 1
    agents: int = 0


@dataclass(frozen=True, kw_only=True)
class WatchNodes(Work):
    """The guard over the nodes."""


@dataclass(frozen=True, kw_only=True)
class AwaitCluster(Work):
    """A wait until the cluster has reached a milestone."""

    milestone: Milestone


@dataclass(frozen=True, kw_only=True)
class ApplyObjects(Work):
    """Objects are applied to the cluster."""

    objects: int


@dataclass(frozen=True, kw_only=True)
class UpdateRepositories(Work):
    """Indexes of chart repositories are downloaded."""


@dataclass(frozen=True, kw_only=True)
class FetchChart(Work):
    """A chart is downloaded."""

    chart: str


@dataclass(frozen=True, kw_only=True)
class InstallRelease(Work):
    """A release is installed or upgraded."""

    release: str


@dataclass(frozen=True, kw_only=True)
class AwaitRelease(Work):
    """A wait for the workloads of a release."""

    release: str


@dataclass(frozen=True, kw_only=True)
class BuildImage(Work):
    """The engine builds an image for the user."""

    build: str


@dataclass(frozen=True, kw_only=True)
class PushImage(Work):
    """The engine pushes the image of a build."""

    build: str


@dataclass(frozen=True, kw_only=True)
class RunCommand(Work):
    """One short command of a program."""

    program: str


@dataclass(frozen=True, kw_only=True)
class RunOwn(Work):
    """A command defined by the user."""

    step: str


KINDS: Mapping[str, type[Work]] = {each.kind: each for each in Work.__subclasses__()}


def from_json(value: object) -> Work | None:
    """The inverse of `as_json`; None for nothing, or for a kind of a later version."""
    if not isinstance(value, Mapping) or value.get("kind") not in KINDS:
        return None
    kind = KINDS[value["kind"]]
    known = {each.name: value[each.name] for each in fields(kind) if each.name in value}
    try:
        if kind is AwaitCluster:
            known["milestone"] = Milestone(known.get("milestone", ""))
        return kind(**known)
    except (TypeError, ValueError):
        return None
