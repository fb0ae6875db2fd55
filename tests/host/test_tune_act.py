"""Merging into a daemon.json: checked, backed up, written, reloaded; in any case nothing is lost."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tasks.core.errors import BadInput, LaunchError
from tasks.host.daemon import NotReloaded, Place
from tasks.host.daemon_json import Desired
from tasks.host.tune import Untouched, dump_record, load_record, record_path, tune
from tasks.host.writer import FileState, Sudo, Writer
from tests.tune.dockerd import Dockerd, running, work

OURS = "http://127.0.0.1:5051"
DESIRED = Desired(downloads=10, uploads=8, mirror=OURS)
THEIRS = '{\n    "debug": true,\n    "log-opts": {"max-size": "10m"}\n}\n'


@pytest.fixture
def engine(tmp_path: Path) -> Dockerd:
    (tmp_path / "etc").mkdir()
    return Dockerd(file=tmp_path / "etc" / "daemon.json")


def files(engine: Dockerd) -> dict[str, bytes]:
    """Everything in the folder."""
    return {path.name: path.read_bytes() for path in engine.file.parent.iterdir()}


def backups(engine: Dockerd) -> list[bytes]:
    return [data for name, data in files(engine).items() if "openframe-backup" in name]


@pytest.mark.parametrize("validates", [True, False])
@pytest.mark.parametrize("before", [THEIRS, "{}", "", '{"registry-mirrors": ["https://x.example.com"]}'])
def test_the_wishes_are_merged_and_docker_works_with_them(engine: Dockerd, before: str, validates: bool) -> None:
    engine.validates = validates
    engine.file.write_text(before)
    engine.file.chmod(0o640)
    report = tune(work(engine), DESIRED)
    document = json.loads(engine.file.read_text())
    own = json.loads(before or "{}")
    mirrors = [*own.get("registry-mirrors", []), OURS]
    assert document == {
        **own,
        "max-concurrent-downloads": 10,
        "max-concurrent-uploads": 8,
        "registry-mirrors": mirrors,
    }
    assert engine.values == (10, 8, mirrors)
    assert engine.reloads == 1
    assert backups(engine) == [before.encode()]
    assert stat.S_IMODE(engine.file.stat().st_mode) == 0o640
    assert {stat.S_IMODE(path.stat().st_mode) for path in engine.file.parent.iterdir()} == {0o640}
    assert "max-concurrent-downloads: 3 → 10" in report.why
    assert not report.skipped


def test_what_is_not_ours_stays(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    ours = {"max-concurrent-downloads": 10, "max-concurrent-uploads": 8, "registry-mirrors": [OURS]}
    assert json.loads(engine.file.read_text()) == {**json.loads(THEIRS), **ours}
    assert engine.file.read_text().startswith('{\n    "debug": true,\n')


def test_a_file_that_is_missing_is_made_with_its_folder(tmp_path: Path) -> None:
    engine = Dockerd(file=tmp_path / "new" / "docker" / "daemon.json")
    tune(work(engine), DESIRED)
    assert json.loads(engine.file.read_text())["max-concurrent-downloads"] == 10
    assert stat.S_IMODE(engine.file.stat().st_mode) == 0o644
    assert backups(engine) == []
    assert engine.values == (10, 8, [OURS])


def test_the_second_time_nothing_is_done(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    before = files(engine)
    programs = engine.programs
    report = tune(work(engine, programs), DESIRED)
    assert report.skipped
    assert "as configured" in report.why
    assert programs.lines == []
    assert files(engine) == before


def test_other_wishes_later_keep_the_first_backup(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    tune(work(engine), Desired(downloads=6, mirror="http://127.0.0.1:5999"))
    assert engine.values == (6, 5, ["http://127.0.0.1:5999"])
    assert backups(engine) == [THEIRS.encode()]


def test_a_mirror_that_is_no_longer_wished_for_leaves_docker_too(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    tune(work(engine), replace(DESIRED, mirror=None))
    assert engine.values == (10, 8, [])
    assert "registry-mirrors" not in json.loads(engine.file.read_text())
    assert json.loads(engine.seen[-2])["registry-mirrors"] == []  # without it Docker would keep them


def test_a_file_that_somebody_has_changed_meanwhile_is_backed_up_again(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    changed = engine.file.read_text().replace("true", "false")
    engine.file.write_text(changed)
    tune(work(engine), replace(DESIRED, downloads=12))
    assert sorted(backups(engine)) == sorted([THEIRS.encode(), changed.encode()])


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (b'{\n  // mine\n  "debug": true\n}', "a comment, which Docker does not take"),
        (b'{"debug": true,}', "line 1"),
        (b'{"registry-mirrors": "x"}', "not a list"),
        (b'{"max-concurrent-downloads": 1, "max-concurrent-downloads": 2}', "is in it twice"),
        (b"[]", "an object in braces"),
        (b'{"debug": "\xff"}', "no UTF-8"),
        ('{"debug": true}'.encode("utf-16"), "no UTF-8"),
    ],
)
def test_what_is_not_plain_json_is_left(engine: Dockerd, before: bytes, told: str) -> None:
    engine.file.write_bytes(before)
    programs = engine.programs
    with pytest.raises(BadInput, match=told) as caught:
        tune(work(engine, programs), DESIRED)
    assert "nothing was changed" in caught.value.what
    assert files(engine) == {"daemon.json": before}
    assert programs.lines == []


@pytest.mark.parametrize(
    ("before", "told", "told_why"),
    [
        ('{"debugg": true}', "would not start", "don't match any configuration option: debugg"),
    ],
)
def test_unknown_keys_are_told_by_dockerd_and_left(engine: Dockerd, before: str, told: str, told_why: str) -> None:
    engine.file.write_text(before)
    with pytest.raises(Untouched, match=told) as caught:
        tune(work(engine), DESIRED)
    assert told_why in caught.value.why
    assert "with what docker-tune adds" not in caught.value.why
    assert files(engine) == {"daemon.json": before.encode()}
    assert engine.seen == []


def test_what_only_the_new_file_would_break_is_told_so(engine: Dockerd) -> None:
    engine.file.write_text("{}")
    engine.argv = ("dockerd", "--registry-mirror=https://x.example.com")
    blind = replace(work(engine), place=Place(file=engine.file, running=running()))  # as if its arguments did not show
    with pytest.raises(Untouched, match="would not start") as caught:
        tune(blind, DESIRED)
    assert "with what docker-tune adds" in caught.value.why
    assert files(engine) == {"daemon.json": b"{}"}


def test_an_argument_of_dockerd_is_left_out_of_the_file(engine: Dockerd) -> None:
    engine.argv = ("dockerd", "--registry-mirror=https://x.example.com")
    report = tune(work(engine), DESIRED)
    assert json.loads(engine.file.read_text()) == {"max-concurrent-downloads": 10, "max-concurrent-uploads": 8}
    assert "dockerd has mirrors as arguments" in report.why


@pytest.mark.parametrize("name", ["max-concurrent-downloads=9", "max-download-attempts", "feature=x=true"])
def test_a_reload_that_would_undo_arguments_is_not_asked_for(engine: Dockerd, name: str) -> None:
    engine.argv = ("dockerd", f"--{name}")
    with pytest.raises(Untouched, match=name.partition("=")[0]):
        tune(work(engine), Desired(uploads=8))
    assert files(engine) == {}


def test_without_the_process_nothing_is_changed(engine: Dockerd) -> None:
    with pytest.raises(Untouched, match="no dockerd can be seen"):
        tune(replace(work(engine), place=Place(file=engine.file)), DESIRED)
    assert files(engine) == {}


@pytest.mark.parametrize("before", [None, "", THEIRS])
def test_a_docker_that_does_not_reload_gets_its_file_back(engine: Dockerd, before: str | None) -> None:
    if before is not None:
        engine.file.write_text(before)
    engine.deaf = True
    with pytest.raises(NotReloaded, match="has not read") as caught:
        tune(work(engine), DESIRED)
    assert files(engine) == ({} if before is None else {"daemon.json": before.encode()})
    assert len(engine.seen) == 2  # told once more, with the old file
    assert "is as it was" in caught.value.fix


def test_a_docker_that_reads_another_file_is_found_out(engine: Dockerd, tmp_path: Path) -> None:
    engine.file.write_text("{}")
    wrong = tmp_path / "etc" / "wrong.json"
    at_wrong = replace(work(engine), place=Place(file=wrong, running=running()))
    with pytest.raises(NotReloaded, match="another daemon") as caught:
        tune(at_wrong, DESIRED)
    assert "docker.daemon_json" in caught.value.fix
    assert files(engine) == {"daemon.json": b"{}"}


def test_a_failed_second_change_keeps_the_first_one_and_its_memory(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    before = files(engine)
    engine.deaf = True
    with pytest.raises(NotReloaded):
        tune(work(engine), replace(DESIRED, downloads=20))
    assert files(engine) == before


class Broken(Writer):
    """A disk that is full from a moment on."""

    left: ClassVar[int]

    def write(self, path: Path, file: FileState) -> None:
        if not Broken.left:
            raise LaunchError(f"{path} cannot be written", why="No space left on device")
        Broken.left -= 1
        super().write(path, file)


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_a_full_disk_changes_nothing(engine: Dockerd, allowed: int) -> None:
    """0: the backup, 1: the record, 2: the file itself cannot be written."""
    engine.file.write_text(THEIRS)
    programs = engine.programs
    Broken.left = allowed
    with pytest.raises(LaunchError, match="cannot be written"):
        tune(work(engine, programs, writer=Broken(programs=programs)), DESIRED)
    assert engine.file.read_text() == THEIRS
    assert engine.seen == []
    assert set(files(engine)) == {"daemon.json"}


def test_what_cannot_be_put_back_is_told_with_its_backup(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    engine.deaf = True
    programs = engine.programs
    Broken.left = 3
    with pytest.raises(NotReloaded) as caught:
        tune(work(engine, programs, writer=Broken(programs=programs)), DESIRED)
    assert "daemon.json.openframe-backup-" in caught.value.fix
    assert backups(engine) == [THEIRS.encode()]


def test_a_run_that_ended_before_docker_was_told_is_finished_by_the_next(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    found = load_record(record_path(engine.file).read_bytes(), engine.file)
    assert found is not None
    record_path(engine.file).write_bytes(dump_record(replace(found, applied=False)))
    assert not tune(work(engine), DESIRED).skipped
    assert engine.reloads == 2
    assert tune(work(engine), DESIRED).skipped


def test_a_memory_of_what_was_never_written_is_forgotten(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    found = load_record(record_path(engine.file).read_bytes(), engine.file)
    assert found is not None
    record_path(engine.file).write_bytes(dump_record(replace(found, applied=False)))
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    again = load_record(record_path(engine.file).read_bytes(), engine.file)
    assert again is not None
    assert again.exact
    assert engine.values == (10, 8, [OURS])


def test_by_sudo(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    engine.file.chmod(0o640)
    programs = engine.programs
    clock = lambda: datetime(2026, 11, 25, 4, 5, 6, 7, tzinfo=UTC)  # noqa: E731 - a moment
    tune(work(engine, programs, writer=Sudo(programs=programs), clock=clock), DESIRED)
    assert engine.values == (10, 8, [OURS])
    assert set(files(engine)) == {
        "daemon.json",
        "daemon.json.openframe",
        "daemon.json.openframe-backup-20261125T040506.000007Z",
    }
    assert backups(engine) == [THEIRS.encode()]
    assert stat.S_IMODE(engine.file.stat().st_mode) == 0o640
    owner = f"-m 0640 -o {os.geteuid()} -g {os.getegid()} -- "
    assert all(owner in line for line in programs.lines if " install " in line)
    assert all(line.startswith("sudo -n ") for line in programs.lines if "docker" not in line.split()[0])
    assert not any(OURS in line for line in programs.lines)  # the content is no argument


def test_links_are_followed_by_the_place_and_stay(engine: Dockerd, tmp_path: Path) -> None:
    link: Any = tmp_path / "link.json"
    engine.file.write_text("{}")
    link.symlink_to(engine.file)
    linked = replace(work(engine), place=Place(file=Path(os.path.realpath(link)), running=running()))
    tune(linked, DESIRED)
    assert link.is_symlink()
    assert json.loads(link.read_text())["max-concurrent-downloads"] == 10
