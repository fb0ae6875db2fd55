"""Aligned columns that fit the width: cells wrap, and where not even that helps, each row becomes a block."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence

from tasks.core.redact import clean
from tasks.view.console import cells, pad

_GAP = 2
_NARROWEST = 10
"""A column is not made narrower than this, unless its cells are."""


def table(
    rows: Sequence[Sequence[str]],
    *,
    head: Sequence[str] = (),
    width: int | None = None,
    right: Collection[int] = (),
    whole: Collection[int] = (),
) -> list[str]:
    """Rows as lines of at most `width` columns; `right` names the columns that are set to the right, and `whole` those
    that are not wrapped: names that are copied.

    All rows have as many cells as `head`, or as the first row; raises ValueError otherwise.
    """
    tidy = [[clean(cell) for cell in row] for row in rows]
    every = [list(head), *tidy] if head else tidy
    if not every:
        return []
    columns = len(every[0])
    if any(len(row) != columns for row in every):
        raise ValueError(f"every row of this table needs {columns} cells")
    widths = _widths([[row[i] for row in every] for i in range(columns)], width, whole)
    if widths is None:
        return _blocks(tidy, head, width or 0)
    lines: list[str] = []
    for number, row in enumerate(every):
        lines += _row(row, widths, right)
        if head and number == 0:
            lines.append((" " * _GAP).join("-" * w for w in widths).rstrip())
    return lines


def _widths(columns: Sequence[Sequence[str]], width: int | None, whole: Collection[int]) -> list[int] | None:
    """Take from the widest column until all fit, before from one that breaks no word by it; None if they cannot."""
    widths = [max(map(cells, column)) for column in columns]
    if width is None:
        return widths
    wrapped = [i for i in range(len(widths)) if i not in whole]
    words = [max((cells(word) for text in column for word in text.split()), default=0) for column in columns]
    for _ in range(sum(widths) + _GAP * (len(widths) - 1) - width):
        widest = max(wrapped, key=lambda i: (widths[i] > max(words[i], _NARROWEST), widths[i], i))
        if widths[widest] <= _NARROWEST:
            return None
        widths[widest] -= 1
    return widths


def _row(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    wrapped = [_wrap(cell, w) for cell, w in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(len(parts) for parts in wrapped)):
        texts = []
        for column, (parts, w) in enumerate(zip(wrapped, widths, strict=True)):
            text = parts[number] if number < len(parts) else ""
            texts.append(" " * (w - cells(text)) + text if column in right else pad(text, w))
        lines.append((" " * _GAP).join(texts).rstrip())
    return lines


def _wrap(text: str, width: int) -> list[str]:
    if cells(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _blocks(rows: Sequence[Sequence[str]], head: Sequence[str], width: int) -> list[str]:
    lines: list[str] = []
    for row in rows:
        if lines:
            lines.append("")
        for index, cell in enumerate(row):
            label = f"{head[index]}: " if head else ""
            if cell:
                lines += textwrap.wrap(label + cell, max(width, 1), subsequent_indent="  " if width > 4 else "")
    return lines
