"""The dependencies of a chart's folder: which are missing in its charts/ folder, and a private copy that has them.

Like `helm dependency build` (Helm 3 and 4: `pkg/downloader/manager.go`), with three differences: the user's
folder is never written to, a `file://` dependency gets its own dependencies, too, and each is fetched separately, so
that registries over plain HTTP and over HTTPS can be combined. Conditions and tags are evaluated by Helm
at installation.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.clients import helm
from tasks.clients.helm import Ignored, helmignore
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import sha256
from tasks.core.redact import conceal_logins, without_logins

_ARCHIVE = re.compile(r"(?P<name>.+?)-(?P<version>v?\d+\.\d+\.\d+.*)\.tgz")
_NO_CHART_FILES = frozenset({".git", ".hg", ".svn"})
_GOOD = frozenset({"ok", "unpacked", "too many matches"})
"""States of `helm dependency list`; the last: one chart in two versions, by two aliases."""


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A dependency from a chart repository or an OCI registry."""

    name: str
    reference: str
    """repository/name, oci://…/name, or the address of an unconfigured repository, with /name."""
    url: str | None
    """The repository's address; None for OCI."""
    version: str | None
    """The version in Chart.lock if there is one, else the requirement of Chart.yaml."""


@dataclass(frozen=True, kw_only=True)
class Local:
    """A `file://` dependency."""

    name: str
    folder: Path
    source: Source | None
    """Its own sources; None if it needs no building."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A chart's folder with missing dependencies."""

    folder: Path
    remotes: tuple[Remote, ...]
    locals: tuple[Local, ...]

    def all_remotes(self) -> Iterator[Remote]:
        """Including those of `file://` dependencies."""
        yield from self.remotes
        for each in self.locals:
            if each.source is not None:
                yield from each.source.all_remotes()

    def folders(self) -> Iterator[Path]:
        """Every folder that it is built from."""
        yield self.folder
        for each in self.locals:
            yield from each.source.folders() if each.source is not None else (each.folder,)


def read(folder: Path, repositories: Mapping[str, str], *, above: tuple[Path, ...] = ()) -> Source | None:
    """The sources of a chart's folder; None if it can be installed as it is.

    `repositories`: addresses by name. Raises `BadInput` for a dependency that cannot be found. An invalid Chart.yaml
    is left to Helm, which reports what is wrong with it.
    """
    declared = _rows(folder, "Chart.yaml", "requirements.yaml")
    if not declared:
        return None
    locked = _rows(folder, "Chart.lock", "requirements.lock")
    unpacked, archives = _present(folder / "charts")
    remotes: list[Remote] = []
    locals_: list[Local] = []
    for number, row in enumerate(declared):
        name, address = row["name"], row["repository"]
        if name in unpacked:
            continue
        if address.startswith("file://"):
            found = _local(folder, row, repositories, above)
            if found is None and name not in archives:
                raise _unusable(folder, row, f"there is no chart in the folder {_path(folder, address)}")
            if found is not None:
                locals_.append(found)
        elif not address:
            if name not in archives:
                raise _unusable(folder, row, f"it has no repository, and {folder / 'charts' / name} does not exist")
        else:
            synced = _in_sync(declared, locked)
            version = (locked[number] if locked and synced else row)["version"]
            fitting = {"", version.removeprefix("v")}
            if name in archives and (not helm.is_exact(version) or fitting & archives[name]):
                continue
            if not synced:
                raise BadInput(
                    f"Chart.lock of the chart {folder} is out of sync with its Chart.yaml",
                    why="their dependencies or repositories differ",
                    fix=f"helm dependency update {folder}",
                )
            remotes.append(_remote(folder, row, version, repositories))
    if not remotes and not locals_:
        return None
    return Source(folder=folder, remotes=tuple(remotes), locals=tuple(locals_))


def digest(*paths: Path) -> str:
    """One digest of archives and of what Helm reads of charts' folders. Raises `BadInput` if one cannot be read."""
    return sha256((piece for path in paths for piece in _content(path)), 16)


def _content(path: Path) -> Iterator[bytes]:
    try:
        for file in [path] if path.is_file() else sorted(files(path, helmignore(path))):
            yield str(file.relative_to(path.parent)).encode() + b"\0" + file.read_bytes() + b"\0"
    except OSError as error:
        raise BadInput(
            f"the chart {path} cannot be read",
            why=f"{error.filename}: {error.strerror}",
            fix="correct its mode or owner, or remove it from the chart's folder",
        ) from None


def files(folder: Path, ignored: Ignored = lambda _path, _folder: False) -> Iterator[Path]:
    """The files of a chart's folder, following links as Helm does, except ignored ones and those of version control."""
    for at, inner, names in os.walk(folder, followlinks=True):
        here = Path(at).resolve()
        inner[:] = [
            name
            for name in inner
            if name not in _NO_CHART_FILES
            and not ignored(Path(at, name).relative_to(folder).as_posix(), True)
            and not (Path(at, name).is_symlink() and here.is_relative_to(Path(at, name).resolve()))  # a cycle of links
        ]
        found = (Path(at, name) for name in names)
        yield from (
            path for path in found if path.is_file() and not ignored(path.relative_to(folder).as_posix(), False)
        )


