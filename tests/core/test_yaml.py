"""YAML is read as sigs.k8s.io/yaml v1.6.0 reads it: the values here are that library's own answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml

from tasks.core import yaml
from tasks.core.yaml import MOST_DEPTH, YamlError, documents, load, readable


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers that PyYAML may have."""
    if request.param == "libyaml" and not pyyaml.__with_libyaml__:
        pytest.skip("this PyYAML has no libyaml")
    if request.param == "python":
        own = {"scan_to_next_token": vars(yaml.Parser)["scan_to_next_token"]}
        monkeypatch.setattr(yaml, "Parser", type("Parser", (pyyaml.BaseLoader,), own))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: [=]", {"a": ["="]}),
        ('a:\n- =\n- "!="\n- =~\n', {"a": ["=", "!=", "=~"]}),
        (
            "a: [2024-13-45, 2024-02-31, 2001-12-14t21:59:43.10-05:00, 12:30:45]",
            {"a": ["2024-13-45", "2024-02-31", "2001-12-14t21:59:43.10-05:00", "12:30:45"]},
        ),
        ("a: [y, N, yes, Off, TRUE, tRUE]", {"a": [True, False, True, False, True, "tRUE"]}),
        ("y: 1\nno: 2\n1: 3\n1.50: 4\ntrue: 5", {"1": 3, "1.5": 4, "false": 2, "true": 5}),
        ("a: [~, null, Null, nULL, '']", {"a": [None, None, None, "nULL", ""]}),
        (
            "a: [0o17, 017, 0O17, 08, 0x1F, 0b11, -0b11, 1_000, +1, 0b12, 0x]",
            {"a": [15, 15, 15, 8, 31, 3, -3, 1000, 1, "0b12", "0x"]},
        ),
        (
            "a: [1e5, 1.e3, .5, -.5e3, 1.0, 12e03, 1e400, 1.2.3, 1_0.5_0, ._5]",
            {"a": [100000, 1000, 0.5, -500, 1, 12000, "1e400", "1.2.3", 10.5, "._5"]},
        ),
        (
            "a: [18446744073709551615, 99999999999999999999999]",
            {"a": [18446744073709551615, 1e23]},
        ),
        (
            "a: !!binary aGVsbG8=\nb: !!set {k, x}\nc: !foo bar\nd: !foo {a: 1}",
            {"a": "hello", "b": {"k": None, "x": None}, "c": "bar", "d": {"a": 1}},
        ),
        (
            "a: !!str 12\nb: !!int '3'\nc: !!float 3\nd: ! 12\ne: !!python/object:os.x {}",
            {"a": "12", "b": 3, "c": 3, "d": "12", "e": {}},
        ),
        (
            "a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  p: 9\nc:\n  p: 9\n  <<: *x\n",
            {"a": {"p": 1, "q": 2}, "b": {"p": 9, "q": 2}, "c": {"p": 1, "q": 2}},
        ),
        ("<<: [{a: 1}, {a: 2, b: 3}]\n'<<': 1", {"<<": 1, "a": 1, "b": 3}),
        ("a: 1\na: 2\n1: x\n", {"1": "x", "a": 2}),
        ("\ufeffa:\tb\r\nc: |\r\n  x\r\n  y\r\n", {"a": "b", "c": "x\ny\n"}),
        ('{\n\t"a": [1,\n\t\t2]\n}', {"a": [1, 2]}),
        ("--- # one\na: {x:1}\nb: [c:d, http://x]\n...\n", {"a": {"x:1": None}, "b": ["c:d", "http://x"]}),
        ("", None),
    ],
)
def test_what_kubernetes_takes_is_read_to_the_same_values(text: str, value: Any) -> None:
    assert load(text) == value
    assert json.dumps(load(text), sort_keys=True) == json.dumps(value, sort_keys=True)  # a flag is no number


