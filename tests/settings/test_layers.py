"""What variables and options give."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings.project import project, resolved


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


def test_blanks_around_a_variable_do_not_count(tmp_path: Path) -> None:
    environ = {"CLUSTER_NAME": "dev\r", "K3S_IMAGE": " rancher/k3s:v1.35.5-k3s1 "}
    cluster = resolved(project(tmp_path), environ=environ).settings.cluster
    assert (cluster.name, cluster.image) == ("dev", "rancher/k3s:v1.35.5-k3s1")
