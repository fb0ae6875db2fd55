"""The user's folders: where they are, and what is said where they are somebody else's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core.errors import BadInput
from tasks.core.paths import cache_folder, check_own, state_folder


@pytest.mark.parametrize("where", [state_folder, cache_folder])
def test_only_an_absolute_path_counts(where: Callable[[dict[str, str]], Path]) -> None:
    variable = "XDG_STATE_HOME" if where is state_folder else "XDG_CACHE_HOME"
    assert where({variable: "/some/where"}) == Path("/some/where/openframe")
    assert where({variable: "some/where"}) == where({}) != where({variable: "/x"})


def test_what_is_ours_or_can_be_made_is_fine(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "clusters" / "dev"):
        check_own(path, "XDG_STATE_HOME")


@pytest.mark.parametrize("path", ["state/clusters/dev/kubeconfig", "state/clusters", "state"])
def test_what_may_not_be_used_is_named_with_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "state").mkdir()
    monkeypatch.setattr(os, "access", lambda each, _mode, **_more: Path(each) != tmp_path / "state")
    with pytest.raises(BadInput, match=f"{tmp_path}/state cannot be used: Permission denied") as caught:
        check_own(tmp_path / path, "XDG_STATE_HOME")
    assert "chown -R" in caught.value.fix
    assert "XDG_STATE_HOME" in caught.value.fix
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(BadInput) as caught:
        check_own(tmp_path / path, "XDG_STATE_HOME")
    assert caught.value.why.startswith("it belongs to ")


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(BadInput, match="state cannot be used: Not a directory"):
        check_own(tmp_path / "state" / "clusters", "XDG_STATE_HOME")
