"""Only the one member is read, and nothing is written where an archive says."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tasks.core.errors import LaunchError
from tasks.host.download import member
from tests.host.server import archive

NAME = "linux-amd64/helm"


def special(kind: bytes, target: str = "") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        entry = tarfile.TarInfo(NAME)
        entry.type, entry.linkname = kind, target
        tar.addfile(entry)
    return data.getvalue()


def read(folder: Path, data: bytes) -> bytes:
    path = folder / "a.tar.gz"
    path.write_bytes(data)
    with member(path, NAME) as content:
        return content.read()


@pytest.mark.parametrize("name", [NAME, f"./{NAME}"])
def test_the_program_is_found_among_others(tmp_path: Path, name: str) -> None:
    data = archive({"linux-amd64/LICENSE": b"l", name: b"program", "linux-amd64/README.md": b"r"})
    assert read(tmp_path, data) == b"program"
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_members_that_lead_out_are_never_written(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    data = archive({"../evil": b"e", str(tmp_path / "absolute"): b"e", NAME: b"program"})
    assert read(inner, data) == b"program"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "inner"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (archive({"linux-arm64/helm": b"x"}), "it is not in it"),
        (archive({f"../{NAME}": b"x", f"/{NAME}": b"x"}), "it is not in it"),
        (special(tarfile.SYMTYPE, "/etc/passwd"), "it is no file"),
        (special(tarfile.LNKTYPE, "../../etc/passwd"), "it is no file"),
        (special(tarfile.DIRTYPE), "it is no file"),
        (special(tarfile.FIFOTYPE), "it is no file"),
        (b"<html>", "cannot be read"),
        (b"", "cannot be read"),
        (archive({NAME: bytes(range(256)) * 5000})[:700], "cannot be read"),
    ],
)
def test_what_is_no_such_archive_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(LaunchError, match=f"does not give {NAME}") as caught:
        read(tmp_path, data)
    assert why in caught.value.why


def test_a_program_that_would_fill_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.host.download._LARGEST", 3)
    with pytest.raises(LaunchError, match="does not give"):
        read(tmp_path, archive({NAME: b"four"}))
