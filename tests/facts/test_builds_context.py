"""The digest of a build's context: it changes with what docker gets, and with nothing else."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.clients.dockerfile import ignored
from tasks.facts import builds as build_context
from tasks.facts.builds import context_digest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_text("a")
    (folder / "sub" / "b").write_text("b")
    (folder / "left.log").write_text("c")
    (folder / "link").symlink_to("a")
    return folder


def digest(tree: Path) -> str:
    return context_digest(tree, ignored("*.log"), tree.parent / "index")


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "a").write_text("A"),
        lambda tree: (tree / "a").chmod(0o755),
        lambda tree: (tree / "a").rename(tree / "z"),
        lambda tree: (tree / "sub" / "new").mkdir(),
        lambda tree: (tree / "sub").chmod(0o700),
        lambda tree: ((tree / "link").unlink(), (tree / "link").symlink_to("sub")),
        lambda tree: (tree / "sub" / "b").unlink(),
    ],
)
def test_it_changes_with_names_modes_and_contents(tree: Path, change: Callable[[Path], object]) -> None:
    before = digest(tree)
    change(tree)
    assert digest(tree) != before


def test_it_does_not_change_with_times_nor_with_what_is_left_out(tree: Path) -> None:
    before = digest(tree)
    os.utime(tree / "a", (1, 1))
    (tree / "left.log").write_text("changed")
    assert digest(tree) == before


def test_contents_are_read_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def file_digest(path: Path) -> str:
        read.append(path.name)
        return "x"

    monkeypatch.setattr(build_context, "file_digest", file_digest)
    monkeypatch.setattr(build_context, "_FRESH", -1)
    first = digest(tree)
    assert (sorted(read), digest(tree)) == (["a", "b"], first)
    (tree / "a").write_text("other")
    digest(tree)
    assert read[2:] == ["a"]


def test_what_was_changed_a_moment_ago_is_read_again(tree: Path) -> None:
    """It may be changed once more within one tick of the file system's clock."""
    digest(tree)
    assert not (tree.parent / "index").exists()
    past = time.time_ns() - 10_000_000_000
    os.utime(tree / "a", ns=(past, past))  # its change time is of now
    digest(tree)
    assert not (tree.parent / "index").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"form": 0, "files": {}}', '{"form": 1}'])
def test_a_broken_index_is_none(tree: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(tree)
    (tree.parent / "index").write_text(content)
    monkeypatch.setattr(build_context, "_FRESH", -1)
    assert digest(tree) == before
    assert set(json.loads((tree.parent / "index").read_text())["files"]) == {"a", "sub/b"}
