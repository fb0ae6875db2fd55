"""A YAML text is changed in as few lines as possible, and means what was wanted afterwards."""

import random
from typing import Any

import pytest

from tasks.core import yaml
from tasks.core.yaml_text import edited

TEXT = """\
# mine
lists:   # two of them
# first
  - name: a
    more: {x: "1e5"}   # flow

  # second
  - more:
      k: 0x1F
    name: b   # eol
    # about b

# others
empty: []   # nothing yet
flag: off   # a flag
block: |
  text

# the end
"""


def changed(**values: Any) -> list[str]:
    """The lines that are different; a minus before those that are gone."""
    expected = {**yaml.load(TEXT), **values}
    result = edited(TEXT, expected)
    assert yaml.load(result) == expected
    before, after = TEXT.splitlines(), result.splitlines()
    assert [line for line in after if line in before] == [line for line in before if line in after]
    return [f"-{line}" for line in before if line not in after] + [line for line in after if line not in before]


A, B = yaml.load(TEXT)["lists"]


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({}, []),
        ({"flag": "x"}, ["-flag: off   # a flag", "flag: x   # a flag"]),
        ({"block": 1}, ["-block: |", "-  text", "block: 1"]),
        ({"new": {"a": ["yes"]}}, ["new:", "  a:", "  - 'yes'"]),
        ({"lists": [A, B, {"name": "c"}]}, ["  - name: c"]),
        ({"lists": [{"name": "c"}, A, B]}, ["  - name: c"]),
        ({"lists": [B]}, ["-  - name: a", '-    more: {x: "1e5"}   # flow']),
        ({"lists": [A]}, ["-  - more:", "-      k: 0x1F", "-    name: b   # eol", "-    # about b"]),
        ({"lists": [{"name": "c"}, B]}, ["-  - name: a", '-    more: {x: "1e5"}   # flow', "  - name: c"]),
        ({"empty": [1]}, ["-empty: []   # nothing yet", "empty:   # nothing yet", "- 1"]),
        ({"flag": None}, ["-flag: off   # a flag", "flag: null   # a flag"]),
    ],
)
def test_only_lines_of_what_is_different_are(values: dict[str, Any], lines: list[str]) -> None:
    assert changed(**values) == lines


def test_a_list_that_becomes_empty_keeps_the_comments_around_it() -> None:
    result = edited(TEXT, {**yaml.load(TEXT), "lists": []})
    assert result.startswith("# mine\nlists: []   # two of them\n# first\n\n  # second\n\n# others\n")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", "a: 1\n"),
        ("# nothing yet\n\n---\n", "# nothing yet\na: 1\n"),
        ('{"b": 2}', "a: 1\n"),
        ("b: &x 2\nc: *x\n", "a: 1\n"),
        ("a: 1\nb: 2", "a: 1\n"),
    ],
)
def test_what_has_no_lines_of_its_own_is_written_anew(text: str, result: str) -> None:
    assert edited(text, {"a": 1}) == result


@pytest.mark.parametrize(
    "text", ["a: 0\na: 2\nb: 3", "b: 3\na: &x [1]\n", "? a\n: 0\nb: 3\n", "b: 3\n...\n", "\ufeffb: 3\n", "b:\u2028 3\n"]
)
def test_whatever_the_form_the_meaning_is_what_was_wanted(text: str) -> None:
    expected = {**yaml.load(text), "a": [{"x": "1"}], "c": {}}
    assert yaml.load(edited(text, expected)) == expected


@pytest.mark.parametrize("seed", range(100))
def test_random_lists_keep_their_comments(seed: int) -> None:
    dice = random.Random(seed)
    names = [f"n{number}" for number in range(dice.randint(1, 5))]
    forms = ("- name: {}  # of {}\n  v: {{a: 1}}\n", "- {{name: {}}}\n", "-\n  v:\n  - x\n  name: {}  # of {}\n")
    rows = [f"# above {name}\n{dice.choice(forms).format(name, name)}" for name in names]
    text = f"rows:\n{''.join(rows)}\n# the end\nz: 1\n"
    expected = yaml.load(text)
    expected["rows"] = [row for row in expected["rows"] if dice.random() < 0.7]
    expected["rows"] += [{"name": f"new{number}"} for number in range(dice.randint(0, 2))]
    result = edited(text, expected)
    assert yaml.load(result) == expected
    assert [line for line in result.splitlines() if line.startswith("#")] == [
        *(f"# above {name}" for name in names),
        "# the end",
    ]
