"""What was there before comes back to the byte; what somebody has changed since stays theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.core.errors import BadInput
from tasks.host.daemon import Place
from tasks.host.daemon_json import Desired
from tasks.host.tune import tune, undo
from tasks.host.writer import Sudo
from tests.host.test_tune_act import DESIRED, OURS, THEIRS, backups, files
from tests.tune.dockerd import Dockerd, work


@pytest.fixture
def engine(tmp_path: Path) -> Dockerd:
    (tmp_path / "etc").mkdir()
    return Dockerd(file=tmp_path / "etc" / "daemon.json")


@pytest.mark.parametrize(
    "before",
    [
        None,
        b"",
        b"{}",
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


def test_by_sudo(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    programs = engine.programs
    by = work(engine, programs, writer=Sudo(programs=programs))
    tune(by, DESIRED)
    undo(by)
    assert files(engine) == {"daemon.json": THEIRS.encode()}
    assert engine.values == (3, 5, [])


def test_nothing_to_undo(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    programs = engine.programs
    report = undo(work(engine, programs))
    assert report.skipped
    assert "nothing in" in report.why
    assert files(engine) == {"daemon.json": THEIRS.encode()}
    assert programs.lines == []


def test_what_somebody_has_changed_since_stays(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    changed = engine.file.read_text().replace('"debug": true', '"debug": false, "dns": ["9.9.9.9"]')
    engine.file.write_text(changed)
    report = undo(work(engine))
    assert json.loads(engine.file.read_text()) == {
        "debug": False,
        "dns": ["9.9.9.9"],
        "log-opts": {"max-size": "10m"},
    }
    assert engine.values == (3, 5, [])
    assert "changed by somebody since" in report.why
    assert "the backup stays" in report.why
    assert backups(engine) == [THEIRS.encode()]
    assert undo(work(engine)).skipped


def test_a_value_of_ours_that_somebody_has_changed_is_theirs(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    document = json.loads(engine.file.read_text())
    engine.file.write_text(
        json.dumps({**document, "max-concurrent-downloads": 7, "registry-mirrors": [OURS, "https://x"]})
    )
    report = undo(work(engine))
    assert json.loads(engine.file.read_text()) == {
        "debug": True,
        "log-opts": {"max-size": "10m"},
        "max-concurrent-downloads": 7,
        "registry-mirrors": ["https://x"],
    }
    assert "max-concurrent-downloads was changed by hand to 7" in report.why
    assert engine.values == (7, 5, ["https://x"])


def test_changes_between_two_merges_stay(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    engine.file.write_text(engine.file.read_text().replace("true", "false"))
    tune(work(engine), replace(DESIRED, downloads=12))
    undo(work(engine))
    assert json.loads(engine.file.read_text()) == json.loads(THEIRS.replace("true", "false"))


def test_a_file_that_is_gone_stays_so(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    engine.file.unlink()
    report = undo(work(engine))
    assert not engine.file.exists()
    assert "stays so" in report.why
    assert backups(engine) == [THEIRS.encode()]


def test_a_file_of_ours_in_which_nothing_is_left_goes(engine: Dockerd) -> None:
    tune(work(engine), DESIRED)
    engine.file.write_text(engine.file.read_text() + "\n")
    undo(work(engine))
    assert files(engine) == {}


@pytest.mark.parametrize("keep", [True, False])
def test_a_backup_that_is_gone_is_not_needed(engine: Dockerd, keep: bool) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    if not keep:
        next(engine.file.parent.glob("*backup*")).unlink()
    undo(work(engine))
    assert engine.file.read_text() == THEIRS if keep else json.loads(engine.file.read_text()) == json.loads(THEIRS)


def test_a_file_that_cannot_be_read_any_more_is_left_with_all_that_helps(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    engine.file.write_text("{ // mine\n}")
    before = files(engine)
    with pytest.raises(BadInput, match="a comment"):
        undo(work(engine))
    assert files(engine) == before


def test_a_docker_that_does_not_run_is_no_hindrance(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    programs = engine.programs
    report = undo(replace(work(engine, programs), place=Place(file=engine.file)))
    assert files(engine) == {"daemon.json": THEIRS.encode()}
    assert "when it starts again" in report.why
    assert programs.lines == []


def test_a_docker_that_does_not_reload_is_told(engine: Dockerd) -> None:
    engine.file.write_text(THEIRS)
    tune(work(engine), DESIRED)
    engine.deaf = True
    report = undo(work(engine))
    assert files(engine) == {"daemon.json": THEIRS.encode()}
    assert "Docker has not read its daemon.json again" in report.why


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
