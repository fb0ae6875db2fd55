"""What the stand-in for helm says of calls that are wrong: a code and a sentence, as Helm does."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tasks.rehearsal.folder import VARIABLE, prepare
from tasks.rehearsal.program import run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("upgrade --install", '"helm upgrade" requires 2 arguments'),
        ("template one", '"helm template" requires 2 arguments'),
        ("pull", '"helm pull" requires 1 argument\n'),
        ("rollback", '"helm rollback" requires at least 1 argument\n'),
        ("package", '"helm package" requires at least 1 argument\n'),
        ("dependency list nowhere", "Chart.yaml file is missing"),
        ("pull shop/web", "repo shop not found"),
        ("pull --no-such-flag", "unknown flag: --no-such-flag"),
        ("nonsense", 'unknown command "nonsense" for "helm"'),
    ],
)
def test_wrong_calls_are_told(words: str, said: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    environ = {VARIABLE: str(tmp_path), "HELM_REPOSITORY_CONFIG": str(tmp_path / "repositories.yaml")}
    out, err = io.BytesIO(), io.BytesIO()
    assert run("helm", words.split(), environ, io.BytesIO(), out, err) == 1
    assert said in err.getvalue().decode()
    assert out.getvalue() == b""


@pytest.mark.parametrize(
    ("words", "version", "said"),
    [
        ("repo update --fail-on-repo-update-fail", "v4.1.4", "unknown flag: --fail-on-repo-update-fail"),
        ("repo update --timeout 5s", "v3.19.0", "unknown flag: --timeout"),
        ("upgrade web shop/web --rollback-on-failure", "v3.19.0", "unknown flag: --rollback-on-failure"),
        ("upgrade web shop/web --recreate-pods", "v4.1.4", "unknown flag: --recreate-pods"),
        ("list --all", "v4.1.4", "unknown flag: --all"),
    ],
)
def test_each_version_knows_its_own_flags_only(words: str, version: str, said: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "versions.json").write_text(json.dumps({"helm": version}))
    environ, err = {VARIABLE: str(tmp_path)}, io.BytesIO()
    assert run("helm", words.split(), environ, io.BytesIO(), io.BytesIO(), err) == 1
    assert said in err.getvalue().decode()


@pytest.mark.parametrize("version", ["v3.19.0", "v4.1.4"])
def test_flags_of_both_versions(version: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "versions.json").write_text(json.dumps({"helm": version}))
    repositories = tmp_path / "repositories.yaml"
    repositories.write_text(json.dumps({"repositories": [{"name": "shop", "url": "https://charts.example.org"}]}))
    environ, out = {VARIABLE: str(tmp_path), "HELM_REPOSITORY_CONFIG": str(repositories)}, io.BytesIO()
    words = "template web shop/web --wait --dry-run=client --atomic --skip-tests"
    assert run("helm", words.split(), environ, io.BytesIO(), out, io.BytesIO()) == 0
    assert b"kind: Deployment" in out.getvalue() or b'"Deployment"' in out.getvalue()
