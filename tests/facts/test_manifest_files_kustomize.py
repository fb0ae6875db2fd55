"""Folders with a kustomization are rendered by kubectl before a plan is made, and their objects are the user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import BadInput
from tasks.facts.manifest_files import kustomized
from tasks.run.desired import user_objects
from tasks.settings.step_names import PARTS
from tests import given
from tests.programs import Answer, FakePrograms

OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "overlay"
    found.mkdir()
    (found / "kustomization.yaml").write_text("resources: [../base]\n")
    return found


def test_what_kubectl_renders_is_the_users_own(tmp_path: Path, folder: Path) -> None:
    programs = FakePrograms(answers={f"kubectl kustomize {folder}": OBJECT})
    settings = given.settings(manifests={"files": [str(folder)]})
    rendered = kustomized(settings, given.ROOT, programs, PARTS)
    facts = given.facts(tmp_path, programs, settings=settings, rendered=rendered)
    assert [each["metadata"]["name"] for each in user_objects(facts)] == ["made"]
    assert kustomized(settings, given.ROOT, programs, ("prepull",)) == {}


def test_what_kubectl_cannot_render_names_the_folder_and_its_reason(folder: Path) -> None:
    programs = FakePrograms(otherwise=Answer(code=1, out="secret", err="error: accumulating resources: no base\n"))
    with pytest.raises(BadInput, match="overlay") as caught:
        kustomized(given.settings(manifests={"files": [str(folder)]}), given.ROOT, programs, PARTS)
    assert "accumulating resources: no base" in caught.value.why
    assert f"kubectl kustomize {folder}" in caught.value.fix
