"""A daemon.json is merged into, and given back to the byte; in any case nothing of anybody's is lost."""

import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from tasks.core.errors import BadInput, LaunchError
from tasks.host.daemon import NotReloaded, Place
from tasks.host.daemon_json import Desired
from tasks.host.tune import Untouched, dump_record, load_record, record_path, tune, undo
from tasks.host.writer import FileState, Sudo, Writer
from tests.host.dockerd import Dockerd, running, work

OURS = "http://127.0.0.1:5051"
DESIRED = Desired(downloads=10, uploads=8, mirror=OURS)
THEIRS = '{\n    "debug": true,\n    "log-opts": {"max-size": "10m"}\n}\n'


@pytest.fixture
def engine(tmp_path: Path) -> Dockerd:
    (tmp_path / "etc").mkdir()
    return Dockerd(file=tmp_path / "etc" / "daemon.json")


@pytest.fixture
def tuned(engine: Dockerd) -> Dockerd:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    return engine


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


def test_a_file_that_is_missing_is_made_with_its_folder(tmp_path: Path) -> None:
    engine = Dockerd(file=tmp_path / "new" / "docker" / "daemon.json")
    tune(work(engine), DESIRED)
    assert json.loads(engine.file.read_text())["max-concurrent-downloads"] == 10
    assert stat.S_IMODE(engine.file.stat().st_mode) == 0o644
    assert backups(engine) == []
    assert engine.values == (10, 8, [OURS])


def test_the_second_time_nothing_is_done(tuned: Dockerd) -> None:
    before, programs = files(tuned), tuned.programs
    report = tune(work(tuned, programs), DESIRED)
    assert report.skipped
    assert "as configured" in report.why
    assert (programs.lines, files(tuned)) == ([], before)


def test_other_wishes_later_keep_the_first_backup(tuned: Dockerd) -> None:
    tune(work(tuned), Desired(downloads=6, mirror="http://127.0.0.1:5999"))
    assert tuned.values == (6, 5, ["http://127.0.0.1:5999"])
    assert backups(tuned) == [THEIRS.encode()]


def test_a_mirror_that_is_no_longer_wished_for_leaves_docker_too(tuned: Dockerd) -> None:
    tune(work(tuned), replace(DESIRED, mirror=None))
    assert tuned.values == (10, 8, [])
    assert "registry-mirrors" not in json.loads(tuned.file.read_text())
    assert json.loads(tuned.seen[-2])["registry-mirrors"] == []  # without it Docker would keep them


def test_a_file_that_somebody_has_changed_meanwhile_is_backed_up_again(tuned: Dockerd) -> None:
    changed = tuned.file.read_text().replace("true", "false")
    tuned.file.write_text(changed)
    tune(work(tuned), replace(DESIRED, downloads=12))
    assert sorted(backups(tuned)) == sorted([THEIRS.encode(), changed.encode()])


@pytest.mark.parametrize(
    ("before", "reported"),
    [
        (b'{\n  // mine\n  "debug": true\n}', "a comment, which Docker does not accept"),
        (b'{"registry-mirrors": "x"}', "not a list"),
        (b'{"debug": "\xff"}', "not UTF-8"),
    ],
)
def test_what_is_not_plain_json_is_left(engine: Dockerd, before: bytes, reported: str) -> None:
    engine.file.write_bytes(before)
    programs = engine.programs
    with pytest.raises(BadInput, match=reported) as caught:
        tune(work(engine, programs), DESIRED)
    assert "nothing was changed" in caught.value.what
    assert (files(engine), programs.lines) == ({"daemon.json": before}, [])


