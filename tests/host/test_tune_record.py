"""What is remembered beside a daemon.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.core.files import sha256
from tasks.host.daemon_json import Change
from tasks.host.tune import ChangeRecord, backup_name, dump_record, load_record, record_path

FILE = Path("/etc/docker/daemon.json")
FULL = ChangeRecord(
    written=sha256(b"{}"),
    changes={"max-concurrent-downloads": Change(set=10, there=True, was=4)},
    backup=backup_name(FILE, "20261125T040506Z"),
    exact=False,
    applied=True,
)


@pytest.mark.parametrize("record", [FULL, ChangeRecord(written=sha256(b""))])
def test_what_is_written_is_read(record: ChangeRecord) -> None:
    assert load_record(dump_record(record), FILE) == record


def test_it_says_what_it_is() -> None:
    assert record_path(FILE) == Path("/etc/docker/daemon.json.openframe")
    assert b"invoke docker-tune" in dump_record(FULL)


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(dump_record(FULL)), **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100000,
        changed(schema=2),
        changed(more=1),
        changed(written=None),
        changed(changes=[]),
        changed(changes={"x": {"odd": 1}}),
        changed(backup=3),
        changed(backup="../../shadow"),
        changed(backup="/etc/shadow"),
        changed(backup="daemon.json.openframe-backup-/../../shadow"),
        changed(backup="daemon.json"),
    ],
)
def test_what_is_not_ours_is_not_believed(data: bytes) -> None:
    assert load_record(data, FILE) is None
