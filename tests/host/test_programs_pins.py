"""The pins are read strictly, and those of the project lie in one window."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import BadInput
from tasks.facts.programs import numbers
from tasks.host.programs import PROGRAMS, read
from tasks.settings.schema import Cluster

FILE = Path(__file__).parents[2] / "config" / "pins.yaml"
GOOD = """
k3d: {version: v5.9.0, minimum: v5.7.0}
kubectl: {version: v1.33.13, minimum: v1.22.0, serves: ["1.32", "1.34"]}
helm: {version: v4.1.4, minimum: v3.13.0, serves: ["1.32", "1.35"]}
"""


def minor(text: str) -> int:
    return int(text.split(".")[1])


def test_all_pins_serve_the_kubernetes_that_is_launched_by_default() -> None:
    pins = read(FILE)
    default = numbers(Cluster().kubernetes_version)
    for pin in (pins.kubectl, pins.helm):
        assert pin.serves is not None
        assert minor(pin.serves[0]) <= default[1] <= minor(pin.serves[1])


def test_kubectl_serves_one_minor_to_either_side() -> None:
    pin = read(FILE).kubectl
    own = numbers(pin.version)
    assert pin.serves == (f"1.{own[1] - 1}", f"1.{own[1] + 1}")


def test_helm_4_serves_four_minors() -> None:
    pin = read(FILE).helm
    assert pin.serves is not None
    assert minor(pin.serves[1]) - minor(pin.serves[0]) == 3


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_fetched_is_not_itself_too_old(program: str) -> None:
    pin = read(FILE).of(program)
    assert numbers(pin.version) >= numbers(pin.minimum)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD.replace("v5.9.0", "5.9.0"), "k3d.version"),
        (GOOD.replace("v1.33.13", "latest"), "kubectl.version"),
        (GOOD.replace('"1.35"', "1.35"), "helm.serves.1"),
        (GOOD.replace("minimum: v3.13.0,", ""), "helm.minimum"),
        (GOOD + "kind: {version: v1.0.0, minimum: v1.0.0}", "kind"),
        ("", "the whole file"),
        ("k3d: [", "line 2"),
    ],
)
def test_a_wrong_file_is_one_error_that_names_the_place(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "pins.yaml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        read(path)
    assert str(path) in caught.value.what
    assert why in caught.value.why


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read(tmp_path / "pins.yaml")
