"""The values of a release, and what a release was installed with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import BadInput
from tasks.objects.fill import fill
from tasks.objects.labels import digest
from tasks.objects.reading import checked, documents, read_text

if TYPE_CHECKING:
    from tasks.settings.tree import Release


def release_values(release: Release, root: Path, values: Mapping[str, str]) -> dict[str, Any]:
    """The files of values in their order, then the values of the settings, with `${IP}` and `${DOMAIN}` filled in.

    Paths are seen from `root`. Raises `BadInput` for a file that is missing or is no mapping.
    """
    merged: dict[str, Any] = {}
    for name in release.values_files:
        merged = _merged(merged, _file(release, root, name))
    merged = _merged(merged, checked(release.values, f"helm.releases: the values of '{release.name}'"))
    filled: dict[str, Any] = fill(merged, values)
    return filled


def release_fingerprint(release: Release, chart: str, values: Mapping[str, Any]) -> str:
    """16 digits that change with the chart, its values, or where the release goes. Fit for a label's value.

    `chart` says which chart in which version it is. Timeouts, needs and waiting change nothing installed; whose values
    win does.
    """
    made = {"name": release.name, "namespace": release.namespace, "chart": chart, "values": values}
    if release.conflicts != "ours":
        made["conflicts"] = release.conflicts
    return digest(made)


def _file(release: Release, root: Path, name: str) -> dict[str, Any]:
    """A file's documents, merged as Helm 4 does; Helm 3 takes the first (source: helm, loader.LoadValues)."""
    try:
        path = root / Path(name).expanduser()
    except RuntimeError:
        raise BadInput(
            f"cannot read {name}",
            why=f"there is no home folder of that user; it is a file of values of release '{release.name}'",
            fix="correct the path",
        ) from None
    merged: dict[str, Any] = {}
    for document in documents(read_text(path, f"a file of values of release '{release.name}'"), name):
        if not isinstance(document.value, dict):
            raise BadInput(
                f"{document.place} is a {type(document.value).__name__}, not a mapping",
                why=f"it is a file of values of release '{release.name}'",
                fix="write names and values as `name: value`",
            )
        merged = _merged(merged, document.value)
    return merged


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else is replaced, as Helm merges files (source: helm, loader.MergeMaps).

    null replaces too, and is kept: Helm takes it as the wish to delete the chart's own default.
    """
    done = dict(below)
    for name, value in above.items():
        old = done.get(name)
        done[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return done
