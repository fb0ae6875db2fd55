"""The stand-in for helm refuses what Helm would: a misspelt option does not pass a rehearsal."""

import io
import json
from pathlib import Path

import pytest

from tasks.rehearsal.folder import VARIABLE, prepare
from tasks.rehearsal.program import run


@pytest.mark.parametrize(
    ("words", "version", "output"),
    [
        ("upgrade --install", "v4.1.4", '"helm upgrade" requires at least 2 arguments'),
        ("dependency list nowhere", "v4.1.4", "Chart.yaml file is missing"),
        ("pull shop/web", "v4.1.4", "repo shop not found"),
        ("pull --no-such-flag", "v4.1.4", "option --no-such-flag not recognized"),
        ("nonsense", "v4.1.4", 'unknown command "nonsense" for "helm"'),
        ("repo update --fail-on-repo-update-fail", "v4.1.4", "option --fail-on-repo-update-fail not recognized"),
        ("upgrade web shop/web --force-conflicts", "v3.19.0", "option --force-conflicts not recognized"),
    ],
)
def test_what_helm_would_refuse_is_refused(words: str, version: str, output: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "versions.json").write_text(json.dumps({"helm": version}))
    environ = {VARIABLE: str(tmp_path), "HELM_REPOSITORY_CONFIG": str(tmp_path / "repositories.yaml")}
    out, err = io.BytesIO(), io.BytesIO()
    assert run("helm", words.split(), environ, io.BytesIO(), out, err) == 1
    assert output in err.getvalue().decode()
    assert out.getvalue() == b""
