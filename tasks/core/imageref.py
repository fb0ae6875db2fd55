"""References of images, their platforms, and the images that objects name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_CONTAINERS = ("containers", "initContainers")
HUB = "docker.io"
HUB_HOSTS = frozenset({HUB, "index.docker.io", "registry-1.docker.io"})
"""Hosts at which Docker Hub is reached; in references docker.io stands for them."""
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

    @property
    def name(self) -> str:
        """The repository as Docker lists it: without its own registry's name (distribution: `familiarizeName`)."""
        if self.registry != HUB:
            return f"{self.registry}/{self.repository}"
        official = self.repository.removeprefix("library/")
        return self.repository if "/" in official else official

    @property
    def listed(self) -> str:
        """As Docker lists the image: `registry:2` for `docker.io/library/registry:2`; a tag beside a digest is not
        listed.
        """
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def full(self) -> str:
        """With everything that Docker leaves out, and the digest in place of a tag."""
        return f"{self.registry}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")


def registry_of(text: str) -> str:
    """The registry that a reference names; empty where it names none, which is Docker Hub."""
    first, slash, _ = text.partition("/")
    named = slash and (set(first) & {".", ":"} or first == "localhost" or first != first.lower())
    return first if named else ""


def parse(text: str) -> Reference:
    """The parts of a reference as Docker and containerd read it."""
    rest, _, digest = text.strip().partition("@")
    head, slash, last = rest.rpartition("/")
    last, _, tag = last.partition(":")
    path = f"{head}{slash}{last}"
    first = registry_of(path)
    more = path[len(first) + 1 :] if first else path
    first = first or HUB
    if first == "index.docker.io":
        first = HUB
    if first == HUB and "/" not in more:
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
