"""A program is there whole and executable, or the old one stays."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from tasks.setup.place import place


class Broken(io.BytesIO):
    """Ends in the middle with an error."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError("gone")
        return super().read(3)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_it_is_executable_for_all_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        place(io.BytesIO(b"new"), tmp_path / "bin" / "helm")
    finally:
        os.umask(before)
    made = tmp_path / "bin" / "helm"
    assert made.read_bytes() == b"new"
    assert stat.S_IMODE(made.stat().st_mode) == 0o755


def test_the_old_one_is_replaced_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "helm"
    path.write_bytes(b"old")
    with path.open("rb") as running:
        place(io.BytesIO(b"new"), path)
        assert running.read() == b"old"
    assert path.read_bytes() == b"new"


def test_a_failure_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "helm"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="gone"):
        place(Broken(b"abcdef"), path)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("helm", b"old")]


def test_what_a_killed_run_left_is_no_hindrance_and_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"v")
    (tmp_path / ".helm.new").symlink_to(tmp_path / "victim")
    place(io.BytesIO(b"new"), tmp_path / "helm")
    assert (tmp_path / "victim").read_bytes() == b"v"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["helm", "victim"]


def test_a_link_at_the_destination_is_replaced_itself(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"t")
    (tmp_path / "helm").symlink_to(tmp_path / "theirs")
    place(io.BytesIO(b"new"), tmp_path / "helm")
    assert (tmp_path / "theirs").read_bytes() == b"t"
    assert not (tmp_path / "helm").is_symlink()
