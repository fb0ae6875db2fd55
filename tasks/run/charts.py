"""Charts: where they come from, and where their archives are cached."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.digest import sha256
from tasks.core.errors import BadInput, LaunchError
from tasks.facts.endpoint import on_loopback
from tasks.facts.facts import Facts
from tasks.settings.schema import Release

if TYPE_CHECKING:
    from tasks.run.chart_dependencies import Remote, Source


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart in one version."""

    reference: str
    """repository/chart, oci://…, a path, or for a dependency the address of a repository that no setting names."""
    version: str | None
    url: str | None
    """The repository's address; None for OCI and paths."""
    identity: str
    """Changes when another chart would be installed."""
    path: Path | None = None
    """A chart on this machine."""
    source: Source | None = None
    """What a chart on this machine is built from, where dependencies of it are missing."""
    parent: str = ""
    """Of a dependency: what it is a dependency of, as text."""

    @property
    def id(self) -> str:
        """Short, fit for a folder's name."""
        key = self.identity if self.source is not None else f"{self.url} {self.reference} {self.version}"
        return sha256(key, 16)

    @property
    def display(self) -> str:
        """For people."""
        return f"{self.reference} {self.version}" if self.version else self.reference

    @property
    def step(self) -> str:
        """The step that fetches or builds it."""
        return f"helm: {'fetch' if self.source is None else 'build'} {self.display}"

    @property
    def repository(self) -> str | None:
        """The repository's name: for one that no setting names, made from its address."""
        if self.url is None:
            return None
        if "://" in self.reference:
            return f"unnamed-{sha256(self.url, 12)}"
        return self.reference.split("/", 1)[0]

    @property
    def registry(self) -> str | None:
        """Host and port of an OCI registry; None for other charts."""
        return self.reference.split("/")[2] if self.reference.startswith("oci://") else None

    @property
    def fixed(self) -> bool:
        """Whether it is the same archive each time.

        Not so for a range of versions, nor for a registry of this machine, where a version may be pushed again.
        """
        if self.source is not None:
            return all(each.fixed for each in self.dependencies)
        return is_exact(self.version or "") and not on_this_machine(self.registry)

    @property
    def dependencies(self) -> tuple[Chart, ...]:
        """What has to be fetched before it can be built."""
        remotes = () if self.source is None else self.source.all_remotes()
        return tuple(_dependency(each, self.display) for each in remotes)

    def folder(self, facts: Facts) -> Path:
        """Where its archive is cached, or its copy with dependencies: beside those of its earlier content."""
        if self.source is None:
            return facts.paths.cache / "charts" / self.id
        place = sha256(str(self.path), 16)
        return facts.paths.cache / "built-charts" / place / self.id

    def kept(self, facts: Facts) -> Path | None:
        """The archive, or the built copy, of an earlier run; of a chart that is not `fixed` there is none."""
        if self.path is not None and self.source is None:
            return self.path
        made = "*.tgz" if self.source is None else "[!.]*"
        archives = sorted(self.folder(facts).glob(made)) if self.fixed else []
        return archives[-1] if archives else None

    def archive(self, facts: Facts) -> str:
        """What Helm installs from: the path, or what a step has fetched or built."""
        brought = facts.outputs.charts.get(self.id)
        if brought is not None:
            return brought
        kept = self.kept(facts)
        if kept is None:
            raise LaunchError(
                f"the chart {self.display} has not been fetched",
                why=f"there is no archive of it in {self.folder(facts)}",
                fix="run the task again; it fetches what is missing",
                transient=False,
            )
        return str(kept)


def is_exact(version: str) -> bool:
    """Whether it is one version; all else is a range to Helm: 1.2, ^1.2.3, >=1.0 (docs: helm, chart versions)."""
    return re.fullmatch(r"v?\d+\.\d+\.\d+(?:[-+].+)?", version) is not None


def _dependency(remote: Remote, parent: str) -> Chart:
    return Chart(
        reference=remote.reference,
        version=remote.version,
        url=remote.url,
        identity=f"{remote.url} {remote.reference} {remote.version or 'newest'}",
        parent=f"the dependency '{remote.name}' of the chart {parent}",
    )


def chart_of(facts: Facts, release: Release) -> Chart:
    """The chart of a release. Raises `BadInput` for a path that is not there."""
    reference = release.chart
    if reference.startswith("oci://"):
        return Chart(reference=reference, version=release.version, url=None, identity=f"{reference} {release.version}")
    if reference.startswith((".", "/")):
        path = (facts.root / reference).resolve()
        if not path.exists():
            raise BadInput(
                f"the chart of release '{release.name}' is not there: {path}",
                why=f"helm.releases names it as {reference}, seen from {facts.root}",
                fix="correct the path, or use repository/chart",
            )
        return _on_this_machine(reference, path, facts.settings.helm.repositories)
    url = facts.settings.helm.repositories[reference.split("/", 1)[0]]
    name = reference.split("/", 1)[1]
    return Chart(
        reference=reference, version=release.version, url=url, identity=f"{url} {name} {release.version or 'newest'}"
    )


def _on_this_machine(reference: str, path: Path, repositories: Mapping[str, str]) -> Chart:
    from tasks.run import chart_dependencies  # few launches have a chart on this machine

    source = chart_dependencies.read(path, repositories) if path.is_dir() else None
    content = chart_dependencies.digest(*(source.folders() if source is not None else (path,)))
    found = Chart(
        reference=reference, version=None, url=None, path=path, source=source, identity=f"{reference} {content}"
    )
    return replace(found, identity=" ".join([found.identity, *(each.identity for each in found.dependencies)]))


def on_this_machine(registry: str | None) -> bool:
    """Whether a registry, by its host and port, is one of this machine."""
    return registry is not None and on_loopback(host_and_port(registry)[0])


def host_and_port(registry: str) -> tuple[str, str]:
    """Of `host`, `host:port`, or `[IPv6]:port`; the port may be empty."""
    match = re.fullmatch(r"(?P<host>.+?)(?::(?P<port>[0-9]+))?", registry)
    return (match["host"].strip("[]"), match["port"] or "") if match else ("", "")
