"""Architectures of processors, in the names of Go, images and releases."""

from __future__ import annotations

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv8l": "arm",  # a 32-bit system on a 64-bit processor
}
_VARIANTS = {"armv7l": "/v7", "armv8l": "/v7"}


def architecture(machine: str) -> str:
    """`amd64` of what `uname -m`, or an engine, calls x86_64 (Go: GOARCH); other names are the same."""
    return _ARCHITECTURES.get(machine.lower(), machine.lower())


def linux_platform(machine: str) -> str:
    """As images name it, `linux/arm64` (OCI: image index, platform); empty if nothing is known."""
    return f"linux/{architecture(machine)}{_VARIANTS.get(machine.lower(), '')}" if machine else ""
