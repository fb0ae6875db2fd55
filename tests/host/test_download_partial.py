"""A part is gone on with only where it is surely one of the same file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.host.download import Kept, Origin, Part

URL = "https://h/helm"


def written(folder: Path, origin: Origin, data: bytes) -> Part:
    part = Part(folder, "helm-v1.0.0-linux-amd64")
    with part.begin(origin, go_on=False) as file:
        file.write(data)
    return part


def test_what_was_written_is_kept_with_its_origin(tmp_path: Path) -> None:
    origin = Origin(url=URL, etag='"e"', modified="Mon", total=10)
    part = written(tmp_path / "downloads", origin, b"abc")
    assert part.kept(URL) == Kept(origin=origin, size=3)
    with part.begin(origin, go_on=True) as file:
        file.write(b"de")
    assert part.path.read_bytes() == b"abcde"
    with part.begin(origin, go_on=False) as file:
        file.write(b"x")
    assert part.kept(URL).size == 1


@pytest.mark.parametrize(
    "told",
    [None, "", "{", "[]", "3", '{"url": "https://h/helm", "more": 1}', '{"url": "https://h/helm", "total": "1"}'],
    ids=str,
)
def test_without_a_readable_origin_nothing_is_kept(tmp_path: Path, told: str | None) -> None:
    part = written(tmp_path, Origin(url=URL), b"abc")
    origin = part.path.with_name(part.path.name + ".json")
    if told is None:
        origin.unlink()
    else:
        origin.write_text(told)
    assert part.kept(URL) == Kept(origin=Origin(url=URL))


def test_another_address_or_too_many_bytes_begin_anew(tmp_path: Path) -> None:
    part = written(tmp_path, Origin(url=URL, total=2), b"abc")
    assert part.kept(URL).size == 0
    assert written(tmp_path, Origin(url="https://other/helm"), b"abc").kept(URL).size == 0


@pytest.mark.parametrize(
    ("origin", "size", "headers"),
    [
        (Origin(url=URL), 0, {}),
        (Origin(url=URL), 5, {"Range": "bytes=5-"}),
        (Origin(url=URL, etag='"e"', modified="Mon"), 5, {"Range": "bytes=5-", "If-Range": '"e"'}),
        (Origin(url=URL, etag='W/"e"', modified="Mon"), 5, {"Range": "bytes=5-", "If-Range": "Mon"}),
        (Origin(url=URL, etag='W/"e"'), 5, {"Range": "bytes=5-"}),
    ],
)
def test_what_asks_for_the_rest(origin: Origin, size: int, headers: dict[str, str]) -> None:
    assert Kept(origin=origin, size=size).headers() == headers


def test_whole_means_the_length_that_was_told() -> None:
    assert Kept(origin=Origin(url=URL, total=5), size=5).whole
    assert not Kept(origin=Origin(url=URL, total=5), size=4).whole
    assert not Kept(origin=Origin(url=URL), size=5).whole


def test_parts_of_other_versions_of_the_same_program_go(tmp_path: Path) -> None:
    part = written(tmp_path, Origin(url=URL), b"abc")
    for name in ("helm-v0.9.0-linux-amd64.part", "helm-v0.9.0-linux-amd64.part.json", "k3d-v1.0.0-linux-amd64.part"):
        (tmp_path / name).touch()
    part.drop_others("helm")
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "helm-v1.0.0-linux-amd64.part",
        "helm-v1.0.0-linux-amd64.part.json",
        "k3d-v1.0.0-linux-amd64.part",
    ]
    part.drop()
    part.drop()
    assert [each.name for each in tmp_path.iterdir()] == ["k3d-v1.0.0-linux-amd64.part"]
