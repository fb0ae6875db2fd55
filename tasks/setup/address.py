"""Where a release's file and its checksum are published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from tasks.setup.target import Target

if TYPE_CHECKING:
    from tasks.settings.tree import Tools


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of a release. Addresses may hold a mirror's credentials: only `shown` ones are for eyes."""

    program: str
    version: str
    url: str
    checksum_url: str
    name: str
    """As the list of checksums names it."""
    listed: bool
    """The checksums of all files of the release stand in one list."""
    member: str | None = None
    """The program inside the archive; None: the file is the program."""
    target: Target

    @property
    def file(self) -> str:
        """Names this file, this version and this machine's kind: for a file on disk."""
        return f"{self.program}-{self.version}-{self.target}"

    @property
    def setting(self) -> str:
        """The setting that names another server."""
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


def shown(url: str) -> str:
    """The address without user, password, query and fragment: those of mirrors and redirects hold secrets."""
    try:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return "an address that cannot be read"