def assemble(
    source: Source, target: Path, archive: Callable[[Remote], Path], package: Callable[[Path, Path, str], None]
) -> None:
    """Create a copy of the chart's folder at `target`, with all dependencies in its charts/ folder.

    `archive`: path of a fetched one. `package`: packages a chart's folder into an archive, in another folder.
    """
    for file in files(source.folder):
        copy = target / file.relative_to(source.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    charts = target / "charts"
    charts.mkdir(parents=True, exist_ok=True)
    brought = {each.name for each in source.remotes} | {local.name for local in source.locals}
    for path in charts.glob("*.tgz"):
        if _of(path)[0] in brought:
            path.unlink()
    for each in source.remotes:
        found = archive(each)
        shutil.copyfile(found, charts / found.name)
    for number, local in enumerate(source.locals):
        made = local.folder
        if local.source is not None:
            made = target.with_name(f"{target.name}-{number}")
            assemble(local.source, made, archive, package)
        package(made, charts, f"the dependency '{local.name}' of the chart {source.folder}")


def check(listed: str, folder: Path) -> None:
    """Check the output of `helm dependency list` for the copy. Raises `LaunchError` for one that does not fit."""
    for line in listed.splitlines()[1:]:
        name, version, repository, state = ([part.strip() for part in line.split("\t")] + [""] * 4)[:4]
        if state and state not in _GOOD:
            raise LaunchError(
                f"the dependency '{name}' of the chart {folder} does not fit: {state}",
                why=f"Chart.yaml requires {name} {version} of {repository or 'its charts/ folder'}; "
                "Chart.lock or the folder has another one",
                fix=f"correct its Chart.yaml, then: helm dependency update {folder}",
            )


def _rows(folder: Path, *names: str) -> list[dict[str, str]]:
    """The dependencies in the first of these files that has some."""
    for name in names:
        rows = _document(folder / name, "dependencies").get("dependencies")
        try:
            found = [{key: str(row.get(key) or "") for key in ("name", "version", "repository")} for row in rows or ()]
        except (AttributeError, TypeError):
            continue
        for row in found:
            conceal_logins(row["repository"])
        if found:
            return found
    return []


def _document(path: Path, word: str) -> dict[str, Any]:
    """The content of a chart's file if it has this word; empty if it is invalid: Helm reports why."""
    try:
        text = path.read_text(encoding="utf-8")
        if word not in text:
            return {}
        from tasks.core import yaml

        found = yaml.load(text)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _present(charts: Path) -> tuple[set[str], dict[str, set[str]]]:
    """Contents of a charts/ folder: names of charts in folders, and versions of archives by name, "" if unknown.

    Helm uses the name in Chart.yaml, whatever the folder is called (Helm: `CheckDependencies`).
    """
    unpacked: set[str] = set()
    archives: dict[str, set[str]] = {}
    for path in sorted(charts.iterdir()) if charts.is_dir() else ():
        if (path / "Chart.yaml").is_file():
            unpacked |= {path.name, str(_document(path / "Chart.yaml", "name").get("name"))}
        elif path.suffix == ".tgz" and path.is_file():
            name, version = _of(path)
            archives.setdefault(name, set()).add(version.removeprefix("v"))
    return unpacked, archives


def _of(archive: Path) -> tuple[str, str]:
    """Name and version of an archive, from its file name."""
    match = _ARCHIVE.fullmatch(archive.name)
    return (match["name"], match["version"]) if match else (archive.stem, "")


def _in_sync(declared: list[dict[str, str]], locked: list[dict[str, str]]) -> bool:
    """Whether Chart.lock, if there is one, matches these dependencies. It has addresses instead of aliases."""
    if not locked:
        return True
    if [row["name"] for row in declared] != [row["name"] for row in locked]:
        return False
    return all(
        _alias(row["repository"]) is not None or row["repository"].rstrip("/") == other["repository"].rstrip("/")
        for row, other in zip(declared, locked, strict=True)
    )


def _alias(repository: str) -> str | None:
    """The name of a configured repository; None for an address."""
    for mark in ("@", "alias:"):
        if repository.startswith(mark):
            return repository.removeprefix(mark)
    return None


def _remote(folder: Path, row: dict[str, str], version: str, repositories: Mapping[str, str]) -> Remote:
    name, address = row["name"], row["repository"].rstrip("/")
    if address.startswith("oci://"):
        return Remote(name=name, reference=f"{address}/{name}", url=None, version=version or None)
    alias = _alias(address)
    if alias is None:
        alias = next((key for key, url in repositories.items() if url.rstrip("/") == address), None)
    elif alias not in repositories:
        there = ", ".join(repositories) or "none"
        raise _unusable(
            folder, row, f"no repository is named '{alias}'; there are: {there}", fix=f"add helm.repositories.{alias}"
        )
    if alias is not None:
        return Remote(name=name, reference=f"{alias}/{name}", url=repositories[alias], version=version or None)
    if not address.startswith(("https://", "http://")):
        raise _unusable(
            folder, row, f"its repository is '{address}'", fix="write https://…, oci://…, file://…, or @NAME"
        )
    return Remote(name=name, reference=f"{without_logins(address)}/{name}", url=address, version=version or None)


def _path(folder: Path, address: str) -> Path:
    return Path(os.path.normpath(folder / address.removeprefix("file://")))


def _local(folder: Path, row: dict[str, str], repositories: Mapping[str, str], above: tuple[Path, ...]) -> Local | None:
    """None if its folder does not exist."""
    path = _path(folder, row["repository"])
    if not (path / "Chart.yaml").is_file():
        return None
    trail = (*above, folder.resolve())
    if path.resolve() in trail:
        ring = " → ".join(str(each) for each in (*trail[trail.index(path.resolve()) :], path.resolve()))
        raise _unusable(folder, row, f"charts depend on each other in a cycle: {ring}", fix="remove one")
    return Local(name=row["name"], folder=path, source=read(path, repositories, above=trail))


def _unusable(folder: Path, row: dict[str, str], why: str, *, fix: str = "") -> BadInput:
    return BadInput(
        f"the dependency '{row['name']}' of the chart {folder} cannot be resolved",
        why=why,
        fix=fix or f"correct its `repository` in {folder / 'Chart.yaml'}",
    )
