"""Versions as the programs print them, and when they are asked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.facts.programs import FILE, Versions, numbers, parse, versions
from tests.programs import Answer, FakePrograms

K3D = "k3d version v5.9.0\nk3s version v1.35.5-k3s1 (default)\n"
KUBECTL = json.dumps({"clientVersion": {"major": "1", "gitVersion": "v1.33.13"}, "kustomizeVersion": "v5.6.0"})
HELM = "v4.1.4+g0b8d9b4\n"
ALL = Versions(k3d="v5.9.0", kubectl="v1.33.13", helm="v4.1.4")


@pytest.mark.parametrize(
    ("name", "out", "expected"),
    [
        ("k3d", K3D, "v5.9.0"),
        ("k3d", "k3d version v5-dev\nk3s version latest (default)\n", "v5-dev"),
        ("k3d", "k3d version v5.10.0-rc.1\n", "v5.10.0-rc.1"),
        ("k3d", "command not found", None),
        ("kubectl", KUBECTL, "v1.33.13"),
        ("kubectl", '{"clientVersion": {"gitVersion": "v1.32.4-dispatcher"}}', "v1.32.4-dispatcher"),
        ("kubectl", '{"clientVersion": {"gitVersion": "v1.33.1+k3s1"}}', "v1.33.1"),
        ("kubectl", '{"clientVersion": {"gitVersion": 3}}', None),
        ("kubectl", "[]", None),
        ("kubectl", "Client Version: v1.33.13", None),
        ("helm", "v3.19.5+g4e5e5f5\n", "v3.19.5"),
        ("helm", HELM, "v4.1.4"),
        ("helm", "v3.19\n", "v3.19"),
        ("helm", "WARNING: Kubernetes configuration file is group-readable\nv3.13.0+g825e86f\n", "v3.13.0"),
        ("helm", "Client: v2.17.0+ga690bad\n", None),
    ],
)
def test_what_they_print(name: str, out: str, expected: str | None) -> None:
    assert parse(name, out) == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v5.9.0", (5, 9, 0)),
        ("v3.19", (3, 19)),
        ("20.10.24+dfsg1", (20, 10, 24)),
        ("v1.32.4-dispatcher", (1, 32, 4)),
        ("v5-dev", (5,)),
        ("dev", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_numbers(version: str | None, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected


Making = Callable[..., FakePrograms]


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """Programs that lie in files of some size, and answer."""

    def make(*, size: int = 2_000_000, **more: Answer) -> FakePrograms:
        paths: dict[str, str | None] = {}
        for name in ("k3d", "kubectl", "helm"):
            path = tmp_path / name
            if not path.exists() or path.stat().st_size != size:
                with path.open("wb") as file:
                    file.truncate(size)
            paths[name] = str(path)
        answers = {"k3d": Answer(out=K3D), "kubectl": Answer(out=KUBECTL), "helm": Answer(out=HELM), **more}
        return FakePrograms(answers=answers, paths=paths)

    return make


def test_each_is_asked_once(making: Making, tmp_path: Path) -> None:
    first, second = making(), making()
    assert versions(first, tmp_path / "state") == ALL
    assert sorted(first.lines) == ["helm version --short", "k3d version", "kubectl version --client --output=json"]
    assert versions(second, tmp_path / "state") == ALL
    assert second.asked == []
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_another_file_is_asked_and_the_others_are_not(making: Making, tmp_path: Path) -> None:
    versions(making(), tmp_path)
    os.utime(tmp_path / "helm", ns=(1, 1))
    again = making(helm=Answer(out="v4.2.0+gabc1234"))
    assert versions(again, tmp_path) == Versions(k3d="v5.9.0", kubectl="v1.33.13", helm="v4.2.0")
    assert again.lines == ["helm version --short"]
    assert versions(making(), tmp_path).helm == "v4.2.0"


def test_a_link_is_its_target(making: Making, tmp_path: Path) -> None:
    programs = making()
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "k3d"
    link.symlink_to(tmp_path / "k3d")
    versions(FakePrograms(answers=programs.answers, paths={**programs.paths, "k3d": str(link)}), tmp_path)
    (tmp_path / "k3d-5.10").write_bytes(b"\0" * 2_000_000)
    link.unlink()
    link.symlink_to(tmp_path / "k3d-5.10")
    answers = {**programs.answers, "k3d": Answer(out="k3d version v5.10.0\n")}
    again = FakePrograms(answers=answers, paths={**programs.paths, "k3d": str(link)})
    assert versions(again, tmp_path).k3d == "v5.10.0"


def test_shims_are_asked_every_time(making: Making, tmp_path: Path) -> None:
    for _ in range(2):
        programs = making(size=200)
        assert versions(programs, tmp_path) == ALL
        assert len(programs.asked) == 3
    manager = tmp_path / "mise"
    manager.write_bytes(b"\0" * 2_000_000)
    for name in ("k3d", "kubectl", "helm"):
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to(manager)
    for _ in range(2):
        programs = FakePrograms(
            answers=making(size=2_000_000).answers,
            paths={name: str(tmp_path / name) for name in ("k3d", "kubectl", "helm")},
        )
        assert versions(programs, tmp_path) == ALL
        assert len(programs.asked) == 3


def test_missing_and_broken_ones_are_none_and_not_remembered(making: Making, tmp_path: Path) -> None:
    broken = making(helm=Answer(code=2), kubectl=Answer(late=True))
    assert versions(broken, tmp_path) == Versions(k3d="v5.9.0")
    assert versions(making(), tmp_path) == ALL
    assert versions(FakePrograms(), tmp_path) == Versions()
    assert versions(FakePrograms(), tmp_path / "other") == Versions()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"k3d": 1}', '{"k3d": {"version": "v1", "more": 1}}', '{"k3d": {}}'])
def test_a_strange_memory_is_forgotten(making: Making, tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    programs = making()
    assert versions(programs, tmp_path) == ALL
    assert len(programs.asked) == 3


def test_a_memory_that_cannot_be_kept_is_no_failure(making: Making, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert versions(making(), tmp_path / "file") == ALL
