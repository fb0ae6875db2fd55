"""Charts: their sources, and the steps that download them while the cluster starts."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.clients import helm
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import prefix, sha256, write_whole
from tasks.diagnose.command import command_action, run_command
from tasks.engine.step import Context, Report, Retry, Step
from tasks.engine.work import FetchChart, UpdateRepositories
from tasks.facts.endpoint import host_and_port, on_this_machine
from tasks.facts.facts import Facts
from tasks.process.command import Command, CommandFailed, DeadlinePassed
from tasks.settings.derived import PUSH_REGISTRY, push_container
from tasks.settings.schema import Release

if TYPE_CHECKING:
    from tasks.run.chart_dependencies import Remote, Source

TASK = "helm"
REPOSITORIES = "helm: update repositories"
_PLAIN = "--plain-http"
_RETRY = Retry(attempts=4, first=1.0, cap=10.0)
_OLD = 30 * 24 * 3600.0
"""Seconds after which cached archives of a chart's earlier content, or of other repositories, are removed."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart in one version."""

    reference: str
    """repository/chart, oci://…, a path, or for a dependency the address of an unconfigured repository."""
    version: str | None
    url: str | None
    """The repository's address; None for OCI and paths."""
    identity: str
    """Changes when another chart would be installed."""
    path: Path | None = None
    """A chart on this machine."""
    source: Source | None = None
    """Sources of a chart on this machine with missing dependencies."""
    parent: str = ""
    """For a dependency: a description of its parent."""

    @property
    def id(self) -> str:
        """Short, usable as a folder's name."""
        key = self.identity if self.source is not None else f"{self.url} {self.reference} {self.version}"
        return sha256(key, 16)

    @property
    def display(self) -> str:
        """For display."""
        return f"{self.reference} {self.version}" if self.version else self.reference

    @property
    def step(self) -> str:
        """The step that fetches or builds it."""
        return f"helm: {'fetch' if self.source is None else 'build'} {self.display}"

    @property
    def repository(self) -> str | None:
        """The repository's name: for an unconfigured one, derived from its address."""
        if self.url is None:
            return None
        return f"unnamed-{sha256(self.url, 12)}" if "://" in self.reference else self.reference.split("/", 1)[0]

    @property
    def registry(self) -> str | None:
        """Host and port of an OCI registry; None for other charts."""
        return self.reference.split("/")[2] if self.reference.startswith("oci://") else None

    @property
    def fixed(self) -> bool:
        """Whether its archive never changes: not for a version range, nor for a registry that may replace it."""
        if self.source is not None:
            return all(each.fixed for each in self.dependencies)
        return helm.is_exact(self.version or "") and not on_this_machine(self.registry)

    @property
    def dependencies(self) -> tuple[Chart, ...]:
        """What has to be fetched before it can be built."""
        remotes = () if self.source is None else self.source.all_remotes()
        return tuple(
            Chart(
                reference=each.reference,
                version=each.version,
                url=each.url,
                identity=f"{each.url} {each.reference} {each.version or 'newest'}",
                parent=f"the dependency '{each.name}' of the chart {self.display}",
            )
            for each in remotes
        )

    def folder(self, facts: Facts) -> Path:
        """Where its archive, or its copy with dependencies, is cached."""
        if self.source is None:
            return facts.paths.cache / "charts" / self.id
        return facts.paths.cache / "built-charts" / sha256(str(self.path), 16) / self.id

    def cached(self, facts: Facts) -> Path | None:
        """The archive, or the built copy, of an earlier run; none for a chart that is not `fixed`."""
        if self.path is not None and self.source is None:
            return self.path
        if facts.bundle is not None and self.id in facts.bundle.lock.charts:
            return self.folder(facts) / facts.bundle.lock.charts[self.id].file
        made = "*.tgz" if self.source is None else "[!.]*"
        archives = sorted(self.folder(facts).glob(made)) if self.fixed else []
        return archives[-1] if archives else None

    def archive(self, facts: Facts) -> str:
        """What Helm installs from: the path, or the result of a fetch or build step."""
        brought = facts.outputs.charts.get(self.id)
        if brought is not None:
            return brought
        cached = self.cached(facts)
        if cached is None:
            raise LaunchError(
                f"the chart {self.display} has not been fetched",
                why=f"there is no archive of it in {self.folder(facts)}",
                fix="run the task again; it fetches what is missing",
                transient=False,
            )
        return str(cached)


