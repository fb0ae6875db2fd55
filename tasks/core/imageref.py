"""Image references, platforms, and the images in objects."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_CONTAINERS = ("containers", "initContainers")
HUB = "docker.io"
HUB_HOSTS = frozenset({HUB, "index.docker.io", "registry-1.docker.io"})
"""Hosts of Docker Hub; references use docker.io for them."""
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv8l": "arm",  # a 32-bit system on a 64-bit processor
}
_VARIANTS = {"armv7l": "/v7", "armv8l": "/v7"}


class Reference(NamedTuple):
    """The parts of an image reference (distribution: `reference`)."""

    registry: str
    """docker.io if the reference has no registry."""
    repository: str
    tag: str
    digest: str
    """sha256:…; empty without one."""

    @property
    def version(self) -> str:
        """What is requested from a registry: the digest takes precedence."""
        return self.digest or self.tag

    @property
    def name(self) -> str:
        """The repository as Docker lists it: without docker.io and library (distribution: `familiarizeName`)."""
        if self.registry != HUB:
            return f"{self.registry}/{self.repository}"
        official = self.repository.removeprefix("library/")
        return self.repository if "/" in official else official

    @property
    def listed(self) -> str:
        """As Docker lists the image: `registry:2` for `docker.io/library/registry:2`; a digest replaces the tag."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def full(self) -> str:
        """The full reference with registry and repository path, and the digest instead of a tag."""
        return f"{self.registry}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")


def registry_of(text: str) -> str:
    """The registry in a reference; empty if there is none, which means Docker Hub."""
    first, slash, _ = text.partition("/")
    named = slash and (set(first) & {".", ":"} or first == "localhost" or first != first.lower())
    return first if named else ""


def parse(text: str) -> Reference:
    """The parts of a reference as Docker and containerd parse it."""
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
    """The images of these objects' pods, without duplicates, in order."""
    return tuple(dict.fromkeys(image for each in objects for image in _within(each)))


def _within(value: Any) -> Iterator[str]:  # noqa: ANN401 - any part of an object
    """Pod specifications occur at any depth: in a Deployment, a CronJob, and in custom resources."""
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
    """`amd64` for the `x86_64` of `uname -m` or an engine (Go: GOARCH); other names are unchanged."""
    return _ARCHITECTURES.get(machine.lower(), machine.lower())


def linux_platform(machine: str) -> str:
    """The platform in image notation, `linux/arm64` (OCI: image index, platform); empty if unknown."""
    return f"linux/{architecture(machine)}{_VARIANTS.get(machine.lower(), '')}" if machine else ""
