"""A project's folder as the tests of this room know it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tasks.core.errors import BadInput
from tasks.settings.merge import rows
from tasks.settings.resolve import Resolved, resolve


def project(root: Path, invoke: str | None = None, **profiles: str) -> Path:
    """Write invoke.yaml and profiles; `low_memory` becomes config/low-memory.yaml."""
    (root / "config").mkdir(exist_ok=True)
    if invoke is not None:
        (root / "invoke.yaml").write_text(invoke, encoding="utf-8")
    for name, text in profiles.items():
        (root / "config" / f"{name.replace('_', '-')}.yaml").write_text(text, encoding="utf-8")
    return root


def resolved(root: Path, *sets: str, environ: Mapping[str, str] | None = None, profile: str | None = None) -> Resolved:
    return resolve(root, environ or {}, profile, sets)


def refused(root: Path, *sets: str, environ: Mapping[str, str] | None = None, profile: str | None = None) -> BadInput:
    """The one error, as a user would see it."""
    with pytest.raises(BadInput) as caught:
        resolve(root, environ or {}, profile, sets)
    assert caught.value.what
    assert caught.value.why
    assert caught.value.fix
    return caught.value


def origins(found: Resolved, only: str = "") -> dict[str, str]:
    """What has set each value that is no default, by its path."""
    return {row.path: row.origin.short for row in rows(found, only) if row.origin.layer != "default"}


def values(found: Resolved, only: Sequence[str] = ("",)) -> dict[str, object]:
    return {row.path: row.value for part in only for row in rows(found, part)}
