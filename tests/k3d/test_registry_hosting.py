"""Where developer tools are told to push to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks.k3d.create import NAME, NAMESPACE, names_a_cache, withdraw
from tasks.k3d.steps import MARK, WITHDRAW, cluster_steps
from tasks.kube.client import ApiError
from tasks.settings.step_names import API_READY, CREATE_CLUSTER
from tests.given import context, facts, settings
from tests.given_live import FakeApi, reached
from tests.programs import Answer, FakePrograms

PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"
NO_PUSH = {"push": False, "caches": [{"upstream": "ghcr.io"}]}
CACHE = "k3d-openframe-cache-ghcr-io:5000"


def told(text: str) -> dict[str, Any]:
    return {"data": {"localRegistryHosting.v1": text}}


@pytest.mark.parametrize(
    ("registries", "expected"),
    [({}, False), ({"caches": []}, False), (NO_PUSH, True), ({"push": False, "caches": []}, False)],
)
def test_a_cache_is_named_where_no_push_registry_is(
    tmp_path: Path, registries: Mapping[str, Any], expected: bool
) -> None:
    given = facts(tmp_path, settings=settings(registries=registries))
    made = {step.name: step for step in cluster_steps(given, (), lambda ports, _told: ports)}
    assert names_a_cache(given) == (WITHDRAW in made) == expected
    assert made[MARK].needs == ((CREATE_CLUSTER, WITHDRAW) if expected else (CREATE_CLUSTER,))
    if expected:
        assert made[WITHDRAW].needs == (CREATE_CLUSTER, API_READY)  # after k3d has written it


@pytest.mark.parametrize(
    ("answer", "removed", "note"),
    [
        (told(f"host: 127.0.0.1:40001\nhostFromContainerRuntime: {CACHE}\n"), True, False),
        (told("host: localhost:5000\nhostFromContainerRuntime: mine:5000\n"), False, False),  # the user's own
        (told("help: https://example.com\n"), False, False),
        (told("[:"), False, False),
        ({"data": None}, False, False),
        ((404, "{}"), False, False),
        (ApiError(0, "the API does not answer"), False, True),
    ],
)
def test_only_what_names_a_cache_is_removed(tmp_path: Path, answer: Any, removed: bool, note: bool) -> None:
    fake = FakePrograms(otherwise=Answer())
    given = facts(tmp_path, fake, settings=settings(registries=NO_PUSH))
    reached(given, FakeApi(answers={PATH: answer}))
    report = withdraw(given, context())
    assert any(" delete " in line for line in fake.lines) == removed
    assert bool(report and report.notes) == note


def test_a_refused_removal_is_a_note(tmp_path: Path) -> None:
    fake = FakePrograms(answers={"kubectl": Answer(err="Error from server (Forbidden)", code=1)})
    given = facts(tmp_path, fake, settings=settings(registries=NO_PUSH))
    reached(given, FakeApi(answers={PATH: told(f"hostFromContainerRuntime: {CACHE}")}))
    report = withdraw(given, context())
    assert report is not None
    assert f"kubectl --namespace {NAMESPACE} delete configmap {NAME}" in report.notes[0]
