"""What is known of images and of the caches that they come through."""

from __future__ import annotations

from pathlib import Path

from tasks.run.images import remember_size, size_of
from tests.given import facts


def test_sizes_are_remembered(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert size_of(found, "a:1") is None
    remember_size(found, "a:1", 0)
    assert size_of(found, "a:1") is None
    remember_size(found, "a:1", 12)
    assert (size_of(found, "a:1"), size_of(found, "b:1")) == (12, None)
