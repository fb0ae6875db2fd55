"""A release's chart and values are validated by Helm once, as long as nothing changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import helm
from tasks.core.errors import LaunchError
from tasks.facts.facts import Facts
from tasks.run.charts import chart_of
from tests import given
from tests.given_live import FakeApi, named, reached
from tests.programs import Answer, FakePrograms
from tests.test_helm import INSTALL, configured

PLAIN = "--disable-openapi-validation"
BROKEN = Answer(code=1, err='Error: unable to build kubernetes objects: unknown field "spec.replica"')


def install(folder: Path, *, answer: Answer | None = None, archive: str = "", **changes: Any) -> bool:
    """Whether Helm was to validate. What was cached before in this folder exists."""
    programs = FakePrograms(answers={"helm": answer or Answer(out="{}")})
    release = changes.pop("release", {})
    created = given.facts(folder, programs, **{"settings": configured(release), "helm_version": "v4.1.4", **changes})
    _fetched(created, archive)
    reached(created, FakeApi())
    try:
        given.act(named(helm.steps(created))[INSTALL])
    finally:
        call = programs.calls[-1]
    return PLAIN not in call.command.argv


def _fetched(created: Facts, archive: str) -> None:
    chart = chart_of(created, created.releases[0])
    if chart.path is None:
        name = archive or f"app-{chart.version}.tgz"
        created.outputs.charts[chart.id] = str(chart.folder(created) / name)


def of_image(image: str) -> dict[str, Any]:
    created = given.facts(Path("/nowhere"), settings=configured())
    return {"shape": replace(created.shape, image=image)}


@pytest.mark.parametrize(
    "changes",
    [
        {"release": {"version": "1.0.1"}},
        {"release": {"chart": "oci://registry.example.com/app"}},
        {"release": {"values": {"replicas": 2}}},
        {"archive": "app-1.0.0+build.tgz"},
        {"helm_version": "v4.2.0"},
        of_image("rancher/k3s:v1.33.1-k3s1"),
    ],
    ids=["version", "chart", "values", "archive", "helm", "kubernetes"],
)
def test_anything_else_is_validated_anew(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert install(tmp_path)
    assert install(tmp_path, **changes)
    assert not install(tmp_path, **changes)
    assert not install(tmp_path), "what was validated before still is"


@pytest.mark.parametrize("release", [{"timeout": 50}, {"wait": False}, {"values": {}}])
def test_what_changes_nothing_installed_is_not_validated_anew(tmp_path: Path, release: dict[str, Any]) -> None:
    assert install(tmp_path)
    assert not install(tmp_path, release=release)


def test_a_chart_of_this_machine_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    chart.mkdir()
    (chart / "Chart.yaml").write_text("name: app\n")
    (chart / "values.yaml").write_text("a: 1\n")
    release = {"chart": str(chart), "version": None}
    assert [install(tmp_path, release=release) for _ in range(2)] == [True, False]
    (chart / "values.yaml").write_text("a: 2\n")
    assert [install(tmp_path, release=release) for _ in range(2)] == [True, False]


def test_one_that_was_refused_is_validated_again(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="unknown field"):
        install(tmp_path, answer=BROKEN)
    assert not list(tmp_path.rglob("validated/*"))
    assert [install(tmp_path) for _ in range(2)] == [True, False]


def test_in_a_cluster_of_somebody_else_it_is_always_validated(tmp_path: Path) -> None:
    """What it serves may be another thing tomorrow."""
    assert [install(tmp_path, engine="existing") for _ in range(2)] == [True, True]
    assert not list(tmp_path.rglob("validated"))
    install(tmp_path)
    assert install(tmp_path, engine="existing")


@pytest.mark.parametrize("name", ["cache", "cache/validated"])
def test_where_nothing_can_be_kept_it_is_always_validated(tmp_path: Path, name: str) -> None:
    blocked = tmp_path / name
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("a file, where a folder should be")
    assert [install(tmp_path) for _ in range(2)] == [True, True]


def test_what_is_kept_tells_nothing(tmp_path: Path) -> None:
    install(tmp_path, release={"values": {"password": "canary"}})
    (stamp,) = tmp_path.rglob("validated/*")
    assert (stamp.read_bytes(), stamp.stat().st_mode & 0o777) == (b"", 0o600)
    assert stamp.parent.stat().st_mode & 0o777 == 0o700
    assert "canary" not in stamp.name
