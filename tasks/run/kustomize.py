"""The user's folders of manifests that have a kustomization: rendered by kubectl, when facts are gathered."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tasks.clients import kubectl
from tasks.core.errors import BadInput
from tasks.process.command import CommandFailed, Programs
from tasks.run.own_manifests import kustomized as folders
from tasks.run.session import Session

_AT_ONCE = 4
_OUTSIDE = frozenset({"prepull", "registry"})
"""Parts that put nothing into a cluster."""


def kustomized(session: Session, programs: Programs, parts: Collection[str]) -> dict[Path, str]:
    """The text of each such folder, for a task that works in a cluster. Raises `BadInput` for one that cannot be."""
    found = folders([file.path for file in session.settings.manifests.files], session.root)
    if not found or set(parts) <= _OUTSIDE:
        return {}
    deadline = session.settings.timeouts.command
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return dict(zip(found, pool.map(lambda folder: _rendered(programs, folder, deadline), found), strict=True))


def _rendered(programs: Programs, folder: Path, deadline: float) -> str:
    command = kubectl.kustomize(folder, deadline=deadline)
    try:
        return programs.run(command, quiet=True).out
    except CommandFailed as error:
        raise BadInput(
            f"{folder}, which manifests.files names, cannot be rendered",
            why=error.what,
            fix=f"correct its kustomization; to see it alone: {command.paste()}",
        ) from None
