"""What the stand-in for helm says of calls that are wrong: a code and a sentence, as Helm does."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tasks.rehearsal.place import VARIABLE, prepare
from tasks.rehearsal.standin import run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("upgrade --install", '"helm upgrade" requires 2 arguments'),
        ("template one", '"helm template" requires 2 arguments'),
        ("pull", '"helm pull" requires 1 argument\n'),
        ("rollback", '"helm rollback" requires at least 1 argument\n'),
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