def chart_of(facts: Facts, release: Release) -> Chart:
    """The chart of a release. Raises `BadInput` for a path that does not exist."""
    reference = release.chart
    if reference.startswith("oci://"):
        return Chart(reference=reference, version=release.version, url=None, identity=f"{reference} {release.version}")
    if reference.startswith((".", "/")):
        path = (facts.root / reference).resolve()
        if not path.is_file() and not (path / "Chart.yaml").is_file():
            raise BadInput(
                f"the chart of release '{release.name}' does not exist: {path}",
                why=f"helm.releases has it as {reference}, relative to {facts.root}; a folder needs a Chart.yaml",
                fix="correct the path, or use repository/chart",
            )
        return _on_this_machine(reference, path, facts.settings.helm.repositories)
    url = facts.settings.helm.repositories[reference.split("/", 1)[0]]
    name = reference.split("/", 1)[1]
    return Chart(
        reference=reference, version=release.version, url=url, identity=f"{url} {name} {release.version or 'newest'}"
    )


def _on_this_machine(reference: str, path: Path, repositories: Mapping[str, str]) -> Chart:
    from tasks.run import chart_dependencies

    source = chart_dependencies.read(path, repositories) if path.is_dir() else None
    content = chart_dependencies.digest(*(source.folders() if source is not None else (path,)))
    found = Chart(
        reference=reference, version=None, url=None, path=path, source=source, identity=f"{reference} {content}"
    )
    return replace(found, identity=" ".join([found.identity, *(each.identity for each in found.dependencies)]))


def fetch_steps(facts: Facts, charts: tuple[Chart, ...], wanted: frozenset[str]) -> list[Step]:
    """Update the repositories of required charts at once; then a download for each chart.

    A chart on this machine with missing dependencies is built after their downloads.
    """
    unique = {chart.id: chart for chart in charts}
    missing = {chart.id: chart for chart in unique.values() if chart.id in wanted and chart.cached(facts) is None}
    for chart in tuple(missing.values()):
        for each in chart.dependencies:
            unique.setdefault(each.id, each)
            wanted |= {each.id}
            if each.cached(facts) is None:
                missing.setdefault(each.id, each)
    used = {chart.repository: chart for chart in missing.values() if chart.repository is not None}
    found: list[Step] = []
    if any(chart.url for chart in unique.values()):
        found.append(_update(facts, used))
    for chart in sorted(unique.values(), key=lambda each: each.source is not None):  # builds need the others
        if chart.path is not None and chart.source is None:
            continue
        skip = None
        if chart.id not in missing:
            earlier = "already fetched" if chart.source is None else "already built"
            skip = earlier if chart.id in wanted else "its releases need no change"
        found.append(_step(facts, chart, skip))
    return found


def _step(facts: Facts, chart: Chart, skip: str | None) -> Step:
    """The step that fetches a chart, or builds a copy with its dependencies."""
    common = Step(name=chart.step, task=TASK, skip=skip, deadline=facts.settings.timeouts.pull)
    if chart.source is not None:
        return replace(
            common,
            action=partial(_build, facts, chart),
            needs=tuple(each.step for each in chart.dependencies),
            why="a copy with the dependencies missing in its charts/ folder",
            expected=0.5,
        )
    return replace(
        common,
        action=partial(_fetch, facts, chart),
        needs=(REPOSITORIES,) if chart.url else (PUSH_REGISTRY,) if _on_push_registry(chart.registry, facts) else (),
        retry=_RETRY,
        why="from " + (chart.url or "its OCI registry") + (f": {chart.parent}" if chart.parent else ""),
        expected=1.0,
        work=FetchChart(chart=chart.id),
    )


