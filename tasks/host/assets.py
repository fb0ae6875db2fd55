"""URLs of a release's file and its checksum."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.core.errors import LaunchError
from tasks.core.imageref import architecture
from tasks.core.redact import bare_address

if TYPE_CHECKING:
    from tasks.settings.schema import Tools

_PUBLISHED = frozenset({"linux-amd64", "linux-arm64", "linux-arm", "darwin-amd64", "darwin-arm64"})
"""Platforms that all three publish (k3d: TARGETS in its Makefile; Helm: the same; kubectl: https://dl.k8s.io)."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The platform of a release."""

    system: str
    arch: str

    def __str__(self) -> str:
        return f"{self.system}-{self.arch}"


def target(system: str, machine: str) -> Target:
    """From `uname -s` and `uname -m`. Raises `LaunchError` if nothing is published for it."""
    found = Target(system=system.lower(), arch=architecture(machine))
    if str(found) not in _PUBLISHED:
        raise LaunchError(
            f"k3d, kubectl and helm cannot be downloaded for {system} on {machine}",
            why=f"published for all three: {', '.join(sorted(_PUBLISHED))}",
            fix="put them on the PATH yourself; existing ones are used",
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of a release. Addresses may contain a mirror's credentials: only those of `bare_address` are shown."""

    program: str
    version: str
    url: str
    checksum_url: str
    name: str
    """Its name in the list of checksums."""
    listed: bool
    """Whether one list has the checksums of all files of the release."""
    member: str | None = None
    """The program inside the archive; None: the file is the program."""
    target: Target

    @property
    def file(self) -> str:
        """Identifies this file, version and platform: for a file on disk."""
        return f"{self.program}-{self.version}-{self.target}"

    @property
    def setting(self) -> str:
        """The setting for another server."""
        return f"tools.{self.program}_url"


def asset(program: str, version: str, target: Target, tools: Tools) -> Asset:
    """The file of one program.

    Sources: k3d's Makefile (`build-cross`, `gen-checksum`); Kubernetes, "Install kubectl on Linux";
    Helm's Makefile (`dist`, `checksum`) and scripts/get-helm-4.
    """
    base = {"k3d": tools.k3d_url, "kubectl": tools.kubectl_url, "helm": tools.helm_url}[program].rstrip("/")
    if program == "k3d":
        name = f"k3d-{target}"
        url, sums = f"{base}/{version}/{name}", f"{base}/{version}/checksums.txt"
    elif program == "kubectl":
        name = "kubectl"
        url = f"{base}/{version}/bin/{target.system}/{target.arch}/{name}"
        sums = f"{url}.sha256"
    else:
        name = f"helm-{version}-{target}.tar.gz"
        url = f"{base}/{name}"
        sums = f"{url}.sha256sum"
    return Asset(
        program=program,
        version=version,
        url=url,
        checksum_url=sums,
        name=name,
        listed=program == "k3d",
        member=f"{target}/helm" if program == "helm" else None,
        target=target,
    )


_LINE = re.compile(r"([0-9a-fA-F]{64})(?:\s+\*?(\S.*))?")


def published(text: str, asset: Asset) -> str:
    """The SHA-256 of the asset in the text of its checksum file, in lower case. Raises `LaunchError`.

    Lines are those of `sha256sum`; names may include a folder (k3d: `_dist/k3d-linux-amd64`). A sum
    without a name is accepted only from a checksum file for a single asset.
    """
    sums: set[str] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise _wrong(asset, f"line {number} is not a checksum: {line.strip()[:60]!r}")
        name = match[2].rpartition("/")[2] if match[2] else None
        if name == asset.name or (name is None and not asset.listed):
            sums.add(match[1].lower())
    if len(sums) != 1:
        raise _wrong(asset, f"it contains {'several different sums' if sums else 'no sum'} for {asset.name}")
    return sums.pop()


def mismatch(asset: Asset, wanted: str, got: str, *, transient: bool) -> LaunchError:
    """The error for a download that does not match its checksum."""
    return LaunchError(
        f"the download of {asset.program} {asset.version} does not match its checksum, and was deleted",
        why=f"published is {wanted}, downloaded was {got}, from {bare_address(asset.url)}",
        fix=f"try again; if it stays so, a server or a proxy serves something else: "
        f"set {asset.setting} to another mirror, or put {asset.program} on the PATH",
        transient=transient,
    )


def _wrong(asset: Asset, why: str) -> LaunchError:
    return LaunchError(
        f"{bare_address(asset.checksum_url)} is not a usable checksum file",
        why=f"{why}; nothing is installed unverified",
        fix=f"check it in a browser; set {asset.setting} to another mirror, or put {asset.program} on the PATH",
    )
