"""HTML from elements: every text and every attribute is escaped here, so that nobody else has to think of it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None | Iterable["Child"]
Value = str | int | float | bool | None
_VOID = frozenset({"meta", "link", "br", "input"})


def el(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """An element. Attributes lose underscores at their end, others become hyphens; None and False leave one out."""
    shown = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{join(children)}</{name}>")


def join(children: Child) -> Markup:
    """All of them one after the other; strings that are no `Markup` are escaped."""
    if children is None:
        return Markup()
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(escape(children, quote=False))
    return Markup("".join(map(join, children)))


def _attribute(key: str, value: Value) -> str:
    if value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
