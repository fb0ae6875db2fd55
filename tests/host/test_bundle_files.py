"""A bundle's files placed on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.clients.bundle import Bundle
from tasks.core.errors import BadInput
from tasks.core.paths import ClusterPaths
from tasks.host import programs
from tests import given


@dataclass
class Fake:
    """A bundle for a machine of another target: its programs stay where they are."""

    platform: str = "linux/amd64"
    path: Path = Path("saved.tar")
    lock: Any = field(init=False)

    def __post_init__(self) -> None:
        charts = {"abc": SimpleNamespace(file="app-1.0.0.tgz", digest="sha256:1")}
        self.lock = SimpleNamespace(
            platform=self.platform, target="plan9/mips", charts=charts, releases={"key": ("nginx:1",)}, programs={}
        )

    def pieces(self, _digest: str) -> Iterator[bytes]:
        yield from (b"ch", b"art")


def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Fake) -> ClusterPaths:
    monkeypatch.setattr(programs, "engine", lambda _: SimpleNamespace(platform="linux/amd64"))
    session = given.session(tmp_path)
    programs.place_files(session, cast("Bundle", bundle), session.paths)
    return session.paths


def test_charts_and_names_of_images_lie_where_a_launch_looks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = place(tmp_path, monkeypatch, Fake())
    assert (paths.cache / "charts" / "abc" / "app-1.0.0.tgz").read_bytes() == b"chart"
    assert (paths.images / "key").read_text() == '["nginx:1"]'
    assert not (tmp_path / ".tools" / "bin").exists()


def test_a_bundle_of_another_platform_places_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="linux/arm64"):
        place(tmp_path, monkeypatch, Fake(platform="linux/arm64"))
    assert not list(tmp_path.rglob("app-1.0.0.tgz"))
