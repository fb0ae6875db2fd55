"""k3d, kubectl and helm, against each other and the cluster's Kubernetes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.checks.facts import Context
from tasks.checks.machine import context, helm, helm_window, k3d, kubectl
from tasks.facts.programs import Versions
from tests.checks.given import WELL, one


@pytest.mark.parametrize(
    ("check", "versions", "kubernetes", "level"),
    [
        (k3d, Versions(k3d="v5.9.0"), 32, "ok"),
        (k3d, Versions(k3d="v5.7.0"), 32, "ok"),
        (k3d, Versions(k3d="v5.6.3"), 32, "warning"),
        (k3d, Versions(k3d="v4.4.8"), 32, "warning"),
        (k3d, Versions(k3d="v5-dev"), 32, "ok"),
        (k3d, Versions(k3d="v6.0.0"), 32, "problem"),
        (k3d, Versions(), 32, "warning"),
        (kubectl, Versions(kubectl="v1.32.4-dispatcher"), 32, "ok"),
        (kubectl, Versions(kubectl="v1.33.13"), 32, "ok"),
        (kubectl, Versions(kubectl="v1.31.0"), 32, "ok"),
        (kubectl, Versions(kubectl="v1.34.1"), 32, "warning"),
        (kubectl, Versions(kubectl="v1.28.0"), 32, "warning"),
        (kubectl, Versions(kubectl="v1.28.0"), None, "ok"),
        (kubectl, Versions(kubectl="v1.21.0"), None, "warning"),
        (kubectl, Versions(), 32, "warning"),
        (helm, Versions(helm="v4.1.4"), 32, "ok"),
        (helm, Versions(helm="v4.1.4"), 35, "ok"),
        (helm, Versions(helm="v4.1.4"), 36, "warning"),
        (helm, Versions(helm="v4.2.0"), 32, "warning"),
        (helm, Versions(helm="v3.13.0"), 28, "ok"),
        (helm, Versions(helm="v3.12.3"), 27, "warning"),
        (helm, Versions(helm="v3.19"), 32, "ok"),
        (helm, Versions(helm="v5.0.0"), 32, "ok"),
        (helm, Versions(), None, "warning"),
    ],
)
def test_versions(check: Any, versions: Versions, kubernetes: int | None, level: str) -> None:
    found = one(check(replace(WELL, versions=versions, kubernetes=kubernetes)))
    assert found.level.value == level


@pytest.mark.parametrize(
    ("check", "versions"), [(k3d, Versions(k3d="v5.6.3")), (helm, Versions(helm="v3.12.3")), (kubectl, Versions())]
)
def test_what_should_have_been_fetched_stops_a_launch(check: Any, versions: Versions) -> None:
    assert list(check(replace(WELL, versions=None))) == []
    before = one(check(replace(WELL, versions=versions)))
    after = one(check(replace(WELL, versions=versions, fetched=True)))
    assert (before.level.value, after.level.value) == ("warning", "problem")
    assert before.remedy is not None
    assert before.remedy.fetch
    assert before.remedy.shown == "make tools"


@pytest.mark.parametrize(
    ("version", "window"),
    [
        ("v3.13.3", (25, 28)),
        ("v3.19.5", (31, 34)),
        ("v3.20.0", (32, 35)),
        ("v4.0.0", (31, 34)),
        ("v4.1.4", (32, 35)),
        ("v4.2.0", (33, 36)),
        ("v5.0.0", None),
        ("v2.17.0", None),
        ("", None),
        (None, None),
    ],
)
def test_the_window_of_a_helm(version: str | None, window: tuple[int, int] | None) -> None:
    """The table of helm.sh/docs/topics/version_skew."""
    assert helm_window(version) == window


def test_a_foreign_cluster() -> None:
    reached = replace(WELL, engine=None, context=Context(name="prod", version="v1.33.1"))
    assert one(context(reached)).level.value == "ok"
    lost = replace(reached, context=Context(name="prod", version=None, error='context "prod" does not exist'))
    found = one(context(lost))
    assert (found.level.value, found.why) == ("problem", 'context "prod" does not exist')
    assert list(k3d(reached)) == []
    assert list(context(WELL)) == []
