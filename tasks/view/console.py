"""The only functions that print, and tables that fit the width: cells wrap, else each row becomes a block.

They mask secrets, and ignore a closed pipe.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from tasks.core.errors import LaunchError
from tasks.core.redact import clean, redact
from tasks.engine.step import State

if TYPE_CHECKING:
    from rich.text import Text


_COMMAND = re.compile(r"^([^\S\n]*)::", re.MULTILINE)
"""GitHub's runner looks for commands at the start of a line, after blanks, in both streams."""
_CONTROLS = {code: " " for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""Control characters in foreign texts, which a terminal must not interpret; a `Line` has none."""
_CLOSED = (errno.EPIPE, errno.EIO)
"""Errors of writing to a closed pipe or terminal."""
_QUOTED = re.compile(r"`[^`]*`")
PIPED = 160
"""Columns for lines that no terminal wraps: a plan's rows, for grep, and critical paths."""
LEAST = 8
"""Minimum columns for a truncated text; with fewer it is omitted."""
_GLUE = "\ufdd0"
"""Represents a non-breaking blank; a code point from Unicode's private use area."""


def cells(text: str) -> int:
    """The number of columns of a text in a terminal."""
    if text.isascii():
        return len(text)
    return sum(_cell(c) for c in text)


def _cell(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def cut(text: str, width: int, more: str = "…") -> str:
    """The text in at most `width` columns; `more` marks a truncation."""
    if cells(text) <= width:
        return text
    room = width - cells(more)
    if room < 0:
        return ""
    chars, used = [], 0
    for char in text:
        used += _cell(char)
        if used > room:
            break
        chars.append(char)
    return "".join(chars).rstrip() + more


def pad(text: str, width: int) -> str:
    """The text padded with blanks to `width` columns."""
    return text + " " * (width - cells(text))


def wrap(
    text: str, width: int | None, first: str = "", rest: str | None = None, *, break_words: bool = False
) -> list[str]:
    """Lines of at most `width` columns (None: no limit), the first after `first`, others after `rest`.

    Words and commands in backquotes are not broken, so that a command can be copied. `break_words` is for
    texts without commands: then no line is longer than `width`.
    """
    rest = " " * cells(first) if rest is None else rest
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        lead = rest if lines else first
        if width is None:
            lines.append(f"{lead}{paragraph}".rstrip())
            continue
        glued = _QUOTED.sub(lambda m: m[0].replace(" ", _GLUE), paragraph)
        wrapped = textwrap.wrap(
            glued,
            max(width, cells(rest) + (1 if break_words else 10)),
            initial_indent=lead,
            subsequent_indent=rest,
            break_long_words=break_words,
            break_on_hyphens=False,
        )
        lines += [line.replace(_GLUE, " ") for line in wrapped or [lead.rstrip()]]
    return lines


def chain(pairs: Iterable[tuple[str, float]], between: str, room: int | None) -> str:
    """Names with their seconds, for `wrap`: quoted, so that a line breaks between two if each fits in a line."""
    texts = [(name.replace("`", "'"), seconds(took)) for name, took in pairs]
    if room is not None and any(cells(f"{name} {took}{between}") > room for name, took in texts):
        return between.join(f"{name} `{took}`" for name, took in texts)
    return between.join(f"`{name} {took}`" for name, took in texts)


def seconds(value: float) -> str:
    """`0.3 s`, `42.0 s`, `3 min 05 s`, `1 h 02 min`."""
    if value < 99.95:
        return f"{max(0.0, value):.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def listed(names: Sequence[str], room: int, more: str = "…") -> str:
    """As many whole names as fit, and the number of the others; the first is truncated if necessary.

    Empty if too little of it would remain.
    """
    for shown in range(len(names), 0, -1):
        rest = f" and {len(names) - shown} more" if shown < len(names) else ""
        text = ", ".join(names[:shown]) + rest
        if cells(text) <= room:
            return text
    return cut(names[0], room - cells(rest), more) + rest if names and room - cells(rest) >= LEAST else ""


STYLES = {"good": "green", "bad": "bold red", "warn": "yellow", "dim": "dim", "strong": "bold", "": ""}
"""Styles by meaning, for rich."""


@dataclass(frozen=True)
class Line:
    """The parts of one line, each a text and its meaning (a key of `STYLES`)."""

    parts: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The line without its meanings."""
        return "".join(text for text, _ in self.parts)

    def __str__(self) -> str:
        return self.text

    def fitted(self, width: int | None, more: str = "…") -> Line:
        """The line in at most `width` columns; None leaves it unchanged."""
        if width is None or cells(self.text) <= width:
            return self
        short = cut(self.text, width, more)
        parts, at = [], 0
        for text, style in self.parts:
            parts.append((short[at : at + len(text)], style))
            at += len(text)
        return Line(tuple(part for part in parts if part[0]))

    def followed(self, text: str, style: str, width: int | None, more: str = "…") -> Line:
        """The line with a text appended, truncated to the rest of `width`; without it if the rest is too short.

        Masked before truncation: a truncated secret would not be recognised.
        """
        text = redact(text)
        room = None if width is None else width - cells(self.text) - 2
        if not text or (room is not None and room < min(LEAST, cells(text))):
            return self
        return Line((*self.parts, *line("  ", (text, style)).parts)).fitted(width, more)


def line(*parts: str | tuple[str, str]) -> Line:
    """A line of texts, or of texts with their meanings; without control characters."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Line(tuple((clean(text), style) for text, style in pairs if text))


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The symbols of views."""

    ran: str = "✓"
    skipped: str = "–"
    failed: str = "✗"
    aborted: str = "·"
    again: str = "↻"
    arrow: str = "→"
    bar: str = "│"
    more: str = "…"
    full: str = "█"
    empty: str = "░"

    def of(self, state: State) -> tuple[str, str]:
        """The symbol of a state, and its meaning."""
        return {
            State.RAN: (self.ran, "good"),
            State.SKIPPED: (self.skipped, "dim"),
            State.FAILED: (self.failed, "bad"),
            State.ABORTED: (self.aborted, "warn"),
        }[state]


UNICODE = Marks()
ASCII = Marks(
    ran="+", skipped="-", failed="x", aborted=".", again="~", arrow="->", bar="|", more="...", full="#", empty="-"
)


def marks(encoding: str | None) -> Marks:
    """The symbols in an encoding; plain ASCII if it lacks any of them, or is unknown."""
    try:
        "".join(vars(UNICODE).values()).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def out(lines: Iterable[str | Line]) -> None:
    """Print to standard output."""
    _print(lines, sys.stdout)


def err(lines: Iterable[str | Line]) -> None:
    """Print to standard error."""
    _print(lines, sys.stderr)


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal behind a stream; None if there is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def masked(line: str | Line) -> str | Line:
    """The line without secrets; if it contained one it loses its colours, since a part may have split the secret."""
    text = str(line)
    safe = redact(text)
    return line if safe == text else safe


def as_text(line: str | Line) -> Text:
    """The line for rich: never wrapped, with literal brackets and colons."""
    from rich.text import Text

    shown = Text(no_wrap=True, overflow="ignore")
    for text, style in line.parts if isinstance(line, Line) else ((line.translate(_CONTROLS), ""),):
        shown.append(text, STYLES[style])
    return shown


def command(text: str) -> None:
    """Print a command for GitHub's runner in one line; the caller has escaped its parts."""
    _print([text], sys.stdout, commands=True)


def _harmless(text: str) -> str:
    """The text without anything that GitHub's runner reads as a command, in its new or its old syntax."""
    text = text.replace("##[", "## [")
    return _COMMAND.sub(r"\1: :", text)


def _print(lines: Iterable[str | Line], stream: TextIO, *, commands: bool = False) -> None:
    safe = [masked(line) for line in lines]
    guarded = not commands and os.environ.get("GITHUB_ACTIONS") == "true"
    try:
        if stream.isatty() and any(isinstance(line, Line) for line in safe):
            _in_colour(safe, stream)
        else:
            texts = (_encodable(str(line).translate(_CONTROLS), stream) for line in safe)
            stream.write("".join(f"{_harmless(text) if guarded else text}\n" for text in texts))
        stream.flush()
    except OSError as error:
        _let_go(stream)
        if error.errno not in _CLOSED and stream is sys.stdout:
            raise LaunchError(
                "the output could not be written",
                why=error.strerror or str(error),
                fix="free disk space for standard output",
            ) from None


def _in_colour(lines: Iterable[str | Line], stream: TextIO) -> None:
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
    for line in lines:
        console.print(as_text(line))


def _encodable(text: str, stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _let_go(stream: TextIO) -> None:
    """Redirect to nowhere after `| head` has ended or the disk is full, including what Python flushes at exit."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # a stream without a descriptor, as in tests
        return


_GAP = 2
_NARROWEST = 10
"""Minimum width of a column, unless its cells are narrower."""


def table(
    rows: Sequence[Sequence[str]],
    *,
    head: Sequence[str] = (),
    width: int | None = None,
    right: Collection[int] = (),
    whole: Collection[int] = (),
) -> list[str]:
    """Rows as lines of at most `width` columns; `right` are the right-aligned columns, and `whole` those
    that are not wrapped: names that users copy.

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
    """Shrink the widest column until all fit, preferably one where no word breaks; None if that is impossible."""
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
