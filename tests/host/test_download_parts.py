"""A part is gone on with only where it is surely one of the same file."""

import io
import tarfile
from pathlib import Path

import pytest

from tasks.core.errors import LaunchError
from tasks.host.download import Origin, Part, member
from tests.programs import tarred

URL, NAMED = "https://h/helm", "helm-v1.0.0-linux-amd64"


def part_of(folder: Path, origin: Origin, size: int, url: str = URL) -> Part:
    """A part that was written by an earlier run, found by this one."""
    with Part(folder, NAMED, origin.url).begin(origin) as file:
        file.write(b"x" * size)
    return Part(folder, NAMED, url)


def test_what_was_written_is_kept_with_its_origin(tmp_path: Path) -> None:
    origin = Origin(url=URL, etag='"e"', modified="Mon", total=10)
    part = part_of(tmp_path / "downloads", origin, 3)
    assert (part.origin, part.size) == (origin, 3)
    with part.begin(origin) as file:
        file.write(b"de")
    assert part.path.read_bytes() == b"xxxde"
    part.size = 0
    part.begin(origin).close()
    assert part.path.read_bytes() == b""


@pytest.mark.parametrize(
    "reported",
    [None, "", "{", "[]", "3", '{"url": "https://h/helm", "more": 1}', '{"url": "https://h/helm", "total": "1"}'],
    ids=str,
)
def test_without_a_readable_origin_nothing_is_kept(tmp_path: Path, reported: str | None) -> None:
    origin = part_of(tmp_path, Origin(url=URL), 3).path.with_name(f"{NAMED}.part.json")
    origin.unlink() if reported is None else origin.write_text(reported)
    part = Part(tmp_path, NAMED, URL)
    assert (part.origin, part.size) == (Origin(url=URL), 0)


@pytest.mark.parametrize("origin", [Origin(url=URL, total=2), Origin(url="https://other/helm")])
def test_another_address_or_too_many_bytes_begin_anew(tmp_path: Path, origin: Origin) -> None:
    assert part_of(tmp_path, origin, 3).size == 0


@pytest.mark.parametrize(
    ("origin", "size", "headers", "whole"),
    [
        (Origin(url=URL), 0, {}, False),
        (Origin(url=URL), 5, {"Range": "bytes=5-"}, False),
        (Origin(url=URL, etag='"e"', modified="Mon", total=5), 5, {"Range": "bytes=5-", "If-Range": '"e"'}, True),
        (Origin(url=URL, etag='W/"e"', modified="Mon", total=6), 5, {"Range": "bytes=5-", "If-Range": "Mon"}, False),
        (Origin(url=URL, etag='W/"e"'), 5, {"Range": "bytes=5-"}, False),
    ],
)
def test_requests_of_the_rest(tmp_path: Path, origin: Origin, size: int, headers: dict[str, str], whole: bool) -> None:
    part = part_of(tmp_path, origin, size)
    assert (part.headers(), part.whole) == (headers, whole)


def test_parts_of_other_versions_of_the_same_program_go(tmp_path: Path) -> None:
    part = part_of(tmp_path, Origin(url=URL), 3)
    for name in ("helm-v0.9.0-linux-amd64.part", "helm-v0.9.0-linux-amd64.part.json", "k3d-v1.0.0-linux-amd64.part"):
        (tmp_path / name).touch()
    part.drop_others("helm")
    other = "k3d-v1.0.0-linux-amd64.part"
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"{NAMED}.part", f"{NAMED}.part.json", other]
    part.drop()
    part.drop()
    assert [each.name for each in tmp_path.iterdir()] == [other]


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
    data = tarred({"linux-amd64/LICENSE": b"l", name: b"program", "linux-amd64/README.md": b"r"}, "w:gz")
    assert read(tmp_path, data) == b"program"
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_members_that_lead_out_are_never_written(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    data = tarred({"../evil": b"e", str(tmp_path / "absolute"): b"e", NAME: b"program"}, "w:gz")
    assert read(inner, data) == b"program"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "inner"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tarred({"linux-arm64/helm": b"x"}, "w:gz"), "it is not in it"),
        (tarred({f"../{NAME}": b"x", f"/{NAME}": b"x"}, "w:gz"), "it is not in it"),
        (special(tarfile.SYMTYPE, "/etc/passwd"), "it is not a file"),
        (special(tarfile.LNKTYPE, "../../etc/passwd"), "it is not a file"),
        (special(tarfile.DIRTYPE), "it is not a file"),
        (special(tarfile.FIFOTYPE), "it is not a file"),
        (b"<html>", "cannot be read"),
        (b"", "cannot be read"),
        (tarred({NAME: bytes(range(256)) * 5000}, "w:gz")[:700], "cannot be read"),
    ],
)
def test_what_is_no_such_archive_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(LaunchError, match=f"does not contain {NAME}") as caught:
        read(tmp_path, data)
    assert why in caught.value.why


def test_a_program_that_would_fill_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.host.download._LARGEST", 3)
    with pytest.raises(LaunchError, match="does not contain"):
        read(tmp_path, tarred({NAME: b"four"}, "w:gz"))