def test_documents_are_told_apart_by_separators_and_keep_number_and_line() -> None:
    found = list(documents("---\n---\na: 1\n--- # two\n# nothing\n---\nb: 2\n"))
    assert [(each.value, each.number, each.line) for each in found if each.value] == [
        ({"a": 1}, 2, 3),
        ({"b": 2}, 4, 7),
    ]
    with pytest.raises(YamlError, match="more than one document"):
        load("a: 1\n---\nb: 2\n")


def test_what_cannot_be_read_costs_its_own_document_only() -> None:
    values, errors = readable("---\na: 1\n---\nb: c: d\n---\ne: =\n--- \nf: [\n")
    assert values == [{"a": 1}, {"e": "="}]
    assert [(each.number, each.line) for each in errors] == [(2, 4), (4, 9)]
    assert readable("a: 1\n---\nb: 2\n") == ([{"a": 1}, {"b": 2}], [])
    assert readable("") == ([], [])


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "number", "line", "reason"),
    [
        ("[" * 50_000, 1, 1, "nest"),
        ("{a: " * 50_000, 1, 1, "nest"),
        ("- " * 50_000 + "x", 1, 1, "nest"),
        ("? " * 50_000 + "x", 1, 1, "nest"),
        ("a: 1\n---\nb:\n  c: " + "[" * 50_000, 2, 4, "nest"),
        ("".join(" " * n + "a:\n" for n in range(MOST_DEPTH + 2)), 1, MOST_DEPTH + 1, "nest"),
        (LAUGHS, 1, 7, "aliases"),
        ("a: &x [*x]", 1, 1, "contains itself"),
        ("a: *x", 1, 1, "no anchor"),
        ("b: 1\na: .inf", 1, 2, "not a number in JSON"),
        ("? [a]\n: b", 1, 1, "a key is not a string"),
        ("~: 1", 1, 1, "a key is not a string"),
        ("<<: 1", 1, 1, "takes a mapping"),
        ("a: !!int hush", 1, 1, "!!int"),
        ("a: !!binary '@@'", 1, 1, "base64"),
        ("a:\n\t- b\n", 1, 2, ""),
        ("a: \x01", 1, 1, "U+0001"),
    ],
)
def test_what_nobody_can_read_is_one_error_with_its_place(text: str, number: int, line: int, reason: str) -> None:
    with pytest.raises(YamlError) as caught:
        load(text)
    assert (caught.value.number, caught.value.line) == (number, line)
    assert reason in caught.value.reason
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[" * MOST_DEPTH + "]" * MOST_DEPTH, "a: &a [1, 2]\nb: [*a, *a]", "a: &a 1\nb: &a [1]"]
)
def test_what_people_write_is_within_the_bounds(text: str) -> None:
    assert load(text)


def test_what_an_alias_repeats_is_a_value_of_its_own() -> None:
    value: Any = load("a: &a {b: [1]}\nc: *a\n")
    value["a"]["b"].append(2)
    assert value["c"] == {"b": [1]}


def test_nobody_reads_yaml_in_another_way() -> None:
    others = re.compile(r"safe_load|load_all|SafeLoader|FullLoader|yaml\.YAMLError")
    own = Path(yaml.__file__)
    found = [str(path) for path in own.parents[1].rglob("*.py") if path != own and others.search(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "text", ["y", "N", "yes", "off", "true", "NULL", "~", "1e5", "0o17", "1_0", "+1", "-.inf", ".nan", "08", "1:2", "7"]
)
def test_a_text_that_some_reader_takes_for_more_is_quoted(text: str) -> None:
    """kubectl refuses a token or a namespace that is a number or a flag to it."""
    assert yaml.dump({"key": text}) == f"key: '{text}'\n"


@pytest.mark.parametrize("text", ["admin", "a b", "noon", "ünïcode-🎉", "x" * 500, "x y " * 100])
def test_other_texts_are_on_one_line(text: str) -> None:
    result = yaml.dump({"key": text, "again": [text]})
    assert len(result.splitlines()) == 3
    assert load(result) == {"key": text, "again": [text]}


def test_a_block_text_ends_with_a_line_end_also_where_the_file_does_not() -> None:
    assert load("a: |\n  one") == {"a": "one\n"}
    assert load("a: |-\n  one") == {"a": "one"}
