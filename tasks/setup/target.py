"""The machine's system and architecture, in the names that releases use."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.core.platforms import architecture
from tasks.errors import LaunchError

_SYSTEMS = {"linux": "linux", "darwin": "darwin"}
_PUBLISHED = frozenset({"linux-amd64", "linux-arm64", "linux-arm", "darwin-amd64", "darwin-arm64"})
"""What all three publish (k3d: TARGETS in its Makefile; Helm: the same; kubectl: https://dl.k8s.io)."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a release is for."""

    system: str
    arch: str

    def __str__(self) -> str:
        return f"{self.system}-{self.arch}"


def target(system: str, machine: str) -> Target:
    """From what `uname -s` and `uname -m` say. Raises `LaunchError` where nothing is published for it."""
    found = Target(
        system=_SYSTEMS.get(system.lower(), system.lower()),
        arch=architecture(machine),
    )
    if str(found) not in _PUBLISHED:
        raise LaunchError(
            f"k3d, kubectl and helm cannot be fetched for {system} on {machine}",
            why=f"what is published for all three: {', '.join(sorted(_PUBLISHED))}",
            fix="put them on the PATH yourself; what is there is used",
        )
    return found
