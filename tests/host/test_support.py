"""When pinned versions leave support."""

from datetime import date

import pytest

from tasks.facts.programs import Lifetime, read_pins
from tasks.host.support import judged, main
from tests.given import ROOT

PINS = read_pins(ROOT)


@pytest.mark.parametrize(
    ("today", "levels"),
    [
        (date(2026, 11, 1), ["ok", "ok", "ok"]),
        (date(2026, 11, 27), ["ok", "ok", "warning"]),
        (date(2027, 1, 9), ["warning", "warning", "warning"]),
        (date(2027, 1, 10), ["warning", "warning", "error"]),
        (date(2027, 3, 1), ["error", "error", "error"]),
    ],
)
def test_a_pin_is_supported_to_the_end_of_its_last_day(today: date, levels: list[str]) -> None:
    ends = {
        "kubernetes": Lifetime(source="k", ends={"1.35": date(2027, 2, 28)}),
        "helm": Lifetime(source="h", ends={"4.3": date(2027, 1, 9)}),
    }
    kubectl, helm = PINS.kubectl._replace(version="v1.35.5"), PINS.helm._replace(version="v4.3.1")
    pins = PINS._replace(support=ends, kubectl=kubectl, helm=helm)
    assert [level for level, _ in judged(pins, "v1.35.5-k3s1", today)] == levels


def test_a_version_of_which_no_end_is_known_is_an_error() -> None:
    found = dict(judged(PINS, "v1.99.0", date(2026, 11, 27)))
    assert found["error"] == "Kubernetes v1.99.0: config/pins.yaml does not have the end of support of 1.99"


def test_the_ends_of_all_pins_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ROOT, date(2020, 1, 1), annotate=False) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["ok", "Kubernetes"],
        ["ok", "kubectl"],
        ["ok", "Helm"],
    ]


def test_what_has_ended_fails_and_is_shown_beside_a_run_of_github(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ROOT, date(2099, 1, 1), annotate=True) == 1
    assert capsys.readouterr().out.startswith("::error::Kubernetes v")
