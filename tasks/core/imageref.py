"""References of images, their platforms, and the images that objects name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_CONTAINERS = ("containers", "initContainers")
_HUB = "docker.io"
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv8l": "arm",  # a 32-bit system on a 64-bit processor
}
_VARIANTS = {"armv7l": "/v7", "armv8l": "/v7"}


class Reference(NamedTuple):
    """An image by its parts (distribution: `reference`)."""

    registry: str
    """docker.io where a reference names none."""
    repository: str
    tag: str
    digest: str
    """sha256:…; empty without one."""

    @property
    def version(self) -> str:
        """What a registry is asked for: the digest wins."""
        return self.digest or self.tag


def parse(text: str) -> Reference:
    """The parts of a reference as Docker and containerd read it."""
    rest, _, digest = text.strip().partition("@")
    head, slash, last = rest.rpartition("/")
    last, _, tag = last.partition(":")
    path = f"{head}{slash}{last}"
    first, slash, more = path.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, more = _HUB, path
    if first in ("index.docker.io", "registry-1.docker.io"):
        first = _HUB
    if first == _HUB and "/" not in more:
        more = f"library/{more}"
    return Reference(first, more, tag or ("" if digest else "latest"), digest)


def images_of(objects: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The images that these objects' pods run, each once, in their order."""
    return tuple(dict.fromkeys(image for each in objects for image in _within(each)))


def _within(value: Any) -> Iterator[str]:  # noqa: ANN401 - any part of an object
    """Pod specifications stand at any depth: in a Deployment, a CronJob, and in resources of others."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in _CONTAINERS and isinstance(inner, list):
                yield from (
                    each["image"] for each in inner if isinstance(each, Mapping) and isinstance(each.get("image"), str)
                )
            yield from _within(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _within(inner)


def architecture(machine: str) -> str:
    """`amd64` of what `uname -m`, or an engine, calls x86_64 (Go: GOARCH); other names are the same."""
    return _ARCHITECTURES.get(machine.lower(), machine.lower())


def linux_platform(machine: str) -> str:
    """As images name it, `linux/arm64` (OCI: image index, platform); empty if nothing is known."""
    return f"linux/{architecture(machine)}{_VARIANTS.get(machine.lower(), '')}" if machine else ""
