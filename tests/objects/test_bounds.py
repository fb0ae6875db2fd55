"""YAML that would end the process or fill the machine is refused before anything is built of it."""

from __future__ import annotations

import pytest

from tasks.errors import BadInput
from tasks.objects.bounds import MOST_DEPTH
from tasks.objects.reading import documents

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("[" * 50_000, "document 1: line 1", "nested"),
        ("[" * 50_000 + "]" * 50_000, "document 1: line 1", "nested"),
        ("{a: " * 50_000, "document 1: line 1", "nested"),
        ("- " * 50_000 + "x", "document 1: line 1", "nested"),
        ("? " * 50_000 + "x", "document 1: line 1", "nested"),
        ("a: 1\n---\nb:\n  c: " + "[" * 50_000, "document 2: line 4", "nested"),
        ("".join(" " * n + "a:\n" for n in range(MOST_DEPTH + 2)), f"line {MOST_DEPTH + 1}", "nested"),
        (LAUGHS, "document 1: line 7", "aliases"),
    ],
)
def test_too_deep_and_too_many(text: str, place: str, why: str) -> None:
    with pytest.raises(BadInput) as caught:
        documents(text, "x.yaml")
    assert place in caught.value.what
    assert why in caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "[" * MOST_DEPTH + "]" * MOST_DEPTH,
        "".join("- " for _ in range(MOST_DEPTH)) + "x",
        "a: &a [1, 2]\nb: [*a, *a]\n",
        "a: &a 1\n---\nb: &a [1]\n",
    ],
)
def test_what_people_write_is_read(text: str) -> None:
    assert documents(text, "x.yaml")


def test_a_fault_is_told_by_who_reads_next() -> None:
    with pytest.raises(BadInput, match=r"document 2: line 3"):
        documents("a: 1\n---\nb: ]\n", "x.yaml")
