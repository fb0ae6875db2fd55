"""Aligned columns."""

from __future__ import annotations

from collections import Counter

import pytest

from tasks.view.console import cells, table

ROWS = [["cluster", "ok", "openframe-dev runs with 1 server and 4 agents"], ["registry", "absent", "日本語"]]
HEAD = ("what", "state", "detail")


def test_columns_are_aligned() -> None:
    assert table(ROWS, head=HEAD) == [
        "what      state   detail",
        "--------  ------  ---------------------------------------------",
        "cluster   ok      openframe-dev runs with 1 server and 4 agents",
        "registry  absent  日本語",
    ]
    assert table([["a", "1"], ["b", "22"]], right=(1,)) == ["a   1", "b  22"]


@pytest.mark.parametrize("width", [24, 30, 40, 80, 160])
def test_it_fits_and_nothing_is_lost(width: int) -> None:
    lines = table(ROWS, head=HEAD, width=width)
    assert max(cells(shown) for shown in lines) <= width
    shown, wanted = Counter("".join(lines)), Counter("".join(cell for row in ROWS for cell in row))
    del wanted[" "]
    assert wanted <= shown


def test_where_columns_cannot_fit_each_row_is_a_block() -> None:
    assert table([["a" * 12, "b" * 12, ""]], head=("one", "two", "three"), width=20) == [
        "one: aaaaaaaaaaaa",
        "two: bbbbbbbbbbbb",
    ]


def test_long_words_are_broken_and_control_characters_dropped() -> None:
    assert table([["x", "y" * 25 + "\x1b[31m"]], width=20) == ["x  " + "y" * 17, "   " + "y" * 8]


def test_a_name_that_is_copied_is_never_broken() -> None:
    row = ["n" * 15, "b" * 15]
    assert table([row], width=27, whole=(0,)) == ["n" * 15 + "  " + "b" * 10, " " * 17 + "b" * 5]
    assert table([row], head=("name", "b"), width=24, whole=(0,)) == ["name: " + "n" * 15, "b: " + "b" * 15]


def test_odd_tables() -> None:
    assert table([]) == []
    assert table([], head=("a",)) == ["a", "-"]
    with pytest.raises(ValueError, match="2 cells"):
        table([["a", "b"], ["c"]])


def test_words_are_broken_only_where_nothing_else_gives_way() -> None:
    row = ["a name of many words here", "k3d-openframe-cache-docker"]
    assert table([row], width=40) == ["a name of     k3d-openframe-cache-docker", "many words", "here"]
