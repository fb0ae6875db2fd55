"""Which profile is taken, and where it is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings.project import origins, project, refused, resolved

ROOT = Path(__file__).parents[2]


def named(text: str) -> str:
    return f"cluster: {{name: {text}}}\n"


def test_option_then_variable_then_file_then_none(tmp_path: Path) -> None:
    project(tmp_path, "profile: a\n", a=named("a"), b=named("b"), c=named("c"))
    environ = {"OPENFRAME_PROFILE": "b"}
    for found, name, origin in (
        (resolved(tmp_path, profile="c", environ=environ), "c", "--profile"),
        (resolved(tmp_path, "profile=c", environ=environ), "c", "--set"),
        (resolved(tmp_path, "profile=b", environ=environ, profile="c"), "c", "--profile"),
        (resolved(tmp_path, environ=environ), "b", "OPENFRAME_PROFILE"),
        (resolved(tmp_path, environ={"OPENFRAME_PROFILE": ""}, profile=""), "a", "invoke.yaml:1"),
    ):
        assert (found.settings.profile, found.settings.cluster.name) == (name, name)
        assert origins(found)["profile"] == origin
    assert resolved(tmp_path, profile="none").settings.profile is None
    assert resolved(tmp_path, "profile=null").settings.profile is None


def test_profile_may_stand_below_our_name_too(tmp_path: Path) -> None:
    project(tmp_path, "openframe: {profile: a}\n", a=named("a"))
    assert resolved(tmp_path).settings.cluster.name == "a"
    project(tmp_path, "profile: a\nopenframe: {profile: b}\n")
    assert "profile is set twice" in refused(tmp_path).what


def test_what_has_a_slash_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "my.yaml").write_text(named("mine"), encoding="utf-8")
    (elsewhere / "my.json").write_text('{"cluster": {"name": "json"}}', encoding="utf-8")
    root = project(tmp_path, "profile: ./elsewhere/my.yaml\n")
    monkeypatch.chdir(elsewhere)
    for path in ("./my.yaml", str(elsewhere / "my.yaml")):
        found = resolved(root, profile=path)
        assert found.settings.cluster.name == "mine"
        assert origins(found)["cluster.name"] == f"{path}:1"
    assert resolved(root, environ={"OPENFRAME_PROFILE": "../elsewhere/my.yaml"}).settings.cluster.name == "mine"
    assert resolved(root, profile="./my.json").settings.cluster.name == "json"
    monkeypatch.chdir("/")
    assert resolved(root).settings.cluster.name == "mine"  # invoke.yaml's is seen from its own folder


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("low-memry", ["'low-memry'", "ci, low-memory", "did you mean low-memory?"]),
        ("qqq", ["there are ci, low-memory"]),
        ("./nowhere.yaml", ["there is no file"]),
        ("~nobody-at-all/x.yaml", ["there is no file"]),
        ("mine.yaml", ["write it ./mine.yaml"]),
        ("a\x00b", ["'a\\x00b'", "it is no file's name"]),
        ("\udcff", ["'\\udcff'"]),
        ("x" * 5000, ["it is no file's name"]),
        ("x" * 300, ["there is no"]),
        ("./" + "x" * 300, ["there is no file"]),
        ("./config", ["there is no file"]),
        ("/dev/zero", ["there is no file"]),
        ("pins", ["there are ci, low-memory"]),
    ],
)
def test_a_profile_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: list[str]
) -> None:
    project(tmp_path, ci="", low_memory="", pins="k3d: {}\n")
    (tmp_path / "mine.yaml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    error = refused(tmp_path, profile=name)
    assert error.what.startswith("--profile: ")
    for part in told:
        assert part in str(error)
    assert "OPENFRAME_PROFILE" in refused(tmp_path, environ={"OPENFRAME_PROFILE": name}).what


def test_without_any_profile_that_is_said(tmp_path: Path) -> None:
    assert "config/ has none" in refused(tmp_path, profile="x").why


@pytest.mark.parametrize("name", ["dev", "ci", "low-memory"])
def test_the_profiles_of_the_project_are_valid_and_say_for_whom_they_are(name: str) -> None:
    found = resolved(ROOT, profile=name)
    assert found.settings.profile == name
    text = (ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=../docs/reference/settings.schema.json\n#\n# For ")


def test_what_the_profiles_are_for() -> None:
    assert resolved(ROOT).settings == resolved(ROOT, profile="none").settings
    dev, ci, low = (resolved(ROOT, profile=name) for name in ("dev", "ci", "low-memory"))
    assert dev.settings_hash == resolved(ROOT).settings_hash
    assert not dev.above_default("pool.downloads")
    assert not ci.settings.kubeconfig.switch
    assert ci.settings.registries.caches == ()
    assert low.settings.cluster.agents == 0
    assert low.above_default("pool.downloads")
    assert [cache.upstream for cache in low.settings.registries.caches] == ["docker.io"]
