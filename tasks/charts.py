"""Charts: where they come from, and the steps that bring them while the cluster starts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.acting import run, running
from tasks.core.files import prefix, write_whole
from tasks.core.lock import held
from tasks.engine.step import Action, Context, Report, Retry, Step
from tasks.errors import BadInput, LaunchError
from tasks.settings.tree import Release
from tasks.situation import Situation
from tasks.tools import helm
from tasks.tools.program import DeadlinePassed

TASK = "helm"
REPOSITORIES = "helm: update repositories"
_EXACT = re.compile(r"v?\d+\.\d+\.\d+(?:[-+].+)?")
"""One version; everything else is a range of them to Helm: 1.2, ^1.2.3, >=1.0 (docs: helm, chart versions)."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart in one version."""

    reference: str
    """repository/chart, oci://…, or a path."""
    version: str | None
    url: str | None
    """The repository's address; None for OCI and paths."""
    identity: str
    """Changes when another chart would be installed."""
    path: Path | None = None
    """A chart on this machine."""

    @property
    def id(self) -> str:
        """Short, fit for a folder's name."""
        return hashlib.sha256(f"{self.url} {self.reference} {self.version}".encode()).hexdigest()[:16]

    @property
    def display(self) -> str:
        """For people."""
        return f"{self.reference} {self.version}" if self.version else self.reference

    @property
    def step(self) -> str:
        """The step that fetches it."""
        return f"helm: fetch {self.display}"

    @property
    def repository(self) -> str | None:
        """The repository's name."""
        return self.reference.split("/", 1)[0] if self.url is not None else None

    def folder(self, situation: Situation) -> Path:
        """Where its archive is kept."""
        return situation.folders.cache / "charts" / self.id

    def kept(self, situation: Situation) -> Path | None:
        """The archive of an earlier run; a chart without a version, or with a range of them, is asked for again."""
        if self.path is not None:
            return self.path
        archives = sorted(self.folder(situation).glob("*.tgz")) if _EXACT.fullmatch(self.version or "") else []
        return archives[-1] if archives else None

    def archive(self, situation: Situation) -> str:
        """What Helm installs from: the path, or the archive that a step has brought."""
        brought = situation.handover.charts.get(self.id)
        if brought is not None:
            return brought
        kept = self.kept(situation)
        if kept is None:
            raise LaunchError(
                f"the chart {self.display} has not been fetched",
                why=f"there is no archive of it in {self.folder(situation)}",
                fix="run the task again; it fetches what is missing",
                transient=False,
            )
        return str(kept)


def chart_of(situation: Situation, release: Release) -> Chart:
    """The chart of a release. Raises `BadInput` for a path that is not there."""
    reference = release.chart
    if reference.startswith("oci://"):
        return Chart(reference=reference, version=release.version, url=None, identity=f"{reference} {release.version}")
    if reference.startswith((".", "/")):
        path = (situation.root / reference).resolve()
        if not path.exists():
            raise BadInput(
                f"the chart of release '{release.name}' is not there: {path}",
                why=f"helm.releases names it as {reference}, seen from {situation.root}",
                fix="correct the path, or use repository/chart",
            )
        return Chart(
            reference=reference, version=release.version, url=None, path=path, identity=f"{reference} {_digest(path)}"
        )
    url = situation.settings.helm.repositories[reference.split("/", 1)[0]]
    name = reference.split("/", 1)[1]
    return Chart(
        reference=reference, version=release.version, url=url, identity=f"{url} {name} {release.version or 'newest'}"
    )


def _digest(path: Path) -> str:
    """Of an archive, or of all files of a chart's folder."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    for file in files:
        digest.update(str(file.relative_to(path.parent)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def fetch_steps(situation: Situation, charts: tuple[Chart, ...], wanted: frozenset[str]) -> list[Step]:
    """Update the repositories of charts that must come, all at once; then a download for each chart."""
    unique = {chart.id: chart for chart in charts}
    missing = {chart.id: chart for chart in unique.values() if chart.id in wanted and chart.kept(situation) is None}
    used = {chart.repository: chart.url for chart in missing.values() if chart.repository and chart.url}
    found: list[Step] = []
    if any(chart.url for chart in unique.values()):
        found.append(_update(situation, {str(name): str(url) for name, url in used.items()}))
    for chart in unique.values():
        if chart.path is not None:
            continue
        skip = None
        if chart.id not in missing:
            skip = "it was fetched before" if chart.id in wanted else "its releases need no change"
        found.append(
            Step(
                name=chart.step,
                task=TASK,
                action=_fetch(situation, chart),
                needs=(REPOSITORIES,) if chart.url else (),
                skip=skip,
                deadline=situation.settings.timeouts.pull,
                retry=Retry(attempts=4, first=1.0, cap=10.0),
                why="from " + (chart.url or "its OCI registry"),
                expected=1.0,
            )
        )
    return found


def _update(situation: Situation, used: dict[str, str]) -> Step:
    if not used:
        return Step(name=REPOSITORIES, task=TASK, skip="no chart has to be fetched from them")
    deadline = situation.settings.timeouts.pull
    update = running(situation.helm_programs, helm.update(sorted(used), situation.helm_major, deadline))

    def act(context: Context) -> Report | None:
        path = situation.folders.cache / "config" / "repositories.yaml"
        with held(path.with_suffix(".lock"), TASK, context.deadline):  # launches of other clusters use them too
            write_whole(path, helm.repositories({**_known(path), **used}))
        try:
            return update(context)
        except DeadlinePassed as error:
            raise _silent(error, used, deadline) from error

    return Step(
        name=REPOSITORIES,
        task=TASK,
        action=act,
        deadline=deadline,
        retry=Retry(attempts=4, first=1.0, cap=10.0),
        why=", ".join(sorted(used)) + ": the others are not used now",
        expected=1.0,
    )


def _silent(error: DeadlinePassed, used: Mapping[str, str], deadline: float) -> LaunchError:
    """Which repositories have not answered: Helm names those that have."""
    silent = {name: url for name, url in used.items() if f'from the "{name}" chart repository' not in error.done.out}
    named = ", ".join(f"{name} ({url})" for name, url in (silent or used).items())
    return LaunchError(
        f"no answer within {deadline:g} s from the chart repository {named}",
        why="it took the connection, or lets it wait, and has not sent its index.yaml",
        fix="see that it answers (a browser, curl -v URL/index.yaml), and that no proxy holds it up; "
        "timeouts.pull is a setting",
        exit_code=error.exit_code,
    )


def _known(path: Path) -> dict[str, str]:
    """Repositories that are in the file already; what is not as we write it is written anew."""
    from tasks.core import yaml

    try:
        rows = yaml.load(path.read_text(encoding="utf-8"))["repositories"]
        return {str(row["name"]): str(row["url"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _fetch(situation: Situation, chart: Chart) -> Action:
    def act(context: Context) -> Report | None:
        import tempfile

        folder = chart.folder(situation)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder, prefix=prefix("chart")) as fresh:
            command = helm.pull(chart.reference, chart.version, Path(fresh), situation.settings.timeouts.pull)
            run(situation.helm_programs, command, context)
            brought = sorted(Path(fresh).glob("*.tgz"))
            if not brought:
                raise LaunchError(
                    f"helm pull of {chart.display} left no archive",
                    why="it ended well, but wrote no .tgz file",
                    fix=f"try it by hand: {command.paste()}",
                )
            kept = folder / brought[0].name
            brought[0].replace(kept)  # whole or not at all
        situation.handover.charts[chart.id] = str(kept)
        return Report(why=kept.name, exit_code=0)

    return act