def _on_push_registry(registry: str | None, facts: Facts) -> bool:
    """Whether a registry is this project's push registry: by its name, or by its port on loopback."""
    if registry is None or not facts.settings.registries.push:
        return False
    name = push_container(facts.settings)
    host, port = host_and_port(registry)
    there = facts.registries.get(name)
    ports = {str(facts.settings.registries.port), str(there.port) if there is not None else ""}
    return host == name or (on_this_machine(registry) and port in ports - {""})


def _update(facts: Facts, used: Mapping[str, Chart]) -> Step:
    """`used`: a chart of each repository, by the repository's name."""
    if not used:
        return Step(name=REPOSITORIES, task=TASK, skip="no chart has to be fetched from them")
    deadline = facts.settings.timeouts.pull
    urls = {name: str(chart.url) for name, chart in used.items()}
    update = command_action(facts.helm_programs, helm.update(sorted(used), facts.helm_major, deadline))

    def act(context: Context) -> Report | None:
        folder = facts.paths.repositories(facts.settings.helm.repositories)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(folder / helm.REPOSITORIES, helm.repositories(urls))
        _prune(folder)
        try:
            return update(context)
        except DeadlinePassed as error:
            raise _silent(error, urls, deadline) from error
        except CommandFailed as error:
            parents = [each.parent for each in used.values() if each.parent and str(each.url) in error.done.out]
            with _about(parents[0] if parents else ""):
                raise

    return Step(
        name=REPOSITORIES,
        task=TASK,
        action=act,
        deadline=deadline,
        retry=_RETRY,
        why=", ".join(chart.reference.rpartition("/")[0] for _, chart in sorted(used.items()))
        + ": the others are not used now",
        expected=1.0,
        work=UpdateRepositories(),
    )


def _silent(error: DeadlinePassed, used: Mapping[str, str], deadline: float) -> LaunchError:
    """Names the repositories that have not answered: Helm prints those that have."""
    silent = {name: url for name, url in used.items() if f'from the "{name}" chart repository' not in error.done.out}
    named = ", ".join(f"{name} ({url})" for name, url in (silent or used).items())
    return LaunchError(
        f"no answer within {deadline:g} s from the chart repository {named}",
        why="it accepted the connection or left it pending, and has not sent its index.yaml",
        fix="check that it answers (a browser, curl -v URL/index.yaml), and that no proxy delays it; "
        "timeouts.pull is a setting",
        exit_code=error.exit_code,
    )


def _prune(folder: Path) -> None:
    """Remove neighbours that have not been used for long; mark it as used. Failures only cost disk space."""
    with contextlib.suppress(OSError):
        folder.touch()
        for each in folder.parent.iterdir():
            if each != folder and each.stat().st_mtime < time.time() - _OLD:
                shutil.rmtree(each, ignore_errors=True)


def _fetch(facts: Facts, chart: Chart, context: Context) -> Report:
    folder = chart.folder(facts)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    named = None if chart.repository is None else (chart.repository, chart.reference.rpartition("/")[0])
    with tempfile.TemporaryDirectory(dir=folder, prefix=prefix("chart")) as fresh, _about(chart.parent, named):
        command = _pulled(facts, chart, Path(fresh), context)
        brought = sorted(Path(fresh).glob("*.tgz"))
        fault = helm.fault_of(brought[0]) if brought else "it succeeded, but wrote no .tgz file"
        if fault:
            raise LaunchError(
                f"helm pull of {chart.display} left no archive of a chart",
                why=fault,
                fix=f"try it by hand: {command.paste()}",
                transient=bool(brought),
            )
        cached = brought[0].replace(folder / brought[0].name)  # atomic
    facts.outputs.charts[chart.id] = str(cached)
    return Report(why=cached.name, exit_code=0)


