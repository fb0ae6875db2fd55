"""What is read from a kubeconfig comes out with the same meaning, for PyYAML's idea of it and for kubectl's."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tasks.clients.kubeconfig_file import dump, load
from tasks.core.yaml import YamlError


@pytest.mark.parametrize(
    "scalar",
    [
        "12:30:45",
        "1:2",
        "2024-01-02",
        "2024-01-02T03:04:05Z",
        "0123",
        "1.10",
        "12_3",
        "0x1F",
        ".5",
        "1e5",
        "0o17",
        "2024-02-31",
        "-1",
        "yes",
        "On",
        "'yes'",
        "'n'",
        "'1e5'",
        "'12:30'",
        "'0123'",
        "'true'",
        "'null'",
        "''",
        "' x'",
        "ünïcode-🎉",
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
        "https://127.0.0.1:6550",
    ],
)
def test_a_scalar_stays_as_it_was_written(scalar: str) -> None:
    text = f"key: {scalar}\n"
    assert dump(load(text)) == text


@pytest.mark.parametrize(("written", "again"), [("=", "'='"), ('"a"', "a"), ('"1"', "'1'"), ("!!str 12", "'12'")])
def test_a_text_may_be_written_in_another_way(written: str, again: str) -> None:
    assert dump(load(f"key: {written}\n")) == f"key: {again}\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("false", False), ("True", True), ("~", None), ("null", None), ("", None), ("yes", "yes")],
)
def test_flags_are_flags_and_nothing_is_nothing(text: str, value: Any) -> None:
    assert load(f"key: {text}")["key"] == value
    assert type(load(f"key: {text}")["key"]) is type(value) or value == "yes"


@pytest.mark.parametrize(
    "text", ["y", "N", "yes", "off", "true", "NULL", "~", "1e5", "0o17", "1_0", "+1", "-.inf", ".nan", "08", "1:2", "7"]
)
def test_a_text_that_another_reader_takes_for_more_is_quoted(text: str) -> None:
    """kubectl refuses a token or a namespace that is a number or a flag to it."""
    assert dump({"key": text}) == f"key: '{text}'\n"


@pytest.mark.parametrize("text", ["admin", "k3d-dev", "a b", "noon", "yesterday", "e5", "x" * 500, "x y " * 100])
def test_other_texts_are_plain_and_on_one_line(text: str) -> None:
    assert len(dump({"key": text}).splitlines()) == 1
    assert load(dump({"key": text})) == {"key": text}


def test_order_anchors_and_unknown_keys_stay() -> None:
    text = "z: 1\na: &x\n  k:\n  - v\nunknown:\n  b: *x\n"
    document = load(text)
    assert list(document) == ["z", "a", "unknown"]
    assert yaml.safe_load(dump(document)) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.system [id]", "a: !mine x", "a: *b", "{", "a: 1\n---\nb: 2"]
)
def test_what_is_no_plain_document_is_refused(text: str) -> None:
    with pytest.raises(YamlError):
        load(text)
