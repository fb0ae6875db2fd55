"""What variables and options give."""

from pathlib import Path

import pytest

from tests.settings.project import project, refused, resolved


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pass #word", "pass #word"),
        ("one\ntwo", "one\ntwo"),
        ("*.example.com", "*.example.com"),
        ("@x", "@x"),
        ("!secret", "!secret"),
        ("&a b", "&a b"),
        ("%d", "%d"),
        ("5", 5),
        ("5 # five", "5 # five"),
        ("true", True),
        ('"5"', "5"),
        ("'a #b'", "a #b"),
        ("!!str 5", "5"),
        ("[a, 'b #c']", ["a", "b #c"]),
        ("{a: 1}", {"a": 1}),
        ("{}", {}),
    ],
)
def test_a_text_of_an_option_is_taken_as_it_is(tmp_path: Path, text: str, value: object) -> None:
    found = resolved(project(tmp_path), f"helm.releases.cert-manager.values.x={text}")
    assert found.settings.helm.releases[0].values["x"] == value


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), ("30", 30)]
)
def test_a_number_of_seconds_is_also_a_duration_as_helm_takes_it(tmp_path: Path, text: str, seconds: float) -> None:
    root = project(tmp_path, f"openframe: {{timeouts: {{pull: {text}}}}}\n")
    timeouts = resolved(root, f"timeouts.health={text}").settings.timeouts
    assert (timeouts.pull, timeouts.health) == (seconds, seconds)


def test_names_with_dots_need_no_backslash_where_they_are_clear(tmp_path: Path) -> None:
    options = ("registries.caches.registry.k8s.io.url=http://mirror:5000", "cluster.server_labels.example.com/role=db")
    settings = resolved(project(tmp_path), *options, "registries.caches.new\\.io.url=http://new:5000").settings
    caches = {each.upstream: each.url for each in settings.registries.caches}
    assert caches["registry.k8s.io"] == "http://mirror:5000"
    assert caches["new.io"] == "http://new:5000"
    assert settings.cluster.server_labels["example.com/role"] == "db"


def test_the_name_above_the_settings_of_a_file_is_none_of_an_option(tmp_path: Path) -> None:
    error = refused(project(tmp_path), "openframe.cluster.agents=2")
    assert "write --set cluster.agents=" in error.fix


def test_blanks_around_a_variable_do_not_count(tmp_path: Path) -> None:
    environ = {"CLUSTER_NAME": "dev\r", "K3S_IMAGE": " rancher/k3s:v1.35.5-k3s1 "}
    cluster = resolved(project(tmp_path), environ=environ).settings.cluster
    assert (cluster.name, cluster.image) == ("dev", "rancher/k3s:v1.35.5-k3s1")