@pytest.mark.parametrize(
    ("before", "argv", "why", "added"),
    [
        ('{"debugg": true}', (), "don't match any configuration option: debugg", False),
        ("{}", ("--registry-mirror=https://x.example.com",), "specified both as a flag", True),
    ],
)
def test_what_dockerd_refuses_stays(engine: Dockerd, before: str, argv: tuple[str, ...], why: str, added: bool) -> None:
    engine.file.write_text(before)
    engine.argv = ("dockerd", *argv)
    blind = replace(work(engine), place=Place(file=engine.file, running=running()))  # as if its arguments did not show
    with pytest.raises(Untouched, match="would not start") as caught:
        tune(blind, DESIRED)
    assert why in caught.value.why
    assert ("with what docker-tune adds" in caught.value.why) is added
    assert (files(engine), engine.seen) == ({"daemon.json": before.encode()}, [])


@pytest.mark.parametrize("name", ["max-concurrent-downloads=9", "max-download-attempts", "feature=x=true"])
def test_a_reload_that_would_undo_arguments_is_not_asked_for(engine: Dockerd, name: str) -> None:
    engine.argv = ("dockerd", f"--{name}")
    with pytest.raises(Untouched, match=name.partition("=")[0]):
        tune(work(engine), Desired(uploads=8))
    assert files(engine) == {}


def test_without_the_process_nothing_is_changed(engine: Dockerd) -> None:
    with pytest.raises(Untouched, match="no dockerd that reads"):
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
    assert "was restored" in caught.value.fix


def test_a_docker_that_reads_another_file_is_found_out(engine: Dockerd, tmp_path: Path) -> None:
    engine.file.write_text("{}")
    wrong = tmp_path / "etc" / "wrong.json"
    at_wrong = replace(work(engine), place=Place(file=wrong, running=running()))
    with pytest.raises(NotReloaded, match="another daemon") as caught:
        tune(at_wrong, DESIRED)
    assert "docker.daemon_json" in caught.value.fix
    assert files(engine) == {"daemon.json": b"{}"}


def test_a_failed_second_change_keeps_the_first_one_and_its_memory(tuned: Dockerd) -> None:
    before = files(tuned)
    tuned.deaf = True
    with pytest.raises(NotReloaded):
        tune(work(tuned), replace(DESIRED, downloads=20))
    assert files(tuned) == before


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


@pytest.mark.parametrize("written", [True, False])
def test_a_run_that_ended_halfway_is_finished_by_the_next(tuned: Dockerd, written: bool) -> None:
    """Before Docker was signalled, or between the record and the file."""
    found = load_record(record_path(tuned.file).read_bytes(), tuned.file)
    assert found is not None
    record_path(tuned.file).write_bytes(dump_record(replace(found, applied=False)))
    if not written:
        tuned.file.write_text(THEIRS)
    assert not tune(work(tuned), DESIRED).skipped
    assert (tuned.values, tuned.reloads) == ((10, 8, [OURS]), 2)
    assert tune(work(tuned), DESIRED).skipped
    again = load_record(record_path(tuned.file).read_bytes(), tuned.file)
    assert again is not None
    assert again.exact


def test_by_sudo(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    engine.file.chmod(0o640)
    programs = engine.programs
    clock = lambda: datetime(2026, 11, 25, 4, 5, 6, 7, tzinfo=UTC)  # noqa: E731 - a moment
    by = work(engine, programs, writer=Sudo(programs=programs), clock=clock)
    tune(by, DESIRED)
    assert engine.values == (10, 8, [OURS])
    backup = "daemon.json.openframe-backup-20261125T040506.000007Z"
    assert set(files(engine)) == {"daemon.json", "daemon.json.openframe", backup}
    assert backups(engine) == [THEIRS.encode()]
    assert stat.S_IMODE(engine.file.stat().st_mode) == 0o640
    owner = f"-m 0640 -o {os.geteuid()} -g {os.getegid()} -- "
    assert all(owner in line for line in programs.lines if " install " in line)
    assert all(line.startswith("sudo -n ") for line in programs.lines if "docker" not in line.split()[0])
    assert not any(OURS in line for line in programs.lines)  # the content is no argument
    undo(by)
    assert (files(engine), engine.values) == ({"daemon.json": THEIRS.encode()}, (3, 5, []))


# -- undone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        None,
        b"",
        THEIRS.encode(),
        b'\xef\xbb\xbf{"debug":true}',
        b'{"registry-mirrors":["https://x.example.com"],\r\n\t"max-concurrent-downloads" : 4}',
        b'{ "registry-mirrors": null }\n\n\n',
    ],
)
@pytest.mark.parametrize("times", [1, 2])
def test_to_the_byte(engine: Dockerd, before: bytes | None, times: int) -> None:
    if before is not None:
        engine.file.write_bytes(before)
    for count in range(times):
        tune(work(engine), replace(DESIRED, downloads=10 + count))
    report = undo(work(engine))
    assert files(engine) == ({} if before is None else {"daemon.json": before})
    own = json.loads((before or b"{}").decode("utf-8-sig") or "{}")
    assert engine.values == (own.get("max-concurrent-downloads", 3), 5, own.get("registry-mirrors") or [])
    assert "as before" in report.why
    assert not report.skipped


