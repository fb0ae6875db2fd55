"""Text that fits: its width in a terminal, cutting and wrapping it, and seconds as people read them."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
"""Control sequences as ECMA-48 defines them: CSI, OSC with its end, and the two-byte ones."""
_QUOTED = re.compile(r"`[^`]*`")
LEAST = 8
"""Columns of a cut text that still tell something; in fewer it is left out."""
_GLUE = "\ufdd0"
"""Stands for a blank that must not break; a code point that Unicode reserves for such private use."""


def clean(text: str) -> str:
    """One line without control characters: what a program wrote must not move the cursor or forge a line."""
    text = _ESCAPE.sub("", text.replace("\t", "  "))
    return "".join(c if c.isprintable() or c == " " else " " for c in text)


def cells(text: str) -> int:
    """Columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(_cell(c) for c in text)


def _cell(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def cut(text: str, width: int, more: str = "…") -> str:
    """The text in at most `width` columns; `more` shows that something is missing."""
    if cells(text) <= width:
        return text
    room = width - cells(more)
    if room < 0:
        return ""
    kept, used = [], 0
    for char in text:
        used += _cell(char)
        if used > room:
            break
        kept.append(char)
    return "".join(kept).rstrip() + more


def pad(text: str, width: int) -> str:
    """The text with blanks after it up to `width` columns."""
    return text + " " * (width - cells(text))


def wrap(
    text: str, width: int | None, first: str = "", rest: str | None = None, *, break_words: bool = False
) -> list[str]:
    """Lines of at most `width` columns (None: as they are), the first after `first`, others after `rest`.

    Words are not broken, nor what stands in back quotes: a command must survive being copied. `break_words` is for
    texts without commands: no line is longer than `width` then.
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
    """Names with their seconds, for `wrap`: quoted, so that a line breaks between two where each has room."""
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


def count(number: int, thing: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def listed(names: Sequence[str], room: int, more: str = "…") -> str:
    """As many whole names as there is room for, and how many more there are; the first is cut if it must be.

    Nothing where even that would leave too little of it to know it by.
    """
    for shown in range(len(names), 0, -1):
        rest = f" and {len(names) - shown} more" if shown < len(names) else ""
        text = ", ".join(names[:shown]) + rest
        if cells(text) <= room:
            return text
    return cut(names[0], room - cells(rest), more) + rest if names and room - cells(rest) >= LEAST else ""


def some(names: list[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
