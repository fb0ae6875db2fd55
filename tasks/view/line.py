"""A line of text whose parts have a meaning; what a meaning looks like is decided where it is printed."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.engine.step import State
from tasks.view.fit import LEAST, cells, clean, cut

STYLES = {"good": "green", "bad": "bold red", "warn": "yellow", "dim": "dim", "strong": "bold", "": ""}
"""Meanings, and how rich shows them."""


@dataclass(frozen=True)
class Line:
    """Parts of one line, each a text and its meaning (a key of `STYLES`)."""

    parts: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The line without its meanings."""
        return "".join(text for text, _ in self.parts)

    def __str__(self) -> str:
        return self.text

    def fitted(self, width: int | None, more: str = "…") -> Line:
        """The line in at most `width` columns; None leaves it as it is."""
        if width is None or cells(self.text) <= width:
            return self
        short = cut(self.text, width, more)
        kept, at = [], 0
        for text, style in self.parts:
            kept.append((short[at : at + len(text)], style))
            at += len(text)
        return Line(tuple(part for part in kept if part[0]))

    def followed(self, text: str, style: str, width: int | None, more: str = "…") -> Line:
        """The line with a text after it, cut to what is left of `width`; without it where that is too little."""
        room = None if width is None else width - cells(self.text) - 2
        if not text or (room is not None and room < min(LEAST, cells(text))):
            return self
        return Line((*self.parts, *line("  ", (text, style)).parts)).fitted(width, more)


def line(*parts: str | tuple[str, str]) -> Line:
    """A line of texts, or of texts with their meanings; none of them can hold a control character."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Line(tuple((clean(text), style) for text, style in pairs if text))


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The signs that views use."""

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
        """The sign of a state, and its meaning."""
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
    """The signs that an encoding has; plain ASCII for one that lacks any of them, or is not known."""
    try:
        "".join(vars(UNICODE).values()).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE
