"""A terminal small enough to understand: what stands on it after rich has drawn and erased."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+")


def screen(text: str) -> list[str]:
    """The lines, those that have scrolled away included and empty ones at the end left out."""
    lines = [""]
    row = column = 0
    for token in _TOKEN.finditer(text):
        given, letter = token[1], token[2]
        if token[0] == "\r":
            column = 0
        elif token[0] == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif letter == "A":
            row -= int(given or 1)
        elif letter == "K":
            lines[row] = "" if given == "2" else lines[row][:column]
        elif letter is None:
            lines[row] = lines[row][:column].ljust(column) + token[0] + lines[row][column + len(token[0]) :]
            column += len(token[0])
        else:
            assert letter in "mhl", token[0]  # colours, and the cursor shown or hidden
    while lines and not lines[-1]:
        lines.pop()
    return lines
