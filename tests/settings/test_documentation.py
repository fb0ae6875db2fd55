"""The list of settings and the schema are as the tree is, and the schema takes what the tree takes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tasks.settings.documentation import COMMAND, DIALECT, LIST, SCHEMA, schema, texts
from tasks.settings.schema import Settings
from tasks.settings.types import places

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", [LIST, SCHEMA])
def test_what_is_generated_is_current(path: Path) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == texts(ROOT)[path], f"run `{COMMAND}`"


def test_every_setting_and_variable_is_listed() -> None:
    listed = (ROOT / LIST).read_text(encoding="utf-8")
    for path, shape in places(Settings):
        assert f"`{'.'.join(path)}`" in listed
        assert shape.meaning.endswith((".", ")"))
        if shape.env is not None:
            assert f"| {shape.env} |" in listed
    assert "| GITHUB_TOKEN_CLASSIC |" in listed


VALIDATOR = Draft202012Validator(json.loads((ROOT / SCHEMA).read_text(encoding="utf-8")))


def valid(value: Any) -> bool:
    return bool(VALIDATOR.is_valid(value))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == DIALECT
    text = json.dumps(schema())
    assert '"In seconds.' in text.replace("Timeout of `k3d cluster create`. ", "")
    assert "Variable: K3D_AGENTS." in text
    assert '"ge"' not in text


@pytest.mark.parametrize("name", ["invoke.yaml", "config/dev.yaml", "config/ci.yaml", "config/low-memory.yaml"])
def test_the_files_of_the_project_fit_and_name_it(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert valid(yaml.safe_load(text))
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert ((ROOT / name).parent / named).resolve() == ROOT / SCHEMA


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"openframe": None},
        {"profile": "dev", "run": {"echo": True}, "openframe": {"cluster": {"agents": None}}},
        {"cluster": {"limits": {"enabled": "off", "server_memory": "2G"}, "ports": None}},
        {"namespaces": "a b", "images": ["a"]},
        {"helm": {"releases": {"cert-manager": {"enabled": False}, "gone": None}, "repositories": {"grafana": None}}},
        {"helm": {"releases": [{"name": "a", "namespace": "a", "chart": "./a", "values": {"x": [1]}}]}},
        {"secrets": {"s": {"type": "tls", "values": {"tls.crt": {"file": "x"}}}}},
        {"timeouts": {"pull": 5}},
        {"manifests": {"files": ["a.yaml", {"path": "b", "needs": ["cert-manager"]}]}},
        {"manifests": {"files": {"a.yaml": {"needs": "cert-manager"}}}},
    ],
)
def test_what_the_schema_takes(value: Any) -> None:
    assert valid(value)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"agents": 2},
        {"cluster": {"agnets": 2}},
        {"cluster": {"agents": 65}},
        {"cluster": {"agents": "two"}},
        {"cluster": {"timeout": 0}},
        {"profile": "dev", "cluster": {}},
        {"openframe": {"cluster": {"servers": 0}}},
        {"helm": {"releases": [{"name": "a"}]}},
        {"helm": {"releases": {"a": {"chrat": "x"}}}},
        {"docker": {"tune": "maybe"}},
        {"helm": {"releases": ["a"]}},
        {"manifests": {"files": [{"needs": ["cert-manager"]}]}},
    ],
)
def test_what_the_schema_refuses(value: Any) -> None:
    assert not valid(value)
