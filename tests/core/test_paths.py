"""The user's folders: where they are, and what is said where they are somebody else's."""

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.core import paths
from tasks.core.errors import BadInput
from tasks.core.files import append, file_name, write_whole


@pytest.mark.parametrize("where", [paths.state_folder, paths.cache_folder])
def test_only_an_absolute_path_counts(where: Callable[[dict[str, str]], Path]) -> None:
    variable = "XDG_STATE_HOME" if where is paths.state_folder else "XDG_CACHE_HOME"
    assert where({variable: "/some/where"}) == Path("/some/where/openframe")
    assert where({variable: "some/where"}) == where({}) != where({variable: "/x"})


def test_what_is_ours_or_can_be_made_is_fine(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "clusters" / "dev"):
        paths.check_own(path, "XDG_STATE_HOME")


@pytest.mark.parametrize(
    ("path", "home", "advised"),
    [
        ("state/clusters/dev/kubeconfig", ".", True),
        ("state/clusters", "other", False),  # a folder of the system's, say
        ("state", "other", True),
    ],
)
def test_unusable_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, home: str, advised: bool) -> None:
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    monkeypatch.setattr(os, "access", lambda each, _mode, **_more: Path(each) != tmp_path / "state")
    what = f"{tmp_path}/state cannot be used" if advised else f"{tmp_path}/{path} cannot be created: {tmp_path}/state"
    with pytest.raises(BadInput, match=f"{what}: Permission denied") as caught:
        paths.check_own(tmp_path / path, "XDG_STATE_HOME")
    assert ("chown -R" in caught.value.fix) is advised
    assert "set XDG_STATE_HOME" in caught.value.fix
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(BadInput) as caught:
        paths.check_own(tmp_path / path, "XDG_STATE_HOME")
    assert caught.value.why.startswith("it belongs to " if advised else f"{tmp_path}/state belongs to ")


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(BadInput, match="state: Not a directory") as caught:
        paths.check_own(tmp_path / "state" / "clusters", "XDG_STATE_HOME")
    assert "chown" not in caught.value.fix


def test_a_path_that_no_mount_and_no_variable_can_hold(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has a ':'") as caught:
        paths.check_own(tmp_path / "a:b", "XDG_STATE_HOME")
    assert caught.value.fix == "set XDG_STATE_HOME to another folder"
    paths.check_own(tmp_path / "a:b", "XDG_CACHE_HOME")


NOON = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_link_stays_and_the_file_that_it_names_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk/file")
    write_whole(paths.output_file("~/link"), "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "file").read_text() == "new"


def test_a_missing_folder_is_made_with_its_parents_and_is_private(tmp_path: Path) -> None:
    result = paths.log_folder(tmp_path / "a" / "logs")
    assert result == tmp_path / "a" / "logs"
    assert mode(result) == 0o700
    assert paths.log_folder(result) == result


@pytest.mark.parametrize("before", [0o755, 0o777, 0o1777, 0o500])
@pytest.mark.parametrize("name", ["openframe-deployment-logs", "empty"])
def test_a_folder_of_ours_that_is_surely_for_logs_is_closed(tmp_path: Path, before: int, name: str) -> None:
    path = tmp_path / name
    path.mkdir()
    if name != "empty":
        (path / "old.log").touch()
    path.chmod(before)
    assert mode(paths.log_folder(path)) == 0o700


def test_a_folder_with_nothing_but_logs_is_closed(tmp_path: Path) -> None:
    runs = paths.run_folder(tmp_path / "logs", "up", NOON).parent
    (runs.parent / "latest.json").touch()
    for folder in (runs, runs.parent):
        folder.chmod(0o755)
    paths.run_folder(paths.log_folder(tmp_path / "logs"), "up", NOON)
    assert mode(runs) == mode(runs.parent) == 0o700


@pytest.mark.parametrize("name", ["shared", "openframe", "openframe-oss", "runs"])
def test_a_folder_with_other_files_is_not_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path if name == "shared" else tmp_path / "home"))
    path = tmp_path / name
    path.mkdir()
    (path / "theirs").touch()
    path.chmod(0o755)
    with pytest.raises(BadInput, match="other users may enter") as caught:
        paths.log_folder(path)
    assert ("chmod 700" in caught.value.fix) is (name == "shared"), "/etc is nothing to be closed"
    assert mode(path) == 0o755
    (path / paths.BENCHMARK_LOG).touch()
    assert mode(paths.log_folder(path)) == 0o700


def test_a_link_is_refused_also_when_it_leads_to_a_folder_of_ours(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(BadInput, match="symbolic link"):
        paths.log_folder(tmp_path / "link")


@pytest.mark.parametrize("below", ["file", "file/logs"])
def test_a_file_in_the_way_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be created") as caught:
        paths.log_folder(tmp_path / below)
    assert "DEPLOY_LOG_DIR" in caught.value.fix


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = paths.log_folder(tmp_path / "logs")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(BadInput, match="belongs to another user"):
        paths.log_folder(path)


def test_two_runs_of_one_millisecond_have_two_folders(tmp_path: Path) -> None:
    first, second = (paths.run_folder(paths.log_folder(tmp_path / "logs"), "up", NOON) for _ in range(2))
    assert first.name == "20261124T120000.250Z-up"
    assert second.name == "20261124T120000.250Z-up-2"
    assert mode(first) == mode(first.parent) == 0o700


def test_a_run_folder_does_not_take_the_name_of_a_record(tmp_path: Path) -> None:
    runs = paths.log_folder(paths.log_folder(tmp_path / "logs") / "runs")
    (runs / f"{paths.run_name('up', NOON)}.json").touch()
    assert paths.run_folder(tmp_path / "logs", "up", NOON).name.endswith("-up-2")


def test_names_of_files_hold_nothing_that_leads_elsewhere() -> None:
    assert file_name("pull ghcr.io/a/b:v1") == "pull-ghcr.io-a-b-v1"
    assert "/" not in paths.run_name("../x", NOON)


def test_append_adds_and_follows_no_link(tmp_path: Path) -> None:
    append(tmp_path / "f", "a\n")
    append(tmp_path / "f", "b\n")
    assert (tmp_path / "f").read_text() == "a\nb\n"
    (tmp_path / "link").symlink_to("f")
    with pytest.raises(OSError, match=r"[Ss]ymbolic"):
        append(tmp_path / "link", "c\n")


def test_the_default_folder_of_another_user_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "openframe-deployment-logs"
    assert paths.default_folder(path) == path
    path.mkdir()
    assert paths.default_folder(path) == path
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert paths.default_folder(path) == tmp_path / "openframe-deployment-logs-4711"
    path.rmdir()
    path.symlink_to("/nowhere")
    assert paths.default_folder(path).name == "openframe-deployment-logs-4711", "a link of another's is not followed"