def test_what_somebody_has_changed_since_stays(tuned: Dockerd) -> None:
    changed = tuned.file.read_text().replace('"debug": true', '"debug": false, "dns": ["9.9.9.9"]')
    tuned.file.write_text(changed)
    report = undo(work(tuned))
    left = {"debug": False, "dns": ["9.9.9.9"], "log-opts": {"max-size": "10m"}}
    assert (json.loads(tuned.file.read_text()), tuned.values) == (left, (3, 5, []))
    assert "was changed since" in report.why
    assert "the backup stays" in report.why
    assert backups(tuned) == [THEIRS.encode()]
    assert undo(work(tuned)).skipped


def test_changes_between_two_merges_stay(tuned: Dockerd) -> None:
    tuned.file.write_text(tuned.file.read_text().replace("true", "false"))
    tune(work(tuned), replace(DESIRED, downloads=12))
    undo(work(tuned))
    assert json.loads(tuned.file.read_text()) == json.loads(THEIRS.replace("true", "false"))


def test_a_file_that_is_gone_stays_so(tuned: Dockerd) -> None:
    tuned.file.unlink()
    report = undo(work(tuned))
    assert not tuned.file.exists()
    assert "was not created" in report.why
    assert backups(tuned) == [THEIRS.encode()]


def test_a_file_of_ours_in_which_nothing_is_left_goes(engine: Dockerd) -> None:
    tune(work(engine), DESIRED)
    engine.file.write_text(engine.file.read_text() + "\n")
    undo(work(engine))
    assert files(engine) == {}


def test_a_backup_that_is_gone_is_not_needed(tuned: Dockerd) -> None:
    next(tuned.file.parent.glob("*backup*")).unlink()
    undo(work(tuned))
    assert json.loads(tuned.file.read_text()) == json.loads(THEIRS)


def test_a_file_that_cannot_be_read_any_more_is_left_with_all_that_helps(tuned: Dockerd) -> None:
    tuned.file.write_text("{ // mine\n}")
    before = files(tuned)
    with pytest.raises(BadInput, match="a comment"):
        undo(work(tuned))
    assert files(tuned) == before


def test_a_memory_that_leads_elsewhere_is_not_followed(engine: Dockerd, tmp_path: Path) -> None:
    """Root reads and removes what it names."""
    engine.file.write_text(THEIRS)
    tune(work(engine), Desired(downloads=10))
    record = engine.file.with_name("daemon.json.openframe")
    document = json.loads(record.read_text())
    record.write_text(json.dumps({**document, "backup": "../secret"}))
    (tmp_path / "secret").write_text("x")
    assert undo(work(engine)).skipped
    assert (tmp_path / "secret").exists()


@pytest.mark.parametrize("runs", [True, False])
def test_a_docker_that_does_not_take_it_is_told(tuned: Dockerd, runs: bool) -> None:
    """It need not run: a file that keeps it from starting is given back too."""
    tuned.deaf = True
    report = undo(work(tuned) if runs else replace(work(tuned), place=Place(file=tuned.file)))
    assert files(tuned) == {"daemon.json": THEIRS.encode()}
    assert "at its next start" in report.why
    assert ("Docker has not read its daemon.json again" in report.why) is runs
