"""Values that must not be seen: whatever is shown, logged or recorded passes through `redact`."""

from __future__ import annotations

import base64
import json
import threading
from urllib.parse import quote

MASK = "***"
_SHORTEST = 4
"""Shorter values are not masked: they would hide half of every text, and hide nothing by it."""
_LINE = 16
"""A single line of a value is masked from this length on: shorter ones are words of any text."""

_lock = threading.Lock()
_values: tuple[str, ...] = ()
"""The longest first: one value may be a part of another."""


def conceal(value: str) -> None:
    """From now on this value is masked in everything that passes `redact`.

    So are its base64, and what becomes of it in JSON and in a URL.
    """
    global _values  # noqa: PLW0603 - the one registry of this process; it only grows
    forms = {form for text in (value, value.strip()) for form in _forms(text)}
    forms |= {line for line in value.splitlines() if len(line) > _LINE}
    with _lock:
        found = {*_values, *(form for form in forms if len(form) >= _SHORTEST)}
        _values = tuple(sorted(found, key=lambda form: (-len(form), form)))


def redact(text: str) -> str:
    """The text with every concealed value masked, the longest first."""
    for value in _values:
        text = text.replace(value, MASK)
    return text


def _forms(value: str) -> set[str]:
    raw = value.encode("utf-8", "surrogateescape")
    return {
        value,
        base64.b64encode(raw).decode(),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(raw, safe=""),
        quote(raw),
    }
