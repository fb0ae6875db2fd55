"""The only functions that print. Nothing secret passes them, and a reader who left is no error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from tasks.tools.secret import redact
from tasks.view.line import STYLES, Line

if TYPE_CHECKING:
    from rich.text import Text


def out(lines: Iterable[str | Line]) -> None:
    """Print to standard output."""
    _print(lines, sys.stdout)


def err(lines: Iterable[str | Line]) -> None:
    """Print to standard error."""
    _print(lines, sys.stderr)


def width_of(stream: TextIO) -> int | None:
    """Columns of the terminal behind a stream; None where there is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def masked(line: str | Line) -> str | Line:
    """The line without secrets; one that held any loses its colours too, as a part may have cut it."""
    text = str(line)
    safe = redact(text)
    return line if safe == text else safe


def as_text(line: str | Line) -> Text:
    """The line as rich shows it: never wrapped, its brackets and colons taken literally."""
    from rich.text import Text

    shown = Text(no_wrap=True, overflow="ignore")
    for text, style in line.parts if isinstance(line, Line) else ((line, ""),):
        shown.append(text, STYLES[style])
    return shown


def _print(lines: Iterable[str | Line], stream: TextIO) -> None:
    safe = [masked(line) for line in lines]
    try:
        if stream.isatty() and any(isinstance(line, Line) for line in safe):
            _in_colour(safe, stream)
        else:
            stream.write("".join(f"{_encodable(str(line), stream)}\n" for line in safe))
        stream.flush()
    except BrokenPipeError:
        _let_go(stream)


def _in_colour(lines: Iterable[str | Line], stream: TextIO) -> None:
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
    for line in lines:
        console.print(as_text(line))


def _encodable(text: str, stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _let_go(stream: TextIO) -> None:
    """`| head` has ended: what else is written goes nowhere, also what Python flushes when it ends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # a stream without a descriptor, as in tests
        return
