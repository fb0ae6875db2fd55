"""Members of a JSON object are edited in its text, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.host.daemon_json import NotPlain, drop, get, members, put

LINES = '{\n    "debug": true,\n    "log-opts": {"max-size": "10m"},\n    "dns": ["1.1.1.1"]\n}\n'
TABS = '{\r\n\t"debug" : true\r\n}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '{\n  "k": 1\n}\n'),
        (" \n", ' \n{\n  "k": 1\n}\n'),
        ("{}", '{\n  "k": 1\n}'),
        ("{ \n }\n", '{\n  "k": 1\n}\n'),
        ('{"a": 1}', '{"a": 1, "k": 1}'),
        ('{"a":1,"b":2}', '{"a":1,"b":2, "k": 1}'),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 2, "k": 1}'),
        (LINES, LINES.replace('["1.1.1.1"]\n', '["1.1.1.1"],\n    "k": 1\n')),
        (TABS, '{\r\n\t"debug" : true,\r\n\t"k": 1\r\n}'),
        ('\ufeff{"a": 1}', '\ufeff{"a": 1, "k": 1}'),
        ('{"k": {"deep": [1, 2]}, "b": 2}', '{"k": 1, "b": 2}'),
        ('{"k":3}', '{"k":1}'),
        ('{"a": 1.0, "b": 1e3, "ü": "\\u00fc"}', '{"a": 1.0, "b": 1e3, "ü": "\\u00fc", "k": 1}'),
    ],
)
def test_put(text: str, expected: str) -> None:
    made = put(text, "k", 1)
    assert made == expected
    assert json.loads(made.removeprefix("\ufeff"))["k"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"k": 1}', "{}"),
        ('{\n  "k": 1\n}\n', "{}\n"),
        ('{"k": 1, "b": 2}', '{"b": 2}'),
        ('{"a": 1, "k": 1}', '{"a": 1}'),
        ('{"a": 1, "k": [1], "b": 2}', '{"a": 1, "b": 2}'),
        (LINES, LINES),
        ("", ""),
    ],
)
def test_drop(text: str, expected: str) -> None:
    assert drop(text, "k") == expected


@pytest.mark.parametrize("text", ["{}", '{"a": 1}', '{"a":1,"b":2}', LINES, TABS, '{"a": {"k": 2}}'])
@pytest.mark.parametrize("value", [1, ["http://127.0.0.1:5051"], None, "ü"])
def test_what_is_put_in_and_dropped_leaves_the_other_values(text: str, value: Any) -> None:
    made = put(text, "k", value)
    assert json.loads(made) == {**json.loads(text), "k": value}
    assert json.loads(drop(made, "k")) == json.loads(text)
    if members(text):
        assert drop(made, "k") == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "line 1: an object in braces"),
        ("null", "line 1: an object in braces"),
        ('{\n  // mine\n  "a": 1}', "line 2: a comment"),
        ('{"a": 1 /* mine */}', "line 1: a comment"),
        ('# mine\n{"a": 1}', "line 1: a comment"),
        ('{"a": 1}\n// mine', "line 2: a comment"),
        ('{"a": 1,}', "line 1: Expecting value"),
        ('{"a" 1}', "a colon"),
        ('{"a": 1 "b": 2}', "a comma"),
        ('{"a": 1', "a comma"),
        ("{", "Expecting value"),
        ("{a: 1}", "Expecting value"),
        ("{1: 1}", "a key in quotes"),
        ('{"a": 1} {"b": 2}', "behind the closing brace"),
        ('{"a": NaN}', "not JSON"),
        ('{"a": ' + "[" * 100000 + "}", "not JSON"),
        ('{"a": "' + "x", "Unterminated string"),
    ],
)
def test_what_is_no_json_object_is_refused(text: str, told: str) -> None:
    with pytest.raises(NotPlain, match=told):
        members(text)


def test_a_key_that_stands_twice_is_only_a_fault_where_it_is_asked_for() -> None:
    text = '{"a": 1,\n "a": 2}'
    assert put(text, "k", 1) == '{"a": 1,\n "a": 2,\n "k": 1}'
    with pytest.raises(NotPlain, match="line 2: 'a' stands twice"):
        get(text, "a")


def test_what_looks_like_a_comment_inside_of_a_text_is_none() -> None:
    assert put('{"a": "http://x/* # */"}', "k", 1) == '{"a": "http://x/* # */", "k": 1}'