def _pulled(facts: Facts, chart: Chart, folder: Path, context: Context) -> Command:
    """Download into this folder; returns the successful command."""
    reference, options = source_of(facts, chart)
    command = helm.pull(reference, chart.version, folder, facts.settings.timeouts.pull, options)
    try:
        run_command(facts.helm_programs, command, context)
    except CommandFailed as error:
        if not (_PLAIN in options and "status code 400" in error.done.err):
            raise
        options = tuple(each for each in options if each != _PLAIN)  # it uses TLS despite loopback
        command = helm.pull(reference, chart.version, folder, facts.settings.timeouts.pull, options)
        run_command(facts.helm_programs, command, context)
    return command


def source_of(facts: Facts, chart: Chart) -> tuple[str, tuple[str, ...]]:
    """The reference of a chart for Helm, and the options for pulling it."""
    settings, name = facts.settings, push_container(facts.settings)
    if chart.registry is None:
        return f"{chart.repository}/{chart.reference.rpartition('/')[2]}", ()
    reference, host = chart.reference, host_and_port(chart.registry)[0]
    if host == name:  # a name that only containers can resolve
        port = facts.outputs.registry_ports.get(name) or getattr(facts.registries.get(name), "port", None)
        reference = reference.replace(chart.registry, f"127.0.0.1:{port or settings.registries.port}", 1)
    plain = host == name or on_this_machine(chart.registry) or chart.registry in settings.helm.plain_http
    return reference, helm.access(plain_http=plain, registry_config=_logins(facts))


def _logins(facts: Facts) -> Path | None:
    """The file of the user's logins. Raises `BadInput` if the configured one does not exist."""
    named = facts.settings.helm.registry_config
    if named is None:
        usual = helm.logins(facts.environ)
        return usual if usual is not None and os.access(usual, os.R_OK) else None  # without it Helm uses Docker's
    path = facts.root / named
    if not path.is_file():
        raise BadInput(
            f"the file of logins to OCI registries does not exist: {path}",
            why="helm.registry_config names it",
            fix="correct the path, or create it: helm registry login HOST --registry-config FILE",
        )
    return path


def _build(facts: Facts, chart: Chart, context: Context) -> Report:
    from tasks.run import chart_dependencies

    assert chart.source is not None
    folder, deadline = chart.folder(facts), facts.settings.timeouts.command
    fetched = {(each.reference, each.version): each for each in chart.dependencies}

    def archive(remote: Remote) -> Path:
        return Path(fetched[remote.reference, remote.version].archive(facts))

    def package(made: Path, where: Path, what: str) -> None:
        with _about(what):
            run_command(facts.helm_programs, helm.package(made, where, deadline), context)

    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder, prefix=prefix("chart")) as fresh:
            copy = Path(fresh, "chart")
            chart_dependencies.assemble(chart.source, copy, archive, package)
            listed = run_command(facts.helm_programs, helm.dependencies(copy, deadline), context).out
            chart_dependencies.check(listed, chart.source.folder)
            inside = ", ".join(sorted(each.name for each in (copy / "charts").iterdir()))
            built = folder / chart_dependencies.digest(copy)
            if not built.is_dir():
                copy.rename(built)
    except OSError as error:
        raise LaunchError(
            f"a copy of the chart {chart.display} cannot be created in {folder}",
            why=f"{error.filename or folder}: {error.strerror or error}",
            fix="free disk space, or correct the modes of both folders",
        ) from None
    _prune(built)
    _prune(folder)
    facts.outputs.charts[chart.id] = str(built)
    return Report(why=f"with {inside}", exit_code=0)


@contextlib.contextmanager
def _about(what: str, repository: tuple[str, str] | None = None) -> Iterator[None]:
    """Adds the context to an error inside. `repository`: its name in Helm, and its name for display."""
    try:
        yield
    except LaunchError as error:
        if repository is not None:
            error.amend(why=error.why.replace(*repository))
        if what:
            error.amend(why=f"{what}: {error.why}" if error.why else what)
        raise
