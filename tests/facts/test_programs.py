"""Versions as the programs print them, when they are queried, which are accepted, and what the pins say."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core.errors import BadInput
from tasks.facts.programs import FILE, PROGRAMS, Found, Pin, Versions, need, numbers, parse, read_pins, versions
from tasks.settings.schema_parts import Cluster
from tests.given import ROOT
from tests.programs import Answer, FakePrograms

K3D = "k3d version v5.9.0\nk3s version v1.35.5-k3s1 (default)\n"
KUBECTL = json.dumps({"clientVersion": {"major": "1", "gitVersion": "v1.33.13"}, "kustomizeVersion": "v5.6.0"})
HELM = "v4.1.4+g0b8d9b4\n"
PINS = """
k3d: {version: v5.9.0, minimum: v5.7.0}
kubectl: {version: v1.33.13, minimum: v1.22.0, serves: ["1.32", "1.34"]}
helm: {version: v4.1.4, minimum: v3.13.0, serves: ["1.32", "1.35"]}
"""
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
    assert second.commands == []
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
        assert len(programs.commands) == 3
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
        assert len(programs.commands) == 3


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
    assert len(programs.commands) == 3


def test_a_memory_that_cannot_be_kept_is_no_failure(making: Making, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert versions(making(), tmp_path / "file") == ALL


PIN = Pin(version="v4.1.4", minimum="v3.13.0")


@pytest.mark.parametrize(
    ("version", "ours", "fetch", "why"),
    [
        ("v4.1.4", True, False, "v4.1.4 is there: /x/helm"),
        ("v4.1.4", False, False, "is there"),
        ("v3.13.0", False, False, "is there"),
        ("v3.14.2+g1234", False, False, "is there"),
        ("v4.10.0", False, False, "is there"),
        ("v3.12.3", False, True, "/x/helm is v3.12.3, and at least v3.13.0 is needed"),
        ("v2.99.9", False, True, "at least v3.13.0"),
        ("v4.1.3", True, True, "the project's folder has v4.1.3, and v4.1.4 is wanted"),
        ("v4.2.0", True, True, "v4.1.4 is wanted"),
        (None, False, True, "does not report its version"),
        ("", False, True, "does not report its version"),
        ("unknown", True, True, "does not report its version"),
    ],
)
def test_whether_to_fetch(version: str | None, ours: bool, fetch: bool, why: str) -> None:
    reported = need(PIN, Found(path="/x/helm", version=version, ours=ours))
    assert reported.fetch is fetch
    assert why in reported.why


def test_the_projects_own_pins_fit_each_other_and_the_kubernetes_that_is_launched_by_default() -> None:
    pins, default = read_pins(ROOT), numbers(Cluster().kubernetes_version)[1]
    assert all(numbers(pins.of(name).version) >= numbers(pins.of(name).minimum) for name in PROGRAMS)
    served = [[int(each.split(".")[1]) for each in pin.serves or ()] for pin in (pins.kubectl, pins.helm)]
    assert all(first <= default <= last for first, last in served)
    own = numbers(pins.kubectl.version)[1]
    assert served[0] == [own - 1, own + 1]
    assert served[1][1] - served[1][0] == 3, "helm 4 serves four minors"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PINS.replace("v5.9.0", "5.9.0"), "k3d.version"),
        (PINS.replace("v1.33.13", "latest"), "kubectl.version"),
        (PINS.replace('"1.35"', "1.35"), "helm.serves.1"),
        (PINS.replace("minimum: v3.13.0,", ""), "helm.minimum"),
        (PINS + "kind: {version: v1.0.0, minimum: v1.0.0}", "kind"),
        ("", "the whole file"),
        ("k3d: [", "line 2"),
    ],
)
def test_a_wrong_file_is_one_error_that_names_the_place(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "config" / "pins.yaml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_pins(tmp_path)
    assert str(path) in caught.value.what
    assert why in caught.value.why
