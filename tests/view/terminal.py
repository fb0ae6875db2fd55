"""A minimal terminal: its content after drawing, erasing, and a change of its size."""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+")
_ENDLESS = 10**6


@dataclass
class _Row:
    text: str = ""
    goes_on: bool = False
    """The next row is the rest of the same line: it was too long."""


@dataclass
class Terminal:
    """One kind re-wraps its content when it is resized, the other cuts it."""

    width: int = _ENDLESS
    height: int = _ENDLESS
    rewraps: bool = False
    rows: list[_Row] = field(default_factory=lambda: [_Row()])
    row: int = 0
    column: int = 0
    wrapped: int = 0
    """How often a text was too long for a row."""

    @property
    def top(self) -> int:
        """The first row that has not scrolled away."""
        return max(0, len(self.rows) - self.height)

    @property
    def lines(self) -> list[str]:
        """All rows, those that have scrolled away included; empty ones at the end left out."""
        return _stripped([row.text for row in self.rows])

    @property
    def shown(self) -> list[str]:
        """What can be seen."""
        return _stripped([row.text for row in self.rows[self.top :]])

    def feed(self, text: str) -> None:
        """Take what a program wrote."""
        for token in _TOKEN.finditer(text):
            self._take(token[0], token[1], token[2])

    def resize(self, width: int, height: int) -> None:
        """The user changes the window's size."""
        if self.rewraps:
            self._wrap_anew(width)
        else:
            for row in self.rows[self.top :]:
                row.text = row.text[:width]
        self.width, self.height = width, height
        self.column = min(self.column, width)
        while len(self.rows) > self.row + 1 and not self.rows[-1].text and self.top > 0:
            self.rows.pop()
        self.row = max(self.row, self.top)

    def _take(self, token: str, given: str | None, letter: str | None) -> None:
        if token == "\r":
            self.column = 0
        elif token == "\n":
            self._down()
        elif letter == "A":
            self.row = max(self.top, self.row - int(given or 1))
        elif letter == "K":
            self.rows[self.row].text = "" if given == "2" else self.rows[self.row].text[: self.column]
        elif letter == "H":
            assert not given
            self.row, self.column = self.top, 0
        elif letter == "J":
            assert not given
            self.rows[self.row] = _Row(self.rows[self.row].text[: self.column])
            for number in range(self.row + 1, len(self.rows)):
                self.rows[number] = _Row()
        elif letter is None:
            self._write(token)
        else:
            assert letter in "mhl", token  # colours, and the cursor shown or hidden

    def _write(self, text: str) -> None:
        while text:
            if self.column >= self.width:
                self.wrapped += 1
                self.rows[self.row].goes_on = True
                self._down()
            part, text = text[: self.width - self.column], text[self.width - self.column :]
            row = self.rows[self.row]
            row.text = row.text[: self.column].ljust(self.column) + part + row.text[self.column + len(part) :]
            self.column += len(part)

    def _down(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.rows):
            self.rows.append(_Row())

    def _wrap_anew(self, width: int) -> None:
        wrapped: list[_Row] = []
        line, at = "", None
        row = column = 0
        for number, old in enumerate(self.rows):
            if number == self.row:
                at = len(line) + self.column
            line += old.text
            if old.goes_on:
                continue
            parts = [line[start : start + width] for start in range(0, len(line), width)] or [""]
            if at is not None:
                row, column = len(wrapped) + min(at // width, len(parts) - 1), at % width
            wrapped += [_Row(part, goes_on=part is not parts[-1]) for part in parts]
            line, at = "", None
        self.rows, self.row, self.column = wrapped, row, column


def screen(text: str) -> list[str]:
    """The lines on an endless terminal."""
    terminal = Terminal()
    terminal.feed(text)
    return terminal.lines


def _stripped(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines.pop()
    return lines
