"""Files are bounded before anything is built from them, and every name has its line."""

from pathlib import Path
from time import monotonic

import pytest

from tasks.core.errors import BadInput
from tasks.settings.files import MOST_DEPTH, parsed, read


def bomb(kind: str) -> str:
    """Nine levels of ten aliases each: a thousand million values from half a kilobyte."""
    lines = ["a0: &a0 [x]\n" if kind == "list" else "a0: &a0 {k: v}\n"]
    for level in range(1, 10):
        inner = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(
            f"a{level}: &a{level} [{inner}]\n" if kind == "list" else f"a{level}: &a{level} {{<<: [{inner}]}}\n"
        )
    return "".join(lines)


def test_names_have_lines() -> None:
    text = "# first\na: 1\nb:\n  c: [x, {y: 2}]\n  'd e':\n  - f: 1\n    g: 2\n  - h\n"
    assert parsed(text, "f.yaml").lines == {
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", "0"): 4,
        ("b", "c", "1"): 4,
        ("b", "c", "1", "y"): 4,
        ("b", "d e"): 5,
        ("b", "d e", "0"): 6,
        ("b", "d e", "0", "f"): 6,
        ("b", "d e", "0", "g"): 7,
        ("b", "d e", "1"): 8,
    }


def test_aliases_and_merges_work_within_bounds() -> None:
    text = "base: &base {a: 1}\none: {<<: *base, b: 2}\ntwo: *base\n? &k key\n: 3\nlast: *k\n"
    found = parsed(text, "f.yaml")
    assert found.data == {
        "base": {"a": 1},
        "one": {"a": 1, "b": 2},
        "two": {"a": 1},
        "key": 3,
        "last": "key",
    }
    assert found.lines["last",] == 6


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "null\n"])
def test_nothing_is_nothing(text: str) -> None:
    assert parsed(text, "f.yaml").data is None


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (bomb("list"), "line 6"),
        (bomb("mapping"), "line 6"),
        ("a: &a [*a]", "refers to a value that contains it"),
        ("a: &a {b: {c: *a}}", "refers to a value that contains it"),
        ("a: " + "[" * 200_000, "nesting depth"),
        ("a: " + "{b: " * 200_000, f"more than {MOST_DEPTH} deep"),
        ("- " * 5000 + "x", f"more than {MOST_DEPTH} deep"),
        ("x" * 2_000_000, "2000000 characters"),
        ("- x\n" * 60_000, "more than 50000 values"),
        ("a: 36893488147419103232", "64 bits"),
        ("a: .nan", "not a number in JSON"),
        ("a: \udcff", "not UTF-8"),
        ('a: "\\ud800"', "line 1"),
        ("a: \x00", "U+0000"),
        ("a: !!timestamp x", "the tag"),
        ("a: !!bool x", "the tag"),
        ("a: !!binary x", "the tag"),
        ("a: !mine x", "the tag"),
        ("? [a]\n: b", "not a string"),
        ("? {a: b}\n: c", "not a string"),
        ("a: *b", "no anchor"),
        ("a: 1\na: 2", "is given twice"),
        ("%YAML 9.9\n---\na: 1", "line 1"),
        ("\t", "line 1"),
        ("a: 1\n---\nb: 2", "2 documents"),
    ],
)
def test_what_cannot_be_used_is_told_at_once(text: str, reported: str) -> None:
    started = monotonic()
    with pytest.raises(BadInput) as caught:
        parsed(text, "f.yaml")
    assert reported in str(caught.value)
    assert "f.yaml" in caught.value.what
    assert monotonic() - started < 5


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("[" * 70 + "]" * 70, "deep"),
        ("[" * 100_000, "f.json"),
        ('{"a": 1, "a": 2}', "is given twice"),
        ("[1e400]", "not a number in JSON"),
        ('"\\ud800"', "half a character"),
    ],
)
def test_json_is_bounded_too(text: str, reported: str) -> None:
    with pytest.raises(BadInput) as caught:
        parsed(text, "f.json")
    assert reported in str(caught.value)


def test_only_files_are_read(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(BadInput, match="is not a file"):
            read(path, str(path), "a profile")
    with pytest.raises(BadInput, match="cannot read"):
        read(tmp_path / "x.yaml", "x.yaml", "a profile")
