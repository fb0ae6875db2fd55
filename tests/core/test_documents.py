"""Files are read as kubectl reads them, and errors name the place."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tasks.core.documents import checked, documents, read_text
from tasks.core.errors import BadInput


def test_documents_keep_number_and_line_and_empty_ones_are_dropped() -> None:
    found = documents("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n", "f.yaml")
    assert [(each.value, each.number, each.line) for each in found] == [({"a": 1}, 2, 3), ({"b": 2}, 4, 7)]
    assert found[1].place == "f.yaml, document 4 (line 7)"
    assert documents("", "f.yaml") == documents("# nothing\n", "f.yaml") == documents(" \n", "f.json") == []


def test_json_may_be_indented_with_tabs() -> None:
    (found,) = documents('{\n\t"a": "\\ud83d\\ude00"\n}', "f.JSON")
    assert found.value == {"a": "😀"}


def test_of_a_key_that_stands_twice_the_last_one_counts_unless_it_is_to_be_refused() -> None:
    for name, text in (("f.yaml", "a: {b: 1,\n b: 2}"), ("f.json", '{"a": {"b": 1,\n "b": 2}}')):
        assert documents(text, name)[0].value == {"a": {"b": 2}}
        with pytest.raises(BadInput) as error:
            documents(text, name, unique=True)
        assert "'b' is given twice" in error.value.why


def test_json_values_may_follow_each_other_whatever_the_file_is_called() -> None:
    for name in ("f.json", "f.yaml"):
        found = documents('{"a": 1}\n{"b": [{}]}\n', name)
        assert [(each.value, each.number, each.line) for each in found] == [({"a": 1}, 1, 1), ({"b": [{}]}, 2, 2)]


@pytest.mark.parametrize(
    ("name", "text", "place", "why"),
    [
        ("f.yaml", "a: 1\n---\nb: c: d\n", "document 2: line 3", "not allowed"),
        ("f.yaml", "a: 1\nb: \x01\n", "document 1: line 2", "U+0001"),
        ("f.yaml", "a: 1\nb: {{ .Values.x }}\n", "document 1: line 2", "it becomes YAML only when a program"),
        ("f.json", '{"a": 1,\n "b": }', "document 1: line 2", "Expecting value"),
        ("f.json", '["\\ud83d"]', "f.json", "half a character"),
        ("f.json", "[NaN]", "f.json", "not a number in JSON"),
    ],
)
def test_what_cannot_be_read_names_the_place(name: str, text: str, place: str, why: str) -> None:
    with pytest.raises(BadInput) as error:
        documents(text, name)
    assert name in error.value.what
    assert place in error.value.what
    assert why in error.value.why
    assert error.value.fix


def test_values_that_came_another_way_are_checked_too() -> None:
    assert checked({1: ("a", None)}, "helm.releases") == {"1": ["a", None]}
    with pytest.raises(BadInput, match=r"helm.releases") as error:
        checked({"since": date(2024, 1, 1)}, "helm.releases")
    assert "quotes" in error.value.why


@pytest.mark.parametrize("content", [None, b"\xff", b"\xff\xfea"])
def test_a_file_that_cannot_be_read_says_what_it_is_for(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.yaml") as error:
        read_text(path, "a template")
    assert "a template" in error.value.why


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_tells_the_encoding_and_is_no_part_of_the_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes("a: 1\r\n".encode(encoding))
    assert documents(read_text(path, "a template"), "x.yaml")[0].value == {"a": 1}
